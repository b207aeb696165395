package replica

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
)

// A coordinator that reaches too few replicas leaves nothing behind that could
// compete, later, with what others acknowledge.
func TestMinorityLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 10)
		must(t, c.order[0].putHeader(v1))
		for i := range 8 { // the winner of a fork depends on hashes: half of them would go wrong
			name := fmt.Sprint("course-", i)
			lost, kept := adam.seal(t, name, envelope.Version{}, 10), adam.seal(t, name, envelope.Version{}, 10)
			c.set(func() { c.order[1].mute, c.order[2].down = true, true })
			wantKind(t, c.order[0].putHeader(lost), envelope.NotDurable)
			c.set(func() { c.order[1].mute, c.order[2].down = false, false })
			must(t, c.order[1].putHeader(kept))
			for _, n := range c.order {
				n.wantCourse(course{rec: kept.rec})
				if has, err := n.Store.HasRecord(lost.rec.Ref, lost.rec.Version); has || err != nil {
					t.Errorf("node %d keeps what was not acknowledged (%v)", n.place.ID[0], err)
				}
			}
		}
	})
}

// Of writers who put a next version at the same time one succeeds, the others
// hear of a conflict, and no fork comes of it.
func TestWritersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		var parent envelope.Version
		for range 20 {
			drafts := make([]course, 4)
			results := make([]error, len(drafts))
			var writers sync.WaitGroup
			for i := range drafts {
				drafts[i] = adam.seal(t, "course", parent, 10)
				writers.Go(func() { results[i] = c.order[i].putHeader(drafts[i]) })
			}
			writers.Wait()
			won := -1
			for i, err := range results {
				switch {
				case err != nil:
					wantKind(t, err, envelope.Conflict)
				case won >= 0:
					t.Fatal("two writers were acknowledged")
				default:
					won = i
				}
			}
			if won < 0 {
				continue // nobody was quick enough to hold enough replicas
			}
			parent = drafts[won].rec.Version
			time.Sleep(putTimeout)
			for _, n := range c.order {
				n.wantCourse(course{rec: drafts[won].rec})
				if _, reply, err := n.GetRecord(t.Context(), drafts[won].rec.Ref, 0); err != nil || len(reply.Forks) != 0 {
					t.Errorf("forks %v, %v", reply.Forks, err)
				}
			}
		}
		if parent.N < 15 {
			t.Errorf("only %d of 20 rounds had a winner", parent.N)
		}
	})
}

func TestReservations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s reservations
		ref, a, b := envelope.Ref{Name: "course"}, envelope.Hash{1}, envelope.Hash{2}
		for range 2 {
			if !s.take(ref, a) {
				t.Error("it is free, or its own")
			}
		}
		if s.take(ref, b) || s.free(ref, b) || !s.free(ref, a) {
			t.Error("a reservation is for one record")
		}
		s.drop(ref, b)
		if s.free(ref, b) {
			t.Error("another record's reservation was dropped")
		}
		s.drop(ref, a)
		if !s.take(ref, b) {
			t.Error("a dropped reservation holds")
		}
		time.Sleep(reservedFor - time.Second)
		if !s.take(ref, b) {
			t.Error("it is its own yet")
		}
		time.Sleep(time.Second)
		if !s.free(ref, a) || !s.take(ref, a) {
			t.Error("a reservation holds for ever")
		}
		for i := range maxReservations {
			s.take(envelope.Ref{Name: fmt.Sprint(i)}, a)
		}
		if !s.take(envelope.Ref{Name: "one more"}, a) || s.take(envelope.Ref{Name: "one more"}, b) || len(s.byRef) != maxReservations {
			t.Errorf("%d reservations", len(s.byRef))
		}
		time.Sleep(reservedFor)
		if !s.take(envelope.Ref{Name: "and another"}, a) || len(s.byRef) != 1 {
			t.Errorf("%d reservations are left when they have ended", len(s.byRef))
		}
	})
}
