package main

import (
	"context"
	"io"
	"slices"

	"l2p/envelope"
	"l2p/keystore"
)

// maxTries is how often a change is made again because others were faster.
const maxTries = 5

// A groupChanger changes one group, as the agent that the command acts as.
type groupChanger struct {
	s     *session
	dir   *directory
	group *envelope.Document // as it was when the command began
	me    *keystore.Secrets
}

// groupChanger unlocks the keys of who changes a group.
func (s *session) groupChanger(ctx context.Context, group *envelope.Document) (*groupChanger, error) {
	if group.Group == nil {
		return nil, envelope.Errorf(envelope.Usage, "%s is not a group but a %s", title(group), group.Kind)
	}
	acting, err := s.acting()
	if err != nil {
		return nil, err
	}
	// Said again by the keystore, but here before keys are unlocked for it.
	if !group.IsAdmin(acting.ID()) {
		return nil, envelope.Errorf(envelope.Denied, "only an admin of group %s may change it", title(group))
	}
	g := &groupChanger{s: s, group: group}
	if g.me, err = s.secrets(ctx); err != nil {
		return nil, err
	}
	g.dir, err = s.directory(ctx)
	return g, err
}

// change changes the group, here and in the network if a node is up.
func (g *groupChanger) change(ctx context.Context, change keystore.GroupChange) (*envelope.Document, error) {
	if change.NewEpoch || change.FromNow || len(change.Remove) > 0 {
		if err := g.dir.prefetch(ctx, g.group); err != nil {
			return nil, err
		}
	}
	// An admin is a member, so the own keys are enough.
	next, err := keystore.ChangeGroup(ctx, g.me, g.me.Identities(), g.dir, g.group.ID(), change)
	if err != nil {
		return nil, err
	}
	return g.put(ctx, next)
}

// put publishes a group's next document. If another admin was faster, it makes
// the change again on top of what they made; what was refused is then named as
// resolved, since some node may have it.
func (g *groupChanger) put(ctx context.Context, next *envelope.Document) (*envelope.Document, error) {
	dir, id := g.dir, g.group.ID()
	if dir.client == nil {
		g.s.remark("no node is up, so the change is known in this keystore only (%v)", dir.why)
		return next, dir.store.AddUnpublished(ctx, next)
	}
	var refused []*envelope.Document
	for try := 1; ; try++ {
		// What was changed while no node was up comes first.
		err := g.s.publishAgent(ctx, dir.client, id)
		if err == nil {
			_, err = dir.client.PutRecord(ctx, envelope.KindDocument, next.Signed().Encode())
		}
		if err == nil {
			return next, dir.store.AddDocuments(ctx, []*envelope.Document{next})
		}
		if !is(err, envelope.Conflict) {
			return nil, err
		}
		if try == maxTries {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Conflict, "others have changed group %s at the same time, %d times: %w", title(g.group), maxTries, err), "try again")
		}
		refused = append(refused, next)
		if next, err = g.again(ctx, refused, err); next == nil || err != nil {
			if err != nil {
				return nil, err
			}
			return dir.newest(ctx, id) // the network has it after all
		}
	}
}

// again returns the document that takes refused ones in on top of what the
// network has, or nil if it has them.
func (g *groupChanger) again(ctx context.Context, refused []*envelope.Document, why error) (*envelope.Document, error) {
	dir, id := g.dir, g.group.ID()
	before, err := dir.store.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := dir.refreshGroup(ctx, id, true); err != nil {
		return nil, err
	}
	chain, err := dir.store.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	lost, err := dir.store.Lost(ctx, id)
	if err != nil {
		return nil, err
	}
	own := withAncestors(refused, slices.Concat(before, lost))
	if len(keystore.Forks(chain, own)) == 0 {
		return nil, nil
	}
	last := chain[len(chain)-1]
	if last.Hash() == before[len(before)-1].Hash() {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Conflict, "the network refuses the change of group %s, and shows none that could have come before: %w", title(g.group), why),
			"look with `l2p group show %s`, and try again", title(g.group))
	}
	next, err := keystore.ResolveGroup(ctx, g.me, g.me.Identities(), dir, id, own, false)
	if err != nil {
		return nil, envelope.Errorf(envelope.KindOf(err), "somebody else has changed group %s meanwhile, and the change can't be made on top: %w", title(g.group), err)
	}
	g.s.remark("somebody else has changed group %s meanwhile: making the change again on top of version %d", title(g.group), last.Version)
	return next, nil
}

// withAncestors returns documents and those among others that they follow from.
func withAncestors(documents, others []*envelope.Document) []*envelope.Document {
	byHash := make(map[envelope.Hash]*envelope.Document)
	for _, d := range slices.Concat(others, documents) {
		byHash[d.Hash()] = d
	}
	all := make(map[envelope.Hash]bool)
	var out []*envelope.Document
	for _, d := range documents {
		for ; d != nil && !all[d.Hash()]; d = byHash[d.Parent] {
			all[d.Hash()] = true
			out = append(out, d)
		}
	}
	return out
}

// result writes what became of the group.
func (g *groupChanger) result(ctx context.Context, d *envelope.Document) error {
	if !g.s.json {
		g.s.remark("group %s: version %s, epoch %d, %s", title(d), versionText(d.Version), d.Group.Epoch, count(len(d.Group.Members), "member"))
		return nil
	}
	return g.s.result(g.dir.groupFacts(ctx, d), func(io.Writer) {})
}

// changeGroup changes a group, here and in the network if a node is up.
func (s *session) changeGroup(ctx context.Context, group *envelope.Document, change keystore.GroupChange) (*envelope.Document, error) {
	g, err := s.groupChanger(ctx, group)
	if err != nil {
		return nil, err
	}
	return g.change(ctx, change)
}
