package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/netq/discover"
)

func discoverCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "discover",
		Usage:    "look for nodes on the local network",
		Category: "boxes",
		Description: "Asks by multicast DNS. What it shows is what somebody on the local network claims:\n" +
			"compare fingerprints before you join.",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "timeout", Usage: "look for so long, a `TIME`", Value: 2 * time.Second}},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			if c.Duration("timeout") <= 0 || c.Duration("timeout") > time.Hour {
				return usagef(c, "--timeout must be from 1ns to 1h")
			}
			found, err := discover.Browse(c.Context, c.Duration("timeout"))
			if err != nil {
				return err
			}
			type row struct {
				Network string `json:"network,omitempty"` // none: in no network yet
				Box     string `json:"box,omitempty"`
				Node    string `json:"node"`
				Addr    string `json:"addr"`
			}
			rows := make([]row, 0, len(found))
			for _, f := range found {
				r := row{Box: f.BoxName, Node: f.Node.String(), Addr: f.Addr}
				if !f.Network.IsZero() {
					r.Network = f.Network.String()
				}
				rows = append(rows, r)
			}
			return s.result(rows, func(w io.Writer) {
				if len(rows) == 0 {
					fmt.Fprintln(w, "no node answers on the local network")
					return
				}
				cells := make([][]string, 0, len(rows))
				for i, r := range rows {
					network := r.Network
					if network == "" {
						network = "none yet"
					}
					cells = append(cells, []string{r.Box, r.Addr, found[i].Node.Short() + "…", network})
				}
				table(w, []string{"BOX", "ADDRESS", "NODE", "NETWORK"}, cells)
			})
		},
	}
}
