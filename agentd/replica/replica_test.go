package replica

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// settled waits until every node has reconciled on the ring as it is now.
func settled() { time.Sleep(defaultPause + time.Minute); synctest.Wait() }

func TestPutAndGet(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 5; n++ {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, n)
				adam := newWriter(t)
				must(t, c.order[0].putDocument(adam))
				v1 := adam.seal(t, "course", envelope.Version{}, 2*envelope.SegmentPlainSize+5)
				must(t, c.order[0].putCourse(v1))
				must(t, c.order[n-1].putCourse(v1)) // again: no harm
				v2 := adam.seal(t, "course", v1.rec.Version, 10)
				must(t, c.order[n/2].putCourse(v2))
				for _, node := range c.order {
					node.wantCourse(v2)
					data, _, err := node.GetRecord(t.Context(), v1.rec.Ref, 1)
					if rec, perr := envelope.ParseRecord(envelope.KindEnvelope, data); err != nil || perr != nil || rec.Version != v1.rec.Version {
						t.Errorf("version 1: %v, %v", err, perr)
					}
					_, _, err = node.GetRecord(t.Context(), envelope.Ref{Kind: envelope.KindEnvelope, Owner: adam.id, Name: "no course"}, 0)
					wantKind(t, err, envelope.NotFound)
				}
				settled()
				c.wantCopies(v1)
				c.wantCopies(v2)
			})
		})
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 1)
		must(t, c.order[0].putCourse(v1))
		must(t, c.order[1].putHeader(adam.seal(t, "course", v1.rec.Version, 1)))
		wantKind(t, c.order[2].putHeader(adam.seal(t, "course", v1.rec.Version, 1)), envelope.Conflict)
		wantKind(t, c.order[2].putHeader(adam.seal(t, "course", envelope.Version{}, 1)), envelope.Conflict)
		stranger := envelope.Version{N: 2, Hash: envelope.Hash{1}} // the right number, of another chain
		wantKind(t, c.order[2].putHeader(adam.seal(t, "course", stranger, 1)), envelope.Conflict)
	})
}

func TestWhoMayPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		n := c.order[0]
		adam, eve := newWriter(t), newWriter(t)
		wantKind(t, n.putHeader(adam.seal(t, "course", envelope.Version{}, 1)), envelope.NotFound)
		must(t, n.putDocument(adam))
		must(t, n.putDocument(eve))
		forged := adam.seal(t, "course", envelope.Version{}, 1)
		forged.rec.Signed.Signatures[0] = envelope.Sign(&writer{key: eve.key, id: adam.id, version: 1}, envelope.DomainHeader, forged.rec.Signed.Body)
		wantKind(t, n.putHeader(forged), envelope.Corrupt)

		// A key that has been replaced writes nothing more, and what it wrote
		// before can still be read.
		old := adam.seal(t, "old", envelope.Version{}, 1)
		must(t, n.putCourse(old))
		adam2 := adam.rotate(t)
		must(t, n.putDocument(adam2))
		time.Sleep(2 * cacheLife)
		for _, node := range c.order {
			wantKind(t, node.putHeader(adam.seal(t, "course", envelope.Version{}, 1)), envelope.Denied)
		}
		must(t, n.putHeader(adam2.seal(t, "course", envelope.Version{}, 1)))
		c.order[3].wantCourse(old)
		chain, err := c.order[2].Chain(t.Context(), adam.id)
		if err != nil || len(chain) != 2 {
			t.Errorf("the chain has %d documents, %v", len(chain), err)
		}
	})
}

func TestLostNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		adam := newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 3*envelope.SegmentPlainSize)
		must(t, outside.putCourse(v1))
		settled()

		keepers[0].stop()
		outside.wantCourse(v1)
		v2 := adam.seal(t, "course", v1.rec.Version, 10)
		must(t, outside.putHeader(v2)) // two of three are enough
		wantStale := func(want bool) {
			t.Helper()
			_, reply, err := outside.GetRecord(t.Context(), v1.rec.Ref, 0)
			if err != nil || reply.Stale != want {
				t.Errorf("get: %+v, %v; want stale: %v", reply, err, want)
			}
		}
		wantStale(false)

		keepers[1].stop()
		wantStale(true)
		began := time.Now()
		wantKind(t, outside.putHeader(adam.seal(t, "course", v2.rec.Version, 10)), envelope.NotDurable)
		if d := time.Since(began); d > 2*putTimeout {
			t.Errorf("a put without a quorum takes %v to fail", d)
		}
		keepers[2].stop()
		_, _, err := outside.GetRecord(t.Context(), v1.rec.Ref, 0)
		wantKind(t, err, envelope.Unavailable)

		for _, n := range keepers {
			n.restart()
		}
		settled()
		data, _, err := outside.GetRecord(t.Context(), v1.rec.Ref, 2)
		if rec, perr := envelope.ParseRecord(envelope.KindEnvelope, data); err != nil || perr != nil || rec.Version != v2.rec.Version {
			t.Errorf("version 2 after all are back: %v, %v", err, perr)
		}
		c.wantCopies(course{rec: v2.rec}) // keepers[0] has caught up
	})
}

func TestSilentNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		c.set(func() { keepers[1].mute = true })
		began := time.Now()
		v1 := adam.seal(t, "course", envelope.Version{}, 10)
		must(t, outside.putHeader(v1))
		_, reply, err := outside.GetRecord(t.Context(), v1.rec.Ref, 0)
		if err != nil || reply.Stale {
			t.Errorf("get: %+v, %v", reply, err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("the silent node was waited for: %v", d)
		}
		c.set(func() { keepers[0].mute = true })
		began = time.Now()
		wantKind(t, outside.putHeader(adam.seal(t, "other", envelope.Version{}, 10)), envelope.NotDurable)
		if d := time.Since(began); d > putTimeout+getTimeout+time.Second {
			t.Errorf("without a quorum a put takes %v to fail", d)
		}
	})
}

func TestLyingReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam, eve := newWriter(t), newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		must(t, outside.putDocument(eve))
		v1 := adam.seal(t, "course", envelope.Version{}, 1000)
		must(t, outside.putCourse(v1))
		settled()
		newer := eve.seal(t, "course", v1.rec.Version, 1)
		forged := adam.seal(t, "course", v1.rec.Version, 1)
		forged.rec.Signed.Signatures[0].Bytes[0] ^= 1
		other := adam.seal(t, "another course", envelope.Version{}, 1)
		for name, lie := range map[string][]byte{
			"garbage":         []byte("garbage"),
			"nothing":         nil,
			"of another":      newer.rec.Signed.Encode(),
			"forged":          forged.rec.Signed.Encode(),
			"another course":  other.rec.Signed.Encode(),
			"another segment": other.frames[0],
		} {
			c.set(func() {
				c.lie = func(from envelope.NodeID, m wire.Type, data []byte, err error) ([]byte, error) {
					if from != keepers[0].place.ID {
						return data, err
					}
					if m == wire.TypeListRecords {
						list, _ := wire.EncodeRecords([][]byte{lie})
						return list, nil
					}
					return lie, nil
				}
			})
			data, reply, err := outside.GetRecord(t.Context(), v1.rec.Ref, 0)
			rec, perr := envelope.ParseRecord(envelope.KindEnvelope, data)
			if err != nil || perr != nil || rec.Version != v1.rec.Version || reply.Stale {
				t.Errorf("%s: get: %+v, %v, %v", name, reply, err, perr)
			}
			if _, err := outside.GetSegment(t.Context(), v1.ids[0]); err != nil {
				t.Errorf("%s: segment: %v", name, err)
			}
			records, _, err := outside.ListRecords(t.Context(), wire.ListRecords{Kind: envelope.KindEnvelope, Owner: adam.id, AllNames: true})
			if err != nil {
				t.Errorf("%s: list: %v", name, err)
			}
			for _, data := range records {
				if rec, err := envelope.ParseRecord(envelope.KindEnvelope, data); err != nil || rec.Version != v1.rec.Version && rec.Version != other.rec.Version {
					t.Errorf("%s: listed %v, %v", name, rec.Version, err)
				}
			}
		}
	})
}

func TestJoinsAndLeavesLoseNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriterOfLaterNodes(t)
		must(t, c.order[0].putDocument(adam))
		var courses []course
		put := func(n *testNode) {
			t.Helper()
			v := adam.seal(t, fmt.Sprint("course ", len(courses)), envelope.Version{}, 2*envelope.SegmentPlainSize)
			must(t, n.putCourse(v))
			courses = append(courses, v)
		}
		wantAll := func() {
			t.Helper()
			for _, v := range courses {
				for _, n := range c.order {
					if n.Replica != nil && c.ring.Contains(n.place.ID) {
						n.wantCourse(v)
					}
				}
			}
		}
		put(c.order[0])
		// Three at once: for a moment all that should keep something may be new.
		for range 3 {
			n := c.add()
			c.join(n)
		}
		wantAll()
		put(c.order[5])
		settled()
		wantAll()
		for _, v := range courses {
			c.wantCopies(v)
		}
		must(t, c.order[1].Drain(t.Context()))
		c.expel(c.order[1])
		c.order[1].stop()
		wantAll()
		put(c.order[2])
		c.order[3].stop() // lost for ever: the operator expels it
		c.expel(c.order[3])
		settled()
		wantAll()
		for _, v := range courses {
			c.wantCopies(v)
		}
		for _, n := range c.order {
			if n.Replica != nil && n.Behind() != 0 {
				t.Errorf("node %d is behind by %d", n.place.ID[0], n.Behind())
			}
		}
	})
}

func TestForksAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 1)
		must(t, c.order[0].putHeader(v1))
		settled()
		// As after a partition: two replicas have one child, the third another.
		a, b := adam.seal(t, "course", v1.rec.Version, 1), adam.seal(t, "course", v1.rec.Version, 1)
		if b.rec.Version.Newer(a.rec.Version) {
			a, b = b, a
		}
		for i, n := range c.order {
			rec := b.rec
			if i == 2 {
				rec = a.rec
			}
			must(t, n.putHere(rec, false))
			n.Kick()
		}
		settled()
		for _, n := range c.order {
			n.wantCourse(course{rec: a.rec})
			_, reply, err := n.GetRecord(t.Context(), a.rec.Ref, 0)
			if err != nil || len(reply.Forks) != 1 || reply.Forks[0] != b.rec.Version {
				t.Errorf("forks are %v, %v", reply.Forks, err)
			}
		}
		c.wantCopies(course{rec: b.rec})
		v3 := adam.seal(t, "course", a.rec.Version, 1)
		must(t, c.order[1].putHeader(v3))
		c.order[0].wantCourse(course{rec: v3.rec})
		records, _, err := c.order[0].ListRecords(t.Context(), wire.ListRecords{Kind: envelope.KindEnvelope, Owner: adam.id, Name: "course", History: true})
		if err != nil || len(records) != 4 {
			t.Errorf("the history has %d records, %v", len(records), err)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		whole, dead := adam.seal(t, "course", envelope.Version{}, 10), adam.seal(t, "unfinished", envelope.Version{}, 10)
		must(t, c.order[0].putCourse(whole))
		if _, err := c.order[0].PutSegment(t.Context(), wire.PutSegment{ID: dead.ids[0], Owner: adam.id}, dead.frames[0]); err != nil {
			t.Fatal(err)
		}
		segments := func() uint64 { return c.order[0].Store.Stats().Segments }
		time.Sleep(grace - defaultPause)
		if n := segments(); n != 2 {
			t.Errorf("before its time there are %d segments, want 2", n)
		}
		c.set(func() { c.order[2].down = true })
		time.Sleep(3 * defaultPause)
		if n := segments(); n != 2 {
			t.Errorf("while one doesn't answer there are %d segments, want 2", n)
		}
		c.set(func() { c.order[2].down = false })
		settled()
		if n := segments(); n != 1 {
			t.Errorf("after its time there are %d segments, want 1", n)
		}
		c.order[1].wantCourse(whole)
	})
}

