package replica

import (
	"slices"
	"testing"
	"testing/synctest"

	"l2p/envelope"
)

// groupBy returns the next version of a group, signed by an admin, with other
// admins and, if epoch is set, new keys. after is nil for the first.
func groupBy(t testing.TB, by *writer, after *envelope.Document, epoch bool, admins ...*writer) *envelope.Document {
	t.Helper()
	var ids []envelope.AgentID
	for _, a := range admins {
		ids = append(ids, a.id)
	}
	slices.SortFunc(ids, func(a, b envelope.AgentID) int { return slices.Compare(a[:], b[:]) })
	d := newWriter(t).document(t, envelope.Group)
	d.Group = &envelope.GroupPart{Epoch: 1, Admins: ids, Members: []envelope.Member{}, Boxes: []envelope.Hash{}}
	var attachments [][]byte
	if after != nil {
		d.Version, d.Agent, d.Parent, d.Group.Epoch = after.Version+1, after.ID(), after.Hash(), after.Group.Epoch
		if !epoch {
			d.Keys, d.Recipient = after.Keys, after.Recipient
		} else {
			d.Group.Epoch++
		}
		if d.Group.Epoch > 1 {
			attachments = [][]byte{[]byte("previous")}
			d.Group.Previous = envelope.AttachmentHash(attachments[0])
		}
	}
	d, err := envelope.SignDocument(d, attachments, by)
	must(t, err)
	return d
}

// TestRemovedAdmin: replicas take nothing from an admin who was removed, whether
// he goes on from the newest version or from an old copy.
func TestRemovedAdmin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam, mallory := newWriter(t), newWriter(t)
		must(t, c.order[0].putDocument(adam))
		must(t, c.order[0].putDocument(mallory))
		first := groupBy(t, adam, nil, false, adam, mallory)
		removal := groupBy(t, adam, first, true, adam)
		put := func(n *testNode, d *envelope.Document) error {
			_, err := n.PutRecord(t.Context(), envelope.KindDocument, d.Signed().Encode())
			return err
		}
		must(t, put(c.order[0], first))
		must(t, put(c.order[0], removal))
		settled()
		sibling := groupBy(t, mallory, first, true, mallory)
		for _, n := range c.order {
			wantKind(t, put(n, groupBy(t, mallory, removal, false, mallory, adam)), envelope.Corrupt)
			wantKind(t, put(n, groupBy(t, mallory, removal, true, mallory)), envelope.Corrupt)
			wantKind(t, put(n, sibling), envelope.Conflict)
			if err := put(n, groupBy(t, mallory, sibling, false, mallory)); err == nil {
				t.Error("a version was taken that follows from one that was refused")
			}
		}

		// Nor do they acknowledge it where one replica has missed the removal.
		keepers, outside := c.successors(first.ID())
		c.set(func() { keepers[2].down = true })
		next := groupBy(t, adam, removal, false, adam)
		must(t, put(outside, next))
		c.set(func() { keepers[2].down = false })
		wantKind(t, put(keepers[2], groupBy(t, mallory, removal, false, mallory)), envelope.Corrupt)
		wantKind(t, put(keepers[2], groupBy(t, mallory, first, true, mallory)), envelope.Conflict)
		settled()
		for _, n := range c.order {
			chain, err := n.Chain(t.Context(), first.ID())
			if err != nil || chain[len(chain)-1].Hash() != next.Hash() {
				t.Errorf("node %d: version %d is the newest of %d, %v", n.place.ID[0], chain[len(chain)-1].Version, len(chain), err)
			}
		}
	})
}
