package replica

import (
	"context"
	"slices"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// Bounds on what Holders looks into.
const (
	maxHolders      = 64     // nodes asked
	maxHoldSegments = 65_536 // 64 GiB of payload
)

// Holders says which nodes should keep and do keep the newest version of an
// envelope: its record, and each of its segments in order (at most 65,536).
// Every node is asked, up to 64.
func (r *Replica) Holders(ctx context.Context, ref envelope.Ref) (record []wire.Replica, segments [][]wire.Replica, err error) {
	data, _, err := r.GetRecord(ctx, ref, 0)
	if err != nil {
		return nil, nil, err
	}
	rec, err := envelope.ParseRecord(ref.Kind, data)
	if err != nil {
		return nil, nil, err
	}
	nodes := r.everyone()
	has := make(map[envelope.NodeID]wire.Replica, len(nodes))
	for _, a := range askAll(ctx, r, nodes, func(ctx context.Context, node envelope.NodeID) (envelope.Version, error) {
		return r.versionAt(ctx, node, ref)
	}) {
		has[a.node] = holder(a.node, a.err == nil, a.value.N != 0, a.value)
	}
	record = order(has, r.quorumAt(ring.RecordPosition(ref.Owner)).nodes)
	if rec.Header == nil || len(rec.Header.SegmentKey) != 32 {
		return record, nil, nil
	}
	ids := segmentIDs(rec.Header)
	var answers []nodeAnswer[[]bool]
	if ids != nil {
		answers = askAll(ctx, r, nodes, func(ctx context.Context, node envelope.NodeID) ([]bool, error) {
			return r.hasSegmentsAt(ctx, node, ids)
		})
	} else { // how many there are isn't written: up to the last that anybody has
		answers, ids = r.countSegments(ctx, nodes, [32]byte(rec.Header.SegmentKey))
	}
	for i, id := range ids {
		has := make(map[envelope.NodeID]wire.Replica, len(nodes))
		for _, a := range answers {
			has[a.node] = holder(a.node, a.err == nil, a.err == nil && a.value[i], envelope.Version{})
		}
		segments = append(segments, order(has, r.quorumAt(ring.SegmentPosition(id)).nodes))
	}
	return record, segments, nil
}

// countSegments asks for runs of segments until nobody has any of a run.
func (r *Replica) countSegments(ctx context.Context, nodes []envelope.NodeID, key [32]byte) ([]nodeAnswer[[]bool], []envelope.SegmentID) {
	all := make([]nodeAnswer[[]bool], len(nodes))
	for i, node := range nodes {
		all[i].node = node
	}
	var ids []envelope.SegmentID
	last := 0
	for len(ids) < maxHoldSegments && last == len(ids) {
		var run []envelope.SegmentID
		for range batchIDs {
			run = append(run, envelope.SegmentID{Key: key, Index: uint64(len(ids) + len(run))})
		}
		for i, a := range askAll(ctx, r, nodes, func(ctx context.Context, node envelope.NodeID) ([]bool, error) {
			return r.hasSegmentsAt(ctx, node, run)
		}) {
			if a.err != nil {
				all[i].err, a.value = a.err, make([]bool, len(run))
			}
			all[i].value = append(all[i].value, a.value...)
			for j, has := range a.value {
				if has {
					last = max(last, len(ids)+j+1)
				}
			}
		}
		ids = append(ids, run...)
	}
	return all, ids[:last]
}

// everyone returns the ring's nodes, up to maxHolders.
func (r *Replica) everyone() []envelope.NodeID {
	var nodes []envelope.NodeID
	for _, n := range r.Ring().Nodes() {
		nodes = append(nodes, n.ID)
	}
	return nodes[:min(len(nodes), maxHolders)]
}

func holder(node envelope.NodeID, answered, has bool, v envelope.Version) wire.Replica {
	switch {
	case !answered:
		return wire.Replica{Node: node, State: wire.Silent}
	case has:
		return wire.Replica{Node: node, State: wire.Holds, Has: v}
	}
	return wire.Replica{Node: node, State: wire.Lacks}
}

// order returns the successors' parts first, then those of others who hold a copy.
func order(has map[envelope.NodeID]wire.Replica, successors []envelope.NodeID) []wire.Replica {
	var out []wire.Replica
	for _, node := range successors {
		h, asked := has[node]
		if !asked {
			h = wire.Replica{Node: node, State: wire.Silent}
		}
		out = append(out, h)
	}
	known := len(out)
	for node, h := range has {
		if h.State == wire.Holds && !slices.Contains(successors, node) {
			h.State = wire.Outside
			out = append(out, h)
		}
	}
	slices.SortFunc(out[known:], func(a, b wire.Replica) int { return slices.Compare(a.Node[:], b.Node[:]) })
	return out
}

// segmentIDs returns the ids of a header's segments, none if it doesn't say
// how large the payload is.
func segmentIDs(h *envelope.Header) []envelope.SegmentID {
	if h.Size == nil {
		return nil
	}
	size := uint64(envelope.MaxSegmentSize)
	if len(h.Age) == 0 {
		size = envelope.SegmentPlainSize
	}
	n := min(max(1, *h.Size/size+min(1, *h.Size%size)), maxHoldSegments)
	ids := make([]envelope.SegmentID, n)
	for i := range ids {
		ids[i] = envelope.SegmentID{Key: [32]byte(h.SegmentKey), Index: uint64(i)}
	}
	return ids
}

// versionAt asks a node for the newest version that it has of a ref; zero: none.
func (r *Replica) versionAt(ctx context.Context, node envelope.NodeID, ref envelope.Ref) (envelope.Version, error) {
	if node == r.Self {
		newest, err := r.Store.Newest(ref)
		if err != nil || len(newest) == 0 {
			return envelope.Version{}, err
		}
		return newest[0], nil
	}
	data, err := r.call(ctx, node, wire.TypeGetRecord, &wire.GetRecord{Ref: ref}, nil, &wire.RecordReply{})
	if isKind(err, envelope.NotFound) {
		return envelope.Version{}, nil
	}
	if err != nil {
		return envelope.Version{}, err
	}
	rec, err := envelope.ParseRecord(ref.Kind, data)
	if err != nil || rec.Ref != ref {
		return envelope.Version{}, envelope.Errorf(envelope.Corrupt, "a replica answered with another record than was asked for")
	}
	return rec.Version, nil
}

// hasSegmentsAt asks a node which segments it keeps, in batches.
func (r *Replica) hasSegmentsAt(ctx context.Context, node envelope.NodeID, ids []envelope.SegmentID) ([]bool, error) {
	if node == r.Self {
		return r.Store.HasSegments(ids)
	}
	var have []bool
	for batch := range slices.Chunk(ids, batchIDs) {
		var reply wire.HasReply
		if _, err := r.call(ctx, node, wire.TypeHasSegments, &wire.HasSegments{IDs: batch}, nil, &reply); err != nil {
			return nil, err
		}
		if len(reply.Have) != len(batch) {
			return nil, envelope.Errorf(envelope.Corrupt, "a node answered %d of %d questions", len(reply.Have), len(batch))
		}
		have = append(have, reply.Have...)
	}
	return have, nil
}

// A nodeAnswer is what one of many nodes answered.
type nodeAnswer[T any] struct {
	node  envelope.NodeID
	value T
	err   error
}

// askAll asks nodes at once and returns their answers, in the order of nodes,
// when all have answered or 3 seconds are over.
func askAll[T any](ctx context.Context, r *Replica, nodes []envelope.NodeID, ask func(context.Context, envelope.NodeID) (T, error)) []nodeAnswer[T] {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	type indexed struct {
		i int
		a nodeAnswer[T]
	}
	ch := make(chan indexed, len(nodes))
	answers := make([]nodeAnswer[T], len(nodes))
	for i, node := range nodes {
		answers[i] = nodeAnswer[T]{node: node, err: envelope.Errorf(envelope.Unavailable, "no answer")}
		r.start(func() {
			v, err := ask(ctx, node)
			ch <- indexed{i, nodeAnswer[T]{node, v, err}}
		})
	}
	for range nodes {
		select {
		case in := <-ch:
			answers[in.i] = in.a
		case <-ctx.Done():
			return answers
		}
	}
	return answers
}
