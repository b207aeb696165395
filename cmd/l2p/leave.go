package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func leaveCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "leave",
		Usage:    "take this box out of its network",
		Category: "boxes",
		Description: "The node first passes on all that it keeps, which can take a while. Then it ends its certificate,\n" +
			"for good: to come back, the box needs a new invitation.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			node, err := s.memberNode(c.Context)
			if err != nil {
				return err
			}
			welcome := node.Welcome()
			if !c.Bool("yes") {
				yes, err := s.confirm(fmt.Sprintf("Take %s out of the network %s?", welcome.BoxName, welcome.Network), "to leave without being asked, add --yes")
				if err != nil {
					return err
				}
				if !yes {
					return envelope.Errorf(envelope.Denied, "not left")
				}
			}
			s.remark("passing on what this node keeps")
			if err := node.Leave(c.Context); err != nil {
				return err
			}
			result := struct {
				Network string `json:"network"`
				Box     string `json:"box"`
			}{welcome.Network.String(), welcome.BoxName}
			return s.result(result, func(w io.Writer) {
				fmt.Fprintf(w, "%s has left the network %s\n", printable(welcome.BoxName), welcome.Network)
			})
		},
	}
}
