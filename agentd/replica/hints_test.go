package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
)

// A node that misses puts while it can't be reached gets them soon after it can,
// long before the next round of reconciling; also from a coordinator that
// keeps nothing of them itself, and more of them than requests have stragglers.
func TestHandOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		synctest.Wait()
		time.Sleep(time.Minute) // rounds that the start has kicked off are over
		for _, absent := range []func(n *testNode, is bool){
			func(n *testNode, is bool) { n.mute = is },
			func(n *testNode, is bool) { n.down = is },
		} {
			// Nobody is told, so that nobody reconciles.
			set := func(is bool) { c.mu.Lock(); absent(keepers[1], is); c.mu.Unlock() }
			set(true)
			var courses []course
			for range maxStragglers + 4 {
				course := adam.seal(t, "course-"+time.Now().String(), envelope.Version{}, 3<<20)
				must(t, outside.putCourse(course))
				courses = append(courses, course)
			}
			time.Sleep(putTimeout)
			if outside.Behind() == 0 {
				t.Error("nothing is said to be behind")
			}
			set(false)
			time.Sleep(10 * time.Second)
			for _, course := range courses {
				c.wantCopies(course)
			}
			if n := outside.Behind(); n != 0 {
				t.Errorf("%d copies are said to be behind", n)
			}
		}
	})
}

func TestHintsAreBounded(t *testing.T) {
	t.Parallel()
	var h hints
	node, other := envelope.NodeID{1}, envelope.NodeID{2}
	for i := range uint64(2 * maxHints) {
		h.add(node, copyID{segment: envelope.SegmentID{Index: i}, owner: envelope.AgentID{1}})
	}
	h.add(other, copyID{})
	if h.len() != maxHints || len(h.of(node)) != maxHints || len(h.nodes()) != 1 {
		t.Errorf("%d hints of %d nodes", h.len(), len(h.nodes()))
	}
	for _, id := range h.of(node) {
		h.remove(node, id)
		h.remove(node, id)
	}
	h.add(other, copyID{})
	h.add(other, copyID{})
	if h.len() != 1 || len(h.nodes()) != 1 {
		t.Errorf("%d hints of %d nodes are left, want 1", h.len(), len(h.nodes()))
	}
}
