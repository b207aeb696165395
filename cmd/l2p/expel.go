package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func expelCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "expel",
		Usage:     "take another box out of the network, for good",
		ArgsUsage: "BOX",
		Category:  "boxes",
		Description: "Only the founder's box can. The BOX gets no connection any more; its names, its people's among them, stop meaning anybody.\n" +
			"What it keeps stays with it: whatever was sealed stays sealed, and others have copies. To come back it needs a new invitation.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			name := args[0]
			if err := envelope.CheckBoxName(name); err != nil {
				return err
			}
			node, err := s.memberNode(c.Context)
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			box, err := dir.box(c.Context, name)
			if err != nil {
				return err
			}
			if !c.Bool("yes") {
				yes, err := s.confirm(fmt.Sprintf("Expel %s from the network %s, for good?", name, node.Welcome().Network), "to expel without being asked, add --yes")
				if err != nil {
					return err
				}
				if !yes {
					return envelope.Errorf(envelope.Denied, "not expelled")
				}
			}
			reply, err := node.Expel(c.Context, box)
			if err != nil {
				return err
			}
			result := struct {
				Box    string `json:"box"`
				Agent  string `json:"agent"`
				Told   uint   `json:"told"`   // other nodes that know of it already
				Others uint   `json:"others"` // other nodes that there are
			}{name, box.String(), reply.Told, reply.Others}
			return s.result(result, func(w io.Writer) {
				fmt.Fprintf(w, "%s is expelled\n", name)
				if reply.Told < reply.Others {
					fmt.Fprintf(w, "%d of the %d other nodes know of it; the rest learn of it within a minute of being back\n", reply.Told, reply.Others)
				}
			})
		},
	}
}
