package replica

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// forgedDocuments returns n documents that w's agent never made, with the
// numbers from 2 on.
func forgedDocuments(t testing.TB, w *writer, n int) [][]byte {
	var list [][]byte
	for i := range n {
		d := *w.doc
		d.Version, d.Agent, d.Parent, d.Time = 2+uint64(i), w.id, w.doc.Hash(), int64(i)
		body, err := envelope.Encode(&d)
		must(t, err)
		list = append(list, (&envelope.Signed{Body: body, Signatures: []envelope.Signature{
			{Algorithm: envelope.Ed25519, Signer: w.id, Version: 1, Bytes: make([]byte, 64)},
		}}).Encode())
	}
	return list
}

// TestLyingLists: one replica lists documents that nobody made, to hide those
// that there are. The others have them.
func TestLyingLists(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		forged  int // documents on each page
		endless bool
	}{
		"one page":                   {100, false},
		"pages that end early":       {1, true},
		"pages that hold nothing":    {0, true},
		"endless pages of something": {100, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 4)
				adam, paper := newWriterWithPaper(t)
				keepers, outside := c.successors(adam.id)
				must(t, outside.putDocument(adam))
				second := adam.again(t)
				must(t, outside.putDocument(second))
				owner := second.recover(t, paper)
				must(t, outside.putDocument(owner))
				settled()
				page, err := wire.EncodeRecords(forgedDocuments(t, adam, tt.forged))
				must(t, err)
				c.set(func() {
					keepers[1].down = true // so that it takes the liar to make a quorum
					c.lie = func(from envelope.NodeID, m wire.Type, data []byte, err error) ([]byte, error) {
						if from == keepers[0].place.ID && m == wire.TypeListRecords {
							return page, nil
						}
						return data, err
					}
					if tt.endless {
						c.endless = keepers[0].place.ID
					}
				})
				chain, err := outside.chain(t.Context(), adam.id, true)
				if err != nil || len(chain) != 3 || chain[2].Hash() != owner.doc.Hash() {
					t.Errorf("%d documents, %v", len(chain), err)
				}
				list := wire.ListRecords{Kind: envelope.KindDocument, Owner: adam.id, History: true}
				listed, reply, err := outside.ListRecords(t.Context(), list)
				if err != nil || len(listed) != 3 || reply.More {
					t.Errorf("listed %d, %+v, %v", len(listed), reply, err)
				}
			})
		})
	}
}

// TestFloodOfDocuments: a thief has made more documents than anybody reads, and
// dishonest nodes have had them kept. The recovery document is found all the same.
func TestFloodOfDocuments(t *testing.T) {
	t.Parallel()
	adam, paper := newWriterWithPaper(t)
	owner := adam.recover(t, paper)
	one := func(d *envelope.Document) item {
		return item{version: versionOf(d), data: d.Signed().Encode(), document: d}
	}
	flood := []item{one(adam.doc)}
	for i := range int64(maxDocuments / 2) {
		d := *adam.doc
		d.Version, d.Agent, d.Parent, d.Time = 2, adam.id, adam.doc.Hash(), i
		flood = append(flood, one(adam.sign(t, &d, adam)))
	}
	asked := 0
	var r Replica
	tree, err := r.readTree(t.Context(), adam.id, func(_ context.Context, q wire.ListRecords, verify func([]listed)) (page, error) {
		asked++
		pages := []listed{{items: flood, more: true}}
		if q.AfterN == envelope.RecoveryStep-1 {
			pages = []listed{{items: []item{one(owner.doc)}}}
		}
		verify(pages)
		return merge(q, []listed{pages[0].end()}), nil
	})
	must(t, err)
	if asked != 2 || tree.best.Hash() != owner.doc.Hash() {
		t.Errorf("after %d pages version %d is the newest", asked, tree.best.Version)
	}
}

// TestEndlessLiveKeys: a node that lists the same keys for ever doesn't keep
// another from reconciling. Nothing is dropped on its word.
func TestEndlessLiveKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		c.set(func() { c.endless = keepers[0].place.ID })
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if live := outside.liveKeys(ctx, adam.id); live != nil || time.Since(began) > askTimeout {
			t.Errorf("%d keys after %v", len(live), time.Since(began))
		}
	})
}

// TestUnsureListing: what is left out of a list since nobody was there to say
// whose it is makes the list stale; what is forged doesn't.
func TestUnsureListing(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "forged": false, "unknown": true} {
		r := Replica{log: slog.New(slog.DiscardHandler)}
		pages := []listed{{items: []item{{data: []byte("true")}, {data: []byte(text)}}}}
		unsure := r.dropUnverified(pages, func(data []byte) error {
			switch string(data) {
			case "forged":
				return envelope.Errorf(envelope.Corrupt, "no signature")
			case "unknown":
				return envelope.Errorf(envelope.Unavailable, "nobody answers")
			}
			return nil
		})
		left := 1
		if text == "" {
			left = 2
		}
		if unsure != want || len(pages[0].items) != left {
			t.Errorf("%q: unsure %t, %d left", text, unsure, len(pages[0].items))
		}
	}
}
