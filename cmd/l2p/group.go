package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func groupCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "group",
		Usage:    "make groups and change who is in them",
		Category: "agents and groups",
		Subcommands: []*cli.Command{
			groupCreateCommand(s),
			groupChangeCommand(s, "add", "MEMBER", "let agents or groups into a group", "They read what was and will be sealed for it.",
				func(c *cli.Context, g *keystore.GroupChange, ids []envelope.AgentID) {
					g.Add, g.FromNow = ids, c.Bool("from-now")
				},
				&cli.BoolFlag{Name: "from-now", Usage: "what was sealed for the group before stays closed to them; the group gets new keys", DisableDefaultText: true}),
			groupChangeCommand(s, "remove", "MEMBER", "take members out of a group", "The group gets new keys. They open nothing that is sealed for it from now on; what they could read before, they may have kept.",
				func(_ *cli.Context, g *keystore.GroupChange, ids []envelope.AgentID) { g.Remove = ids }),
			{
				Name:  "admin",
				Usage: "change who may change a group",
				Subcommands: []*cli.Command{
					groupChangeCommand(s, "add", "AGENT", "let agents change a group", "They become members, too.",
						func(_ *cli.Context, g *keystore.GroupChange, ids []envelope.AgentID) { g.AddAdmins = ids }),
					groupChangeCommand(s, "remove", "AGENT", "let agents change a group no longer", "They stay members.",
						func(_ *cli.Context, g *keystore.GroupChange, ids []envelope.AgentID) { g.RemoveAdmins = ids }),
				},
			},
			groupChangeCommand(s, "renew", "", "give a group new keys though nobody leaves", "Needed when a group in it has removed somebody, or when a member's former keys were stolen.",
				func(_ *cli.Context, g *keystore.GroupChange, _ []envelope.AgentID) { g.NewEpoch = true }, newRecoveryFlags()...),
			groupResolveCommand(s),
			groupRecoverCommand(s),
			groupListCommand(s),
			groupShowCommand(s),
		},
	}
}

func groupCreateCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:        "create",
		Usage:       "make a group of agents and groups who share keys",
		ArgsUsage:   "NAME",
		Description: "NAME is such as apprentices@a-tech; apprentices alone is at the box whose node runs here. Who makes a group is its admin and a member.\n" + recoveryHelp,
		Flags: append(recoveryFlags(),
			&cli.StringSliceFlag{Name: "member", Aliases: []string{"m"}, Usage: "an agent or group, `MEMBER`; as often as there are members"},
			&cli.BoolFlag{Name: "classic", Usage: "X25519 keys, which are small and not post-quantum", DisableDefaultText: true},
			&cli.BoolFlag{Name: "offline", Usage: "publish nothing", DisableDefaultText: true},
		),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			name, err := s.fullName(c.Context, args[0])
			if err != nil {
				return err
			}
			if err := s.checkFree(c.Context, name, c.Bool("offline")); err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			opts := keystore.GroupOptions{Name: name.String(), Classic: c.Bool("classic")}
			if opts.Members, err = dir.resolveAll(c.Context, c.StringSlice("member")); err != nil {
				return err
			}
			me, err := s.secrets(c.Context)
			if err != nil {
				return err
			}
			paper, err := s.recoveryPaper(c, name.String())
			if err != nil {
				return err
			}
			opts.Recovery = paper.public()
			d, err := keystore.CreateGroup(c.Context, me, dir, opts)
			if err == nil {
				err = dir.store.AddDocuments(c.Context, []*envelope.Document{d})
			}
			if err != nil {
				paper.withdraw()
				return err
			}
			paper.handOver()
			if err := dir.store.Pin(name.String(), d.ID()); err != nil {
				return err
			}
			a, err := s.announce(c.Context, d, c.Bool("offline"))
			if err != nil {
				return envelope.WithHint(envelope.Errorf(envelope.KindOf(err), "%s is made, but not published: %w", name, err),
					"try again later: l2p agent bind %s %s", name.Local, d.ID())
			}
			return s.result(struct {
				groupFacts
				announcement
			}{dir.groupFacts(c.Context, d), a}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", name, d.ID()) })
		},
	}
}

// groupChangeCommand is a command that changes a group in one way. what says
// what its arguments after the group are; empty: it takes none.
func groupChangeCommand(s *session, verb, what, usage, more string, set func(*cli.Context, *keystore.GroupChange, []envelope.AgentID), flags ...cli.Flag) *cli.Command {
	argsUsage, least, most := "GROUP "+what+"…", 2, -1
	if what == "" {
		argsUsage, least, most = "GROUP", 1, 1
	}
	return &cli.Command{
		Name:        verb,
		Usage:       usage,
		ArgsUsage:   argsUsage,
		Description: more + " Only an admin of the group may do this.",
		Flags:       flags,
		Action: func(c *cli.Context) error {
			args, err := operands(c, least, most)
			if err != nil {
				return err
			}
			if err := checkNewRecovery(c); err != nil {
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
			ids, err := dir.resolveAll(c.Context, args[1:])
			if err != nil {
				return err
			}
			g, err := s.groupChanger(c.Context, group)
			if err != nil {
				return err
			}
			var change keystore.GroupChange
			set(c, &change, ids)
			paper := &paper{s: s}
			if c.Bool("new-recovery") {
				if paper, err = s.addPaper(c, group); err != nil {
					return err
				}
				change.Recovery = paper.public()
			}
			d, err := g.change(c.Context, change)
			if err == nil && paper.key != nil && !d.RecoveryKey().Equal(paper.public()) {
				err = envelope.Errorf(envelope.Conflict, "group %s is changed, but another admin was faster, and it has no such recovery key", title(d))
			}
			if err != nil {
				paper.withdraw()
				return err
			}
			paper.handOver()
			if err := g.result(c.Context, d); err != nil {
				return err
			}
			g.tellOfLags(c.Context, d)
			return nil
		},
	}
}
