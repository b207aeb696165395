package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"l2p/envelope"
	"l2p/keystore"
)

// tellOfLags says, where a change has made new keys, which groups around the
// group have to get new ones, too, before anybody seals for them.
func (g *groupChanger) tellOfLags(ctx context.Context, d *envelope.Document) {
	if d.Group.Epoch == g.group.Group.Epoch {
		return
	}
	around, err := g.dir.groupsOf(ctx, d.ID())
	if err != nil {
		g.s.remark("which groups contain %s can't be told: %v", title(d), err)
	}
	for _, id := range around {
		outer, err := g.dir.newest(ctx, id)
		if err != nil || outer.Group == nil {
			continue // whoever seals for it will be told
		}
		if m, ok := outer.Member(d.ID()); ok && m.Epoch < d.Group.Epoch {
			g.s.remark("group %s contains it, and takes nothing new before it has new keys, too: %s", title(outer), g.dir.whoRenews(ctx, outer))
		}
	}
}

// sayWhoRenews adds to the refusal to seal for a group that lags who can help.
func (d *directory) sayWhoRenews(ctx context.Context, err error) error {
	var lag *keystore.LagError
	if errors.As(err, &lag) {
		return envelope.WithHint(err, "%s", d.whoRenews(ctx, lag.Outer))
	}
	return err
}

// whoRenews returns the command that gives a group new keys, with the names of
// those who may run it where the agent that the command acts as may not.
func (d *directory) whoRenews(ctx context.Context, group *envelope.Document) string {
	command := fmt.Sprintf("`l2p group renew %s`", printable(title(group)))
	if me, err := d.s.acting(); err == nil && group.IsAdmin(me.ID()) {
		return command
	}
	var admins []string
	for i, id := range group.Group.Admins {
		if i == mostNamed {
			admins = append(admins, fmt.Sprintf("%d more", len(group.Group.Admins)-i))
			break
		}
		admins = append(admins, d.short(ctx, id))
	}
	return fmt.Sprintf("an admin of it has to run %s: %s", command, strings.Join(admins, " or "))
}
