// Package ring says which nodes keep what: it places every record and every
// segment on a circle of 64-bit positions, and names the nodes that come next
// on it. docs/replication.md, "Where: the ring", is its specification.
//
// Everything here is a pure function of the roster. The package must not know
// who is alive, what is stored, or how nodes are reached: a ring that moved
// with rumours would move data with them.
package ring

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"l2p/envelope"
)

// Tokens is the number of places that each node has on the ring. With 256 the
// fullest of 5 nodes keeps about 1.05 times the mean, of 100 about 1.16.
const Tokens = 256

// A Node is what placement needs to know of one node in the roster.
type Node struct {
	ID    envelope.NodeID
	Box   envelope.AgentID // nodes of one box don't replace each other as replicas
	Nonce [32]byte         // of the box's certificate; the issuer drew it
	// Ordinal tells the nodes of a box apart; at most wire.MaxOrdinal.
	Ordinal uint
}

// A token is one place of one node.
type token struct {
	pos  uint64
	node int // index into Ring.nodes
}

// A Ring is the placement for one roster. It doesn't change and may be used
// from many goroutines. The zero Ring has no nodes.
type Ring struct {
	nodes  []Node  // ascending by ID
	tokens []token // ascending by position, then by node
	boxes  int     // distinct
}

// New returns the ring of the given nodes, in whatever order. Of two nodes
// with one ID the first counts.
func New(nodes []Node) *Ring {
	r := &Ring{nodes: slices.Clone(nodes)}
	slices.SortStableFunc(r.nodes, func(a, b Node) int { return compareID(a.ID, b.ID) })
	r.nodes = slices.CompactFunc(r.nodes, func(a, b Node) bool { return a.ID == b.ID })
	boxes := make(map[envelope.AgentID]bool)
	r.tokens = make([]token, 0, len(r.nodes)*Tokens)
	for n, node := range r.nodes {
		boxes[node.Box] = true
		for i := range uint16(Tokens) {
			r.tokens = append(r.tokens, token{tokenPosition(node, i), n})
		}
	}
	r.boxes = len(boxes)
	slices.SortFunc(r.tokens, func(a, b token) int {
		return cmp.Or(cmp.Compare(a.pos, b.pos), cmp.Compare(a.node, b.node))
	})
	return r
}

func compareID(a, b envelope.NodeID) int { return slices.Compare(a[:], b[:]) }

func tokenPosition(n Node, i uint16) uint64 {
	return position("l2p ring token v1\n", n.Nonce[:], []byte{byte(n.Ordinal)}, binary.BigEndian.AppendUint16(nil, i))
}

// RecordPosition returns where all records of an owner are kept. They share
// one position so that a replica that checks a header has the owner's
// documents at hand, and a listing is one quorum read.
func RecordPosition(owner envelope.AgentID) uint64 {
	return position("l2p ring record v1\n", owner[:])
}

// SegmentPosition returns where a segment is kept. Segments of one envelope
// spread over the ring.
func SegmentPosition(id envelope.SegmentID) uint64 {
	return position("l2p ring segment v1\n", id.Key[:], binary.BigEndian.AppendUint64(nil, id.Index))
}

func position(context string, parts ...[]byte) uint64 {
	h := envelope.HashOf(context, parts...)
	return binary.BigEndian.Uint64(h[:8])
}

// Successors returns the k nodes that keep what is at pos, the first copy's
// first: the next k distinct nodes clockwise from pos (the token at pos
// itself included), at most one of each box; where there are fewer than k
// boxes the remaining places go to the next distinct nodes. With fewer than k
// nodes it returns them all.
func (r *Ring) Successors(pos uint64, k int) []envelope.NodeID {
	k = min(k, len(r.nodes))
	if k <= 0 {
		return nil
	}
	wantBoxes := min(k, r.boxes)
	var first, rest []int // nodes met: the first of each box, and the others
	start, _ := slices.BinarySearchFunc(r.tokens, pos, func(t token, pos uint64) int { return cmp.Compare(t.pos, pos) })
	for i := range r.tokens {
		n := r.tokens[(start+i)%len(r.tokens)].node
		if slices.Contains(first, n) || slices.Contains(rest, n) {
			continue
		}
		sameBox := func(m int) bool { return r.nodes[m].Box == r.nodes[n].Box }
		if len(first) < wantBoxes && !slices.ContainsFunc(first, sameBox) {
			first = append(first, n)
		} else {
			rest = append(rest, n)
		}
		if len(first) == wantBoxes && len(first)+len(rest) >= k {
			break
		}
	}
	ids := make([]envelope.NodeID, k)
	for i, n := range append(first, rest...)[:k] {
		ids[i] = r.nodes[n].ID
	}
	return ids
}

// Len returns the number of nodes.
func (r *Ring) Len() int { return len(r.nodes) }

// Nodes returns the nodes, ascending by ID.
func (r *Ring) Nodes() []Node { return slices.Clone(r.nodes) }

// Contains reports whether the node has places on the ring.
func (r *Ring) Contains(id envelope.NodeID) bool {
	_, ok := slices.BinarySearchFunc(r.nodes, id, func(n Node, id envelope.NodeID) int { return compareID(n.ID, id) })
	return ok
}

// Without returns the ring as it is when the node has left.
func (r *Ring) Without(id envelope.NodeID) *Ring {
	return New(slices.DeleteFunc(slices.Clone(r.nodes), func(n Node) bool { return n.ID == id }))
}

// Shares returns the part of the ring, 0 to 1, of which each node keeps the
// first copy. The shares of a ring with nodes add up to 1.
func (r *Ring) Shares() map[envelope.NodeID]float64 {
	shares := make(map[envelope.NodeID]float64, len(r.nodes))
	for i, t := range r.tokens {
		before := r.tokens[(i+len(r.tokens)-1)%len(r.tokens)].pos
		shares[r.nodes[t.node].ID] += float64(t.pos-before) / (math.MaxUint64 + 1.0) // wraps past zero as the ring does
	}
	return shares
}

// A Change is an arc of the ring whose successors are others than before.
type Change struct {
	// After and UpTo bound the arc clockwise: After is not in it, UpTo is.
	// If they are equal the arc is the whole ring.
	After, UpTo uint64
	Old, New    []envelope.NodeID // successors, the first copy's first
}

// Share returns the part of the ring, 0 to 1, that the arc takes.
func (c Change) Share() float64 {
	if c.After == c.UpTo {
		return 1
	}
	return float64(c.UpTo-c.After) / (math.MaxUint64 + 1.0)
}

// Diff returns the arcs whose sets of k successors differ between two rings,
// ascending. A change of order within a set moves nothing and is left out.
func Diff(old, new *Ring, k int) []Change {
	var bounds []uint64
	for _, t := range old.tokens {
		bounds = append(bounds, t.pos)
	}
	for _, t := range new.tokens {
		bounds = append(bounds, t.pos)
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	var changes []Change
	for i, upTo := range bounds {
		// Successors are the same for the whole arc, since no token is inside.
		a, b := old.Successors(upTo, k), new.Successors(upTo, k)
		if !sameSet(a, b) {
			changes = append(changes, Change{bounds[(i+len(bounds)-1)%len(bounds)], upTo, a, b})
		}
	}
	return changes
}

func sameSet(a, b []envelope.NodeID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id envelope.NodeID) bool { return !slices.Contains(b, id) })
}
