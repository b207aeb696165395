package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func inspectCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what an envelope says of itself",
		ArgsUsage: "[FILE]",
		Category:  "files",
		Description: "Reads an envelope from FILE or standard input to its end, checks the signatures of all of it, and shows what everybody can see; no key is needed.\n" +
			"With --particulars it also shows what only readers see: title, file name and readers.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "particulars", Aliases: []string{"p"}, Usage: "show what only readers see, too", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			in, err := s.openInput(args)
			if err != nil {
				return err
			}
			defer in.Close()
			r, form, err := envelope.Sniff(in)
			if err != nil {
				return err
			}
			if form == envelope.FormAge {
				v := envelopeFacts{Format: "age"}
				return s.result(v, func(w io.Writer) { fmt.Fprintln(w, "a plain age file, which nobody signed") })
			}
			signed, err := envelope.ReadHeader(r)
			if err != nil {
				return err
			}
			facts, err := s.inspect(c.Context, signed, c.Bool("particulars"))
			if err != nil {
				return err
			}
			damage := facts.check(r, signed)
			if damage != nil {
				facts.Damage = damage.Error()
			}
			if err := s.result(facts, facts.write); err != nil {
				return err
			}
			return damage
		},
	}
}

// envelopeFacts are what inspect shows.
type envelopeFacts struct {
	Format      string            `json:"format"` // "l2p-envelope/1" or "age"
	Hash        string            `json:"hash,omitempty"`
	Author      string            `json:"author,omitempty"`
	AuthorState string            `json:"authorState,omitempty"` // "verified", "revoked" or "unknown"
	AuthorName  string            `json:"authorName,omitempty"`  // only if verified and the name is known to be the author's
	Owner       string            `json:"owner,omitempty"`
	Name        string            `json:"name,omitempty"`
	Version     uint64            `json:"version,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Time        string            `json:"time,omitempty"`
	Public      bool              `json:"public,omitempty"`
	Deleted     bool              `json:"deleted,omitempty"`
	Size        *uint64           `json:"size,omitempty"`     // bytes of payload
	Segments    uint64            `json:"segments,omitempty"` // all of whose signatures hold
	Damage      string            `json:"damage,omitempty"`   // what is wrong with the content
	Particulars *particularsFacts `json:"particulars,omitempty"`

	called string // the author, for people
}

// particularsFacts are what only readers see.
type particularsFacts struct {
	Title     string   `json:"title,omitempty"`
	FileName  string   `json:"fileName,omitempty"`
	MediaType string   `json:"mediaType,omitempty"`
	Readers   []string `json:"readers"` // ids
	OpenedAs  string   `json:"openedAs,omitempty"`

	called []string // the readers, for people
}

// inspect gathers what a header says, and its particulars if they are wanted.
func (s *session) inspect(ctx context.Context, signed *envelope.Signed, particulars bool) (*envelopeFacts, error) {
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return nil, err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	f := &envelopeFacts{
		Format: "l2p-envelope/1", Hash: signed.Hash().String(), Author: h.Author.String(), AuthorState: "verified", Owner: h.Owner.String(),
		Name: h.Name, Version: h.Version, Time: time.UnixMilli(h.Time).UTC().Format(time.RFC3339), Public: h.Public(), Deleted: h.Deleted, Size: h.Size,
	}
	if !h.Parent.IsZero() {
		f.Parent = h.Parent.String()
	}
	switch err := h.Verify(ctx, signed, dir); {
	case is(err, envelope.NotFound):
		f.AuthorState, f.called = "unknown", f.Author+" (not known here, so not checked)"
	case err != nil:
		return nil, err
	default:
		f.called = dir.called(ctx, h.Author)
		if r, err := h.RevokedBy(ctx, signed, dir); err != nil {
			return nil, err
		} else if r != nil {
			f.AuthorState, f.called = "revoked", f.called+", with a key that was revoked on "+day(r)
		} else if name, err := dir.revoked(ctx, h.Author); err != nil {
			return nil, err
		} else if name != "" {
			s.warn("%s is revoked by the operator of its box: somebody else may have its keys", name)
		}
		if chain, err := dir.store.Chain(ctx, h.Author); err == nil {
			if name := chain[len(chain)-1].Name; name != "" && dir.isName(ctx, name, h.Author) {
				f.AuthorName = name
			}
		}
	}
	if !particulars || h.Deleted {
		return f, nil
	}
	o, err := s.opener(ctx, signed, true)
	if err != nil {
		return nil, err
	}
	p := o.Particulars()
	f.Particulars = &particularsFacts{Title: p.Title, FileName: p.FileName, MediaType: p.MediaType, Readers: []string{}}
	if !o.Reader().IsZero() {
		f.Particulars.OpenedAs = o.Reader().String()
	}
	for _, id := range p.Readers {
		f.Particulars.Readers = append(f.Particulars.Readers, id.String())
		f.Particulars.called = append(f.Particulars.called, dir.called(ctx, id))
	}
	return f, nil
}

// check reads all segments and checks that each proves itself, that they are
// as many bytes as the header says, and that nothing follows.
func (f *envelopeFacts) check(r *bufio.Reader, signed *envelope.Signed) error {
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return err
	}
	full := envelope.MaxSegmentSize
	if h.Public() {
		full = envelope.SegmentPlainSize
	}
	var (
		buf   = make([]byte, envelope.MaxSegmentSize)
		n     uint64
		total uint64
	)
	for final := h.Deleted; !final; {
		seg, err := envelope.ReadSegment(r, envelope.SegmentID{Key: [32]byte(h.SegmentKey), Index: n}, buf)
		if err != nil {
			return err
		}
		if err := seg.Verify(); err != nil {
			return err
		}
		n, total = n+1, total+uint64(len(seg.Data))
		if final = seg.Final; !final && len(seg.Data) != full {
			return envelope.Errorf(envelope.Corrupt, "segment %d has %d bytes, and only the last may be short", n-1, len(seg.Data))
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return envelope.Errorf(envelope.Corrupt, "something follows the last segment")
	}
	if h.Size != nil && *h.Size != total {
		return envelope.Errorf(envelope.Corrupt, "the header says %d bytes of payload, but there are %d", *h.Size, total)
	}
	f.Segments, f.Size = n, &total
	return nil
}

// write shows the facts to people.
func (f *envelopeFacts) write(w io.Writer) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	line("author", "%s", f.called)
	if f.Owner != f.Author {
		line("owner", "%s", f.Owner)
	}
	if f.Name != "" {
		line("name", "%s", f.Name)
		line("version", "%d", f.Version)
	}
	if f.Parent != "" {
		line("parent", "%s", f.Parent)
	}
	line("time", "%s (by the author's clock)", f.Time)
	switch {
	case f.Deleted:
		line("readers", "none: the owner removed it")
	case f.Public:
		line("readers", "everybody")
	case f.Particulars == nil:
		line("readers", "sealed (--particulars shows them to readers)")
	}
	if f.Size != nil {
		line("size", "%d bytes of payload", *f.Size)
	}
	switch {
	case f.Damage != "":
		line("content", "DAMAGED: %s", f.Damage)
	case f.Segments > 0:
		line("content", "%s, all signatures hold", count(int(f.Segments), "segment"))
	}
	line("hash", "%s", f.Hash)
	if f.Particulars == nil {
		return
	}
	for _, t := range []struct{ what, text string }{
		{"title", f.Particulars.Title}, {"file name", f.Particulars.FileName}, {"media type", f.Particulars.MediaType},
	} {
		if t.text != "" {
			line(t.what, "%s", t.text)
		}
	}
	for _, reader := range f.Particulars.called {
		line("reader", "%s", reader)
	}
}
