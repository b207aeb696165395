package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

func inviteCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "invite",
		Usage:     "make a ticket that lets one box into the network",
		ArgsUsage: "BOX",
		Category:  "boxes",
		Description: "Writes the ticket, and nothing else, to standard output. Whoever has it can join as BOX, once:\n" +
			"send it to BOX's operator on a safe way. Over there: `l2p join TICKET`.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "ttl", Usage: "the ticket is good for this `TIME`, at most 720h", Value: 24 * time.Hour},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			if err := envelope.CheckBoxName(args[0]); err != nil {
				return err
			}
			ttl := c.Duration("ttl")
			if ttl < time.Second || ttl > 30*24*time.Hour {
				return usagef(c, "--ttl must be from 1s to 720h, not %s", ttl)
			}
			node, err := s.memberNode(c.Context)
			if err != nil {
				return err
			}
			reply, err := node.Invite(c.Context, wire.Invite{BoxName: args[0], TTL: int64(ttl / time.Second)})
			if err != nil {
				return err
			}
			s.remark("a ticket for the box %s, good until %s; over there: l2p join TICKET", args[0], formatTime(reply.Expires*1000))
			result := struct {
				Ticket  string `json:"ticket"`
				Box     string `json:"box"`
				Expires string `json:"expires"`
			}{reply.Ticket, args[0], rfc3339(reply.Expires * 1000)}
			return s.result(result, func(w io.Writer) { fmt.Fprintln(w, printable(reply.Ticket)) })
		},
	}
}
