package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
)

// nodeFlags are the flags of commands that may start a node for the first time.
func nodeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Usage: "the node listens on UDP `HOST:PORT`, now and whenever l2p starts it; port 0 is any free port"},
		&cli.BoolFlag{Name: "no-mdns", Usage: "the node doesn't announce itself on the local network", DisableDefaultText: true},
	}
}

func initCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "make a new network with this box as its founder",
		ArgsUsage: "BOX",
		Category:  "boxes",
		Description: "BOX is the name of this box, such as a-tech; people and groups of it are called adam@a-tech.\n" +
			"The network's root key stays in this box: keep a copy of node/root.key in a safe place.",
		Flags: nodeFlags(),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			if err := envelope.CheckBoxName(args[0]); err != nil {
				return err
			}
			return s.setUp(c, func(node *netq.Client) error {
				if err := node.Init(c.Context, args[0]); err != nil {
					return err
				}
				status, err := node.Status(c.Context)
				if err != nil {
					return err
				}
				s.warnNoRoom(status)
				network := status.Welcome.Network.String()
				result := struct {
					Network string `json:"network"`
					Box     string `json:"box"`
					Node    string `json:"node"`
				}{network, args[0], status.Welcome.Node.String()}
				return s.result(result, func(w io.Writer) {
					fmt.Fprintf(w, "%s is the first box of the network %s\n", args[0], network)
					fmt.Fprintf(w, "next: `l2p agent create NAME@%s`; `l2p invite OTHER-BOX` lets another box in\n", args[0])
				})
			})
		},
	}
}