// TestSweepAfterJoins: that none of those who should keep a header has it yet
// doesn't make its segments dead.
func TestSweepAfterJoins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriterOfLaterNodes(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 1000)
		must(t, c.order[0].putCourse(v1))
		time.Sleep(grace + 2*defaultPause)
		c.set(func() { c.refuse = wire.TypePutRecord }) // headers don't come over for a while
		for range 3 {
			c.join(c.add())
		}
		live := c.order[5].liveKeys(t.Context(), adam.id)
		if !live[v1.ids[0].Key] {
			t.Error("a node that has just joined takes a segment for dead")
		}
		c.set(func() { c.refuse = 0 })
		settled()
		for _, n := range c.order {
			n.wantCourse(v1)
		}
		c.wantCopies(v1)
	})
}

func TestGroupsAndHolders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		adam, eve := newWriter(t), newWriter(t)
		must(t, c.order[0].putDocument(adam))
		must(t, c.order[0].putDocument(eve))
		box := []byte("a box")
		keys := newWriter(t)
		d := keys.document(t, envelope.Group)
		d.Group = &envelope.GroupPart{Epoch: 1, Admins: []envelope.AgentID{adam.id}, Members: []envelope.Member{{ID: eve.id, Version: 1}},
			Boxes: []envelope.Hash{envelope.AttachmentHash(box)}}
		group, err := envelope.SignDocument(d, [][]byte{box}, adam)
		must(t, err)
		_, err = c.order[0].PutRecord(t.Context(), envelope.KindDocument, group.Bare().Signed().Encode())
		wantKind(t, err, envelope.Corrupt)
		_, err = c.order[0].PutRecord(t.Context(), envelope.KindDocument, group.Signed().Encode())
		must(t, err)
		for _, n := range c.order {
			records, reply, err := n.Memberships(t.Context(), wire.Memberships{Agent: eve.id})
			if err != nil || reply.Stale || len(records) != 1 {
				t.Fatalf("memberships: %d, %+v, %v", len(records), reply, err)
			}
			if records, _, err := n.Memberships(t.Context(), wire.Memberships{Agent: adam.id}); err != nil || len(records) != 0 {
				t.Errorf("an admin who is no member: %d, %v", len(records), err)
			}
		}
		v1 := adam.seal(t, "course", envelope.Version{}, 2*envelope.SegmentPlainSize+1)
		must(t, c.order[0].putCourse(v1))
		settled()
		keepers, outside := c.successors(adam.id)
		keepers[1].stop()
		record, segments, err := outside.Holders(t.Context(), v1.rec.Ref)
		must(t, err)
		if len(record) != 3 || len(segments) != 3 {
			t.Fatalf("%d holders of the record, of %d segments", len(record), len(segments))
		}
		for i, h := range record {
			want := wire.Holds
			if i == 1 {
				want = wire.Silent
			}
			if h.Node != keepers[i].place.ID || h.State != want {
				t.Errorf("holder %d is %+v", i, h)
			}
		}
	})
}

func TestNothingIsDroppedBeforeItIsSafe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		_, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		settled()
		v1 := adam.seal(t, "course", envelope.Version{}, 1)
		c.set(func() { c.refuse = wire.TypePutRecord })
		must(t, outside.putHere(v1.rec, false))
		settled()
		if has, err := outside.Store.HasRecord(v1.rec.Ref, v1.rec.Version); !has || err != nil {
			t.Fatalf("the only copy is gone: %v", err)
		}
		c.set(func() { c.refuse = 0 })
		settled()
		c.wantCopies(course{rec: v1.rec})
	})
}

func TestDamagedSegmentHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 1000)
		must(t, c.order[0].putCourse(v1))
		settled()
		flipBit(t, c.order[1].dir)
		c.order[1].wantCourse(v1)   // from the others
		time.Sleep(5 * time.Second) // long before anybody reconciles
		c.wantCopies(v1)
	})
}

func TestNoNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		n := c.add()
		adam := newWriter(t)
		wantKind(t, n.putDocument(adam), envelope.Unavailable)
		_, _, err := n.GetRecord(context.Background(), envelope.Ref{Kind: envelope.KindDocument, Owner: adam.id}, 0)
		wantKind(t, err, envelope.Unavailable)
		_, err = n.GetSegment(context.Background(), envelope.SegmentID{})
		wantKind(t, err, envelope.Unavailable)
	})
}
