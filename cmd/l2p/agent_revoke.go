package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

func agentRevokeCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "say that the keys of an agent of the own box may be in the wrong hands (for the box's operator)",
		ArgsUsage: "NAME",
		Description: "Nobody seals for NAME any more who asks the network, and who opens what it signed is warned. The agent keeps the name, and nothing that it wrote is removed.\n" +
			"Its groups are for their admins: they take it out with `l2p group remove`.\n" +
			"`l2p agent bind NAME` lifts it, for the same agent when it has been recovered, or with --replace for another.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			client, err := s.node(c.Context)
			if err != nil {
				return err
			}
			if !client.Welcome().Operator {
				return envelope.WithHint(envelope.Errorf(envelope.Denied, "only the operator of the box revokes whom it has given a name"),
					"with the recovery key, `l2p agent recover` revokes the keys themselves")
			}
			name, err := s.fullName(c.Context, args[0])
			if err != nil {
				return err
			}
			if box := client.Welcome().BoxName; name.Box != box {
				return envelope.Errorf(envelope.Usage, "%s is a name of another box than this one, %s", name, quoted(box))
			}
			if err := client.Bind(c.Context, wire.Bind{Name: name.Local, Revoke: true}); err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			b, err := dir.binding(c.Context, name)
			if err != nil {
				return err
			}
			if err := dir.store.MarkName(name.String(), b.Revoked); err != nil {
				return err
			}
			groups := dir.groupsWith(c.Context, b.Agent)
			return s.result(struct {
				nameFacts
				Revoked bool         `json:"revoked"`
				Groups  []groupState `json:"groups"`
			}{nameFacts{name.String(), b.Agent.String()}, b.Revoked, groups}, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s revoked\n", name, b.Agent)
				for _, g := range groups {
					s.remark("%s is in group %s: an admin of it (%s) can run: l2p group remove %s %s", name, g.called, g.admins, g.called, name)
				}
			})
		},
	}
}
