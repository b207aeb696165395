package replica

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
)

// A paper is a recovery key. It signs for its agent without a version.
type paper struct {
	key ed25519.PrivateKey
	id  envelope.AgentID
}

func (p *paper) Agent() envelope.AgentID        { return p.id }
func (p *paper) DocumentVersion() uint64        { return 0 }
func (p *paper) PrivateKey() ed25519.PrivateKey { return p.key }

// newWriterWithPaper returns an author with a recovery key.
func newWriterWithPaper(t testing.TB) (*writer, *paper) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	w := newWriter(t)
	d := w.document(t, envelope.User)
	d.Recovery = key.Public().(ed25519.PublicKey)
	w.id = envelope.AgentID{}
	w.doc = w.sign(t, d, w)
	w.id = w.doc.ID()
	return w, &paper{key, w.id}
}

// again returns the writer with another document and the same key.
func (w *writer) again(t testing.TB) *writer {
	d := *w.doc
	d.Version, d.Agent, d.Parent, d.Time = w.doc.Version+1, w.id, w.doc.Hash(), d.Time+1
	return &writer{key: w.key, id: w.id, version: d.Version, doc: w.sign(t, &d, w)}
}

// recover returns the writer with a new key, by a recovery document after w's.
func (w *writer) recover(t testing.TB, p *paper) *writer {
	t.Helper()
	next := newWriter(t)
	next.id, next.version = w.id, envelope.RecoveryVersion(w.doc.Version)
	d := next.document(t, envelope.User)
	d.Version, d.Agent, d.Parent, d.Recovery = next.version, w.id, w.doc.Hash(), w.doc.Recovery
	next.doc = next.sign(t, d, p, next)
	return next
}

// wantNewest insists that every node takes w's document for the newest.
func (c *cluster) wantNewest(w *writer) {
	c.t.Helper()
	for _, n := range c.order {
		chain, err := n.Chain(c.t.Context(), w.id)
		if err != nil || chain[len(chain)-1].Hash() != w.doc.Hash() {
			c.t.Errorf("node %d: %d documents, the last is not version %d (%v)", n.place.ID[0], len(chain), w.doc.Version, err)
		}
		data, _, err := n.GetRecord(c.t.Context(), envelope.Ref{Kind: envelope.KindDocument, Owner: w.id}, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		if rec, err := envelope.ParseRecord(envelope.KindDocument, data); err != nil || rec.Version.N != w.doc.Version {
			c.t.Errorf("node %d: the newest record is version %d, %v", n.place.ID[0], rec.Version.N, err)
		}
	}
}

// TestRecoveryWins: a thief has the ordinary keys and publishes with them
// before the owner recovers, at the same time, and afterwards.
func TestRecoveryWins(t *testing.T) {
	t.Parallel()
	for name, leaveBehind := range map[string]bool{"before the thief's": true, "after the thief's": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 4)
				adam, key := newWriterWithPaper(t)
				keepers, outside := c.successors(adam.id)
				must(t, outside.putDocument(adam))
				thief := adam
				for range 5 {
					thief = thief.again(t)
					must(t, outside.putDocument(thief))
				}
				parent := thief
				if leaveBehind {
					parent = adam
				}
				owner := parent.recover(t, key)
				// At the same time: one successor hears of the thief only.
				c.set(func() { keepers[2].down = true })
				must(t, outside.putDocument(owner))
				c.set(func() { keepers[2].down = false })
				late := thief.again(t)
				rec, err := envelope.NewRecord(envelope.KindDocument, late.doc.Signed())
				must(t, err)
				must(t, keepers[2].receiveRecord(t.Context(), envelope.KindDocument, late.doc.Signed().Encode(), false))
				for _, n := range keepers[:2] {
					wantKind(t, n.receiveRecord(t.Context(), envelope.KindDocument, late.doc.Signed().Encode(), false), envelope.Conflict)
				}
				settled()
				c.wantNewest(owner)
				c.wantCopies(course{rec: rec}) // kept, and of no effect

				// Afterwards, the thief writes nothing more and the owner does.
				for _, n := range c.order {
					wantKind(t, n.putDocument(late.again(t)), envelope.Conflict)
					wantKind(t, n.putHeader(thief.seal(t, "course", envelope.Version{}, 1)), envelope.Denied)
				}
				must(t, outside.putDocument(owner)) // again: no harm
				must(t, outside.putCourse(owner.seal(t, "course", envelope.Version{}, 1)))
				next := owner.rotate(t)
				next.doc.Recovery = owner.doc.Recovery
				d := *next.doc
				next.doc = next.sign(t, &d, owner, next)
				must(t, outside.putDocument(next))
				time.Sleep(2 * cacheLife)
				c.wantNewest(next)

				// A second recovery goes on from the first; one that leaves it
				// behind is refused.
				wantKind(t, outside.putDocument(thief.recover(t, key)), envelope.Conflict)
				twice := next.recover(t, key)
				must(t, outside.putDocument(twice))
				settled()
				c.wantNewest(twice)
			})
		})
	}
}

// TestReplacedRecoveryKey: a recovery document that another one has left behind,
// as a dishonest node may pass on, is nothing to go on from.
func TestReplacedRecoveryKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam, key := newWriterWithPaper(t)
		must(t, c.order[0].putDocument(adam))
		owner, thief := adam.recover(t, key), adam.recover(t, key)
		if versionOf(thief.doc).Newer(versionOf(owner.doc)) {
			owner, thief = thief, owner
		}
		must(t, c.order[0].putDocument(owner))
		for _, n := range c.order {
			must(t, n.receiveRecord(t.Context(), envelope.KindDocument, thief.doc.Signed().Encode(), true))
		}
		time.Sleep(2 * cacheLife)
		for _, n := range c.order {
			wantKind(t, n.putDocument(thief.recover(t, key)), envelope.Conflict)
		}
		c.wantNewest(owner)
	})
}

// TestLeftBehind: what was signed by a key that a recovery left behind can
// still be passed on, or no node could ever leave.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam, key := newWriterWithPaper(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		thief := newWriter(t)
		thief.id, thief.version = adam.id, 2
		d := thief.document(t, envelope.User)
		d.Version, d.Agent, d.Parent, d.Recovery = 2, adam.id, adam.doc.Hash(), adam.doc.Recovery
		thief.doc = thief.sign(t, d, adam, thief)
		must(t, outside.putDocument(thief))
		stolen := thief.seal(t, "course", envelope.Version{}, 1)
		must(t, outside.putCourse(stolen))
		owner := adam.recover(t, key)
		must(t, outside.putDocument(owner))
		time.Sleep(2 * cacheLife)
		outside.wantCourse(stolen) // what to make of it is for readers to say
		must(t, keepers[0].Drain(t.Context()))
		c.expel(keepers[0])
		keepers[0].stop()
		settled()
		c.wantCopies(stolen)
		wantKind(t, outside.putHeader(thief.seal(t, "course", stolen.rec.Version, 1)), envelope.Denied)
		must(t, outside.putCourse(owner.seal(t, "course", stolen.rec.Version, 1)))
	})
}
