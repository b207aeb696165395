package main

import (
	"bufio"
	"context"
	"io"
	"sync"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func openCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "open",
		Usage:     "check who sealed an envelope, and open it",
		ArgsUsage: "[FILE]",
		Category:  "files",
		Description: "Reads an envelope, or a plain age file, from FILE or standard input and writes what is in it.\n" +
			"Nothing is written before it is proven. To a pipe it flows piece by piece: if the exit code isn't 0, what came is authentic but incomplete. A file given with -o appears when it is complete, or never.\n" +
			"With --range only as much of FILE is read and checked as the part needs: what is said of the rest is nothing.\n" +
			"Standard error says who signed.",
		Flags: []cli.Flag{
			outputFlag(),
			&cli.StringFlag{Name: "from", Usage: "insist that `AGENT` wrote it, or a group owns it"},
			&cli.BoolFlag{Name: "allow-unknown-author", Usage: "open it though the author is not known, so that nothing proves who wrote it", DisableDefaultText: true},
			&cli.StringFlag{Name: "range", Usage: "open only these `BYTES`: 0-499, 500- or -500 for the last 500"},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if err := s.noResult(c); err != nil {
				return err
			}
			in, err := s.openInput(args)
			if err != nil {
				return err
			}
			defer in.Close()
			part, err := partOf(in, c.String("range"))
			if err != nil {
				return err
			}
			r, form, err := envelope.Sniff(in)
			if err != nil {
				return err
			}
			out, err := s.createOutput(c.String("output"), textOutput, in.file)
			if err != nil {
				return err
			}
			if form == envelope.FormAge {
				return out.finish(openAgeFile(s, c, out, r, part))
			}
			return openEnvelope(s, c, out, r, part)
		},
	}
}

// openEnvelope opens an envelope. Who signed it is said once a piece of the
// content is proven, or, where the output appears in one piece, when all is.
func openEnvelope(s *session, c *cli.Context, out *output, r *bufio.Reader, part *part) error {
	header, err := envelope.ReadHeader(r)
	if err != nil {
		return out.finish(err)
	}
	if err := s.checkFrom(c.Context, header, c.String("from")); err != nil {
		return out.finish(err)
	}
	o, err := s.opener(c.Context, header, c.Bool("allow-unknown-author"))
	if err != nil {
		return out.finish(err)
	}
	s.warnAuthor(c.Context, o)
	tell := sync.OnceFunc(func() { s.remark("%s", s.authorship(c.Context, o)) })
	var dst io.Writer = out
	if out.temp == "" {
		dst = &heralded{out, tell}
	}
	if part != nil {
		err = part.open(c.Context, o, dst, header)
	} else {
		err = o.Segments(c.Context, dst, r)
	}
	if err := out.finish(err); err != nil {
		return err
	}
	tell()
	return nil
}

// A heralded writer calls tell before each write.
type heralded struct {
	io.Writer
	tell func()
}

func (w *heralded) Write(p []byte) (int, error) {
	w.tell()
	return w.Writer.Write(p)
}

// openAgeFile opens an age file that stands by itself.
func openAgeFile(s *session, c *cli.Context, out *output, r *bufio.Reader, part *part) error {
	if c.String("from") != "" {
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "nobody signed this: it is a plain age file"), "without --from it can be opened")
	}
	identities, err := s.identities(c.Context, true)
	if err != nil {
		return err
	}
	s.remark("nobody signed this: it is a plain age file")
	opts := envelope.OpenOptions{Identities: identities}
	if part != nil {
		_, err = envelope.OpenRange(c.Context, out, part.file, part.file.Size(), part.bytes, opts)
	} else {
		_, err = envelope.Open(c.Context, out, r, opts)
	}
	return err
}

// checkFrom refuses an envelope that another agent wrote than from names, if it
// names one. A group is meant if it owns the envelope.
func (s *session) checkFrom(ctx context.Context, signed *envelope.Signed, from string) error {
	if from == "" {
		return nil
	}
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	want, err := dir.resolve(ctx, from)
	if err != nil {
		return err
	}
	if err := h.Verify(ctx, signed, dir); is(err, envelope.NotFound) {
		return envelope.Errorf(envelope.Denied, "nothing proves that %s wrote this: its author is not known", quoted(from))
	} else if err != nil {
		return err
	}
	if h.Writer() != want && h.Owner != want {
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "this is not from %s: %s wrote it", quoted(from), dir.called(ctx, h.Writer())),
			"without --from it can be opened")
	}
	revoked, err := h.RevokedBy(ctx, signed, dir)
	if err == nil && revoked != nil {
		err = envelope.WithHint(envelope.Errorf(envelope.Denied, "nothing proves that this is from %s: the key that signed it was revoked since", quoted(from)),
			"without --from it can be opened")
	}
	return err
}
