package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func agentRenameCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "rename",
		Usage:     "go by another name, such as at another box; id, keys and groups stay",
		ArgsUsage: "NAME",
		Description: "It is the agent that commands act as. The name is a wish until the operator of its box runs `l2p agent bind`. " +
			"The operator of the former box takes back the former name with `l2p agent bind --remove`.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			name, err := s.fullName(c.Context, args[0])
			if err != nil {
				return err
			}
			if err := s.checkFree(c.Context, name, false); err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			me, err := s.secrets(c.Context)
			if err != nil {
				return err
			}
			if _, err := dir.Chain(c.Context, me.Agent()); err != nil {
				return err // what was changed elsewhere comes first
			}
			d, err := dir.store.Rename(c.Context, me, name.String())
			if err != nil {
				return err
			}
			if dir.client == nil {
				s.remark("no node is up, so the name is known in this keystore only (%v)", dir.why)
			} else if err := s.publishAgent(c.Context, dir.client, d.ID()); err != nil {
				return envelope.WithHint(envelope.Errorf(envelope.KindOf(err), "%s is renamed here, but not published: %w", name, err), "l2p agent bind %s %s", name.Local, d.ID())
			}
			a, err := dir.store.Agent(d.ID())
			if err != nil {
				return err
			}
			return s.result(ownFacts(a), func(io.Writer) {
				s.remark("%s calls itself %s now; the operator of box %s must run: l2p agent bind %s %s", d.ID().Short()+"…", name, name.Box, name.Local, d.ID())
			})
		},
	}
}
