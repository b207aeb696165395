package ring

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"l2p/envelope"
)

// node returns a node whose parts are all derived from the numbers given.
func node(box, ordinal int) Node {
	seed := binary.BigEndian.AppendUint64(nil, uint64(box))
	return Node{
		ID:      envelope.NodeIDOf(append(slices.Clone(seed), byte(ordinal))),
		Box:     envelope.AgentID(envelope.HashOf("test box\n", seed)),
		Nonce:   envelope.HashOf("test nonce\n", seed),
		Ordinal: uint(ordinal),
	}
}

// nodes returns n nodes of n boxes.
func nodes(n int) []Node {
	var all []Node
	for b := range n {
		all = append(all, node(b, 0))
	}
	return all
}

// drawNodes draws 0 to 12 nodes of 1 to 6 boxes.
func drawNodes(t *rapid.T) []Node {
	boxes := rapid.IntRange(1, 6).Draw(t, "boxes")
	var all []Node
	for b := range boxes {
		for o := range rapid.IntRange(0, 2).Draw(t, "nodes of box") {
			all = append(all, node(b, o))
		}
	}
	return all
}

func boxOf(all []Node, id envelope.NodeID) envelope.AgentID {
	return all[slices.IndexFunc(all, func(n Node) bool { return n.ID == id })].Box
}

func TestSuccessors(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawNodes(t)
		r := New(all)
		k := rapid.IntRange(0, 5).Draw(t, "k")
		pos := rapid.Uint64().Draw(t, "pos")
		got := r.Successors(pos, k)

		if want := min(k, len(all)); len(got) != want {
			t.Fatalf("%d successors, want %d", len(got), want)
		}
		distinct, boxes, allBoxes := map[envelope.NodeID]bool{}, map[envelope.AgentID]bool{}, map[envelope.AgentID]bool{}
		for _, n := range all {
			allBoxes[n.Box] = true
		}
		for i, id := range got {
			if distinct[id] {
				t.Fatalf("successor %d comes twice", i)
			}
			distinct[id] = true
			boxes[boxOf(all, id)] = true
		}
		if want := min(k, len(allBoxes)); len(boxes) != want {
			t.Fatalf("successors are of %d boxes, want %d", len(boxes), want)
		}
		for i := range min(k, len(allBoxes)) {
			for j := range i {
				if boxOf(all, got[i]) == boxOf(all, got[j]) {
					t.Fatalf("successors %d and %d are of one box though there are others", j, i)
				}
			}
		}
		shuffled := rapid.Permutation(all).Draw(t, "shuffled")
		if again := New(shuffled).Successors(pos, k); !slices.Equal(again, got) {
			t.Fatalf("the order in which nodes are given changes the successors")
		}
	})
}

// reference finds successors as docs/replication.md says it, the slow way.
func reference(all []Node, pos uint64, k int) []envelope.NodeID {
	type place struct {
		distance uint64
		node     Node
	}
	var places []place
	for _, n := range all {
		for i := range 256 {
			msg := append([]byte("l2p ring token v1\n"), n.Nonce[:]...)
			msg = append(msg, byte(n.Ordinal), byte(i>>8), byte(i))
			sum := blake3.Sum256(msg)
			places = append(places, place{binary.BigEndian.Uint64(sum[:]) - pos, n})
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.distance < b.distance {
			return -1
		}
		return 1
	})
	var got []envelope.NodeID
	boxes := map[envelope.AgentID]bool{}
	for _, p := range places {
		if len(got) < k && !boxes[p.node.Box] {
			boxes[p.node.Box] = true
			got = append(got, p.node.ID)
		}
	}
	for _, p := range places {
		if len(got) < k && !slices.Contains(got, p.node.ID) {
			got = append(got, p.node.ID)
		}
	}
	return got
}

func TestSuccessorsAgreeWithTheDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawNodes(t)
		k := rapid.IntRange(0, 5).Draw(t, "k")
		pos := rapid.Uint64().Draw(t, "pos")
		if got, want := New(all).Successors(pos, k), reference(all, pos, k); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestSuccessorsAtTheEdges(t *testing.T) {
	t.Parallel()
	r := New(nodes(3))
	for _, tok := range []token{r.tokens[0], r.tokens[len(r.tokens)-1]} {
		if got := r.Successors(tok.pos, 1)[0]; got != r.nodes[tok.node].ID {
			t.Errorf("the successor of a token's own position is %v", got)
		}
	}
	last := r.tokens[len(r.tokens)-1].pos
	if got, want := r.Successors(last+1, 1)[0], r.nodes[r.tokens[0].node].ID; got != want {
		t.Errorf("behind the last token comes %v, want the first token's %v", got, want)
	}
	if got := new(Ring).Successors(7, 3); got != nil {
		t.Errorf("an empty ring has successors: %v", got)
	}
}

// movedShare returns how much of all k copies moves to another
// node from old to new, 0 to 1.
func movedShare(old, new *Ring, k int) float64 {
	var moved float64
	for _, c := range Diff(old, new, k) {
		for _, id := range c.New {
			if !slices.Contains(c.Old, id) {
				moved += c.Share()
			}
		}
	}
	return moved / float64(k)
}

func TestJoinMovesLittle(t *testing.T) {
	t.Parallel()
	const k = 3
	for _, n := range []int{4, 5, 10, 50, 100} {
		old, new := New(nodes(n-1)), New(nodes(n))
		moved := movedShare(old, new, k)
		// The new node must take about 1/n of all copies; nothing else needs
		// to move, save where it pushes one of the same box aside.
		if limit := 1.3 / float64(n); moved > limit {
			t.Errorf("%d nodes: %.4f of the copies move, want at most %.4f", n, moved, limit)
		}
		if moved < 0.5/float64(n) {
			t.Errorf("%d nodes: only %.4f of the copies move", n, moved)
		}
		for _, c := range Diff(old, new, k) {
			for _, id := range c.New {
				if !slices.Contains(c.Old, id) && id != node(n-1, 0).ID {
					t.Fatalf("%d nodes: an arc moves to a node that was there before", n)
				}
			}
		}
	}
}

func TestLeaveIsTheReverseOfJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawNodes(t)
		if len(all) == 0 {
			t.Skip()
		}
		gone := all[rapid.IntRange(0, len(all)-1).Draw(t, "gone")]
		r := New(all)
		without := r.Without(gone.ID)
		if without.Contains(gone.ID) || without.Len() != len(all)-1 || !r.Contains(gone.ID) {
			t.Fatalf("Without changed the wrong ring")
		}
		there, back := Diff(r, without, 3), Diff(without, r, 3)
		if len(there) != len(back) {
			t.Fatalf("%d arcs change one way and %d the other", len(there), len(back))
		}
		for i := range there {
			if there[i].After != back[i].After || there[i].UpTo != back[i].UpTo || !slices.Equal(there[i].Old, back[i].New) {
				t.Fatalf("arc %d differs", i)
			}
		}
	})
}

func TestDiffOfEqualRings(t *testing.T) {
	t.Parallel()
	if d := Diff(New(nodes(5)), New(nodes(5)), 3); len(d) != 0 {
		t.Errorf("equal rings differ in %d arcs", len(d))
	}
	var whole float64
	for _, c := range Diff(New(nil), New(nodes(1)), 3) {
		whole += c.Share()
	}
	if math.Abs(whole-1) > 1e-9 {
		t.Errorf("the first node changes %v of the ring, want all", whole)
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5, 20, 100} {
		var sum, max float64
		for _, s := range New(nodes(n)).Shares() {
			sum += s
			max = math.Max(max, s)
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%d nodes: shares add up to %v", n, sum)
		}
		if load := max * float64(n); load > 1.3 {
			t.Errorf("%d nodes: the fullest has %.2f of the mean", n, load)
		}
	}
}

func TestPositionsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[uint64]bool{RecordPosition(envelope.AgentID{}): true}
	for i := range uint64(1000) {
		seen[SegmentPosition(envelope.SegmentID{Index: i})] = true
	}
	if len(seen) != 1001 {
		t.Errorf("only %d of 1001 positions are distinct", len(seen))
	}
}
