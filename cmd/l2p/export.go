package main

import (
	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func exportCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "take the age file out of an envelope",
		ArgsUsage: "[FILE]",
		Category:  "files",
		Description: "Reads an envelope from FILE or standard input and writes the age file inside, byte for byte.\n" +
			"Any age program with the right identity opens that, and can't tell who sealed it. No key is needed here. If the content was padded (--pad), the padding is in there.",
		Flags: []cli.Flag{outputFlag()},
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
			out, err := s.createOutput(c.String("output"), binaryOutput, in.file)
			if err != nil {
				return err
			}
			return out.finish(envelope.Export(out, in))
		},
	}
}

// outputFlag is the flag that createOutput takes.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, which appears when it is complete (- is standard output, even a terminal)"}
}
