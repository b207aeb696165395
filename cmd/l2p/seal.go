package main

import (
	"context"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func sealCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "seal",
		Usage:     "seal a file for its readers, and sign it",
		ArgsUsage: "[FILE]",
		Category:  "files",
		Description: "Reads FILE or standard input and writes an envelope to standard output or to -o.\n" +
			"A READER is a name (eve@e-build, apprentices@a-tech), the first part of one that the keystore knows (eve), or an id (l2p1…).\n" +
			"Who seals is among the readers, too; --not-me leaves them out.\n" +
			"As with age, a file that exists is replaced; here in one step, and by a complete envelope only.",
		Flags: append(readerFlags(),
			outputFlag(),
			&cli.BoolFlag{Name: "armor", Aliases: []string{"a"}, Usage: "write text, for mail and the like", DisableDefaultText: true},
			&cli.StringFlag{Name: "title", Usage: "a `TEXT` that only readers see"},
			&cli.StringFlag{Name: "media-type", Usage: "what it is, such as `application/pdf`, for readers only"},
			&cli.BoolFlag{Name: "pad", Usage: "hide the size: make it up to 12 % larger, as many other sizes", DisableDefaultText: true},
		),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if err := s.noResult(c); err != nil {
				return err
			}
			names, err := s.readerNames(c)
			if err != nil {
				return err
			}
			in, err := s.openInput(args)
			if err != nil {
				return err
			}
			defer in.Close()
			kind := binaryOutput
			if c.Bool("armor") {
				kind = safeOutput
			}
			out, err := s.createOutput(c.String("output"), kind, in.file)
			if err != nil {
				return err
			}
			opts := envelope.SealOptions{Public: c.Bool("public"), Title: c.String("title"), MediaType: c.String("media-type"), Pad: c.Bool("pad")}
			if len(args) == 1 && args[0] != "-" {
				opts.FileName = filepath.Base(args[0])
			}
			if opts.Readers, err = s.readers(c, names); err != nil {
				return out.finish(err)
			}
			if opts.Author, err = s.secrets(c.Context); err != nil {
				return out.finish(err)
			}
			return out.finish(sealTo(c.Context, out, in.source(), opts, c.Bool("armor")))
		},
	}
}

// sealTo seals src to dst, as text if armored.
func sealTo(ctx context.Context, dst io.Writer, src io.Reader, opts envelope.SealOptions, armored bool) error {
	if !armored {
		return envelope.Seal(ctx, dst, src, opts)
	}
	armor := envelope.NewArmorWriter(dst)
	if err := envelope.Seal(ctx, armor, src, opts); err != nil {
		return err
	}
	return armor.Close()
}
