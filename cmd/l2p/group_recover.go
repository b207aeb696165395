package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func groupRecoverCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "take over a group whose admins are gone, or whose keys are stolen, with its recovery key",
		ArgsUsage: "GROUP",
		Description: "Whoever does it has to be a member who reads all that the group has, or has been one until the group was taken away. The group gets new keys, and you as its only admin, or those of --admin.\n" +
			"Former admins stay members unless --remove takes them out.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "recovery-file", Usage: "read the recovery key from `FILE`"},
			&cli.StringSliceFlag{Name: "admin", Usage: "an admin from now on, `AGENT`; as often as there are admins", DefaultText: "you"},
			&cli.StringSliceFlag{Name: "remove", Usage: "take `MEMBER` out; as often as there are some"},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			group, err := dir.agent(c.Context, args[0])
			if err != nil {
				return err
			}
			if group.Group == nil {
				return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is not a group but a %s", title(group), group.Kind), "for an agent there is `l2p agent recover`")
			}
			var r keystore.GroupRecovery
			if r.Admins, err = dir.resolveAll(c.Context, c.StringSlice("admin")); err != nil {
				return err
			}
			if r.Remove, err = dir.resolveAll(c.Context, c.StringSlice("remove")); err != nil {
				return err
			}
			key, err := s.readRecoveryKey(c.Context, title(group), c.String("recovery-file"), func(k *keystore.RecoveryKey) error { return k.Check(group) })
			if err != nil {
				return err
			}
			next, err := s.recoverGroup(c.Context, dir, group, key, r)
			if err != nil {
				return err
			}
			return s.result(dir.groupFacts(c.Context, next), func(io.Writer) {
				s.remark("group %s: version %s, epoch %d, %s", title(next), versionText(next.Version), next.Group.Epoch, count(len(next.Group.Members), "member"))
				for _, id := range group.Group.Admins {
					if _, in := next.Member(id); in && !next.IsAdmin(id) {
						s.remark("%s is no admin any more, but still a member", dir.called(c.Context, id))
					}
				}
			})
		},
	}
}

// recoverGroup makes a group's recovery document and publishes it, if a node is
// up.
func (s *session) recoverGroup(ctx context.Context, dir *directory, group *envelope.Document, key *keystore.RecoveryKey, r keystore.GroupRecovery) (*envelope.Document, error) {
	me, err := s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	identities, err := s.identities(ctx, true)
	if err != nil {
		return nil, err
	}
	if len(r.Admins) == 0 {
		r.Admins = []envelope.AgentID{me.Agent()}
	}
	next, err := keystore.RecoverGroup(ctx, me, identities, dir, group.ID(), key, r)
	if err != nil {
		return nil, err
	}
	if dir.client == nil {
		s.remark("no node is up, so the change is known in this keystore only (%v)", dir.why)
		return next, dir.store.AddDocuments(ctx, []*envelope.Document{next})
	}
	if err := s.publishAgent(ctx, dir.client, group.ID()); err != nil {
		return nil, err
	}
	if _, err := dir.client.PutRecord(ctx, envelope.KindDocument, next.Signed().Encode()); err != nil {
		return nil, err
	}
	return next, dir.store.AddDocuments(ctx, []*envelope.Document{next})
}
