package replica

import (
	"context"
	"slices"
	"time"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// PutSegment stores a client's segment on the successors of its position and
// returns when w of them have it on disk. Errors are of kind Corrupt if the
// frame doesn't prove itself, NotDurable if fewer than w could be reached
// within 10 seconds. frame must not be changed for 10 seconds: slower replicas
// may still be sent it.
func (r *Replica) PutSegment(ctx context.Context, p wire.PutSegment, frame []byte) (wire.PutReply, error) {
	if err := checkSegment(p.ID, frame); err != nil {
		return wire.PutReply{}, err
	}
	p.Age = 0
	q := r.quorumAt(ring.SegmentPosition(p.ID))
	return r.write(ctx, q, copyID{segment: p.ID, owner: p.Owner}, func(ctx context.Context, node envelope.NodeID) error {
		return r.sendSegment(ctx, node, p, frame)
	})
}

// sendSegment passes a segment to a node, which may be this one.
func (r *Replica) sendSegment(ctx context.Context, node envelope.NodeID, p wire.PutSegment, frame []byte) error {
	if node == r.Self {
		return r.putSegmentHere(p, frame)
	}
	_, err := r.call(ctx, node, wire.TypePutSegment, &p, frame, &wire.PutReply{})
	return err
}

// GetSegment returns a segment's frame, which has proved itself. Any one copy
// will do.
func (r *Replica) GetSegment(ctx context.Context, id envelope.SegmentID) ([]byte, error) {
	if r.Ring().Len() == 0 {
		return nil, errNoNetwork()
	}
	frame, err := r.segmentHere(id)
	if err == nil {
		return frame, nil
	}
	return r.segmentThere(ctx, id)
}

// hedge is how long one replica may take over a segment before the next one is
// asked as well.
const hedge = 300 * time.Millisecond

// segmentThere gets a segment from other nodes: from one after the other,
// those that seem alive first, and the nodes behind the successors last.
func (r *Replica) segmentThere(ctx context.Context, id envelope.SegmentID) ([]byte, error) {
	pos := ring.SegmentPosition(id)
	q := r.quorumAt(pos)
	nodes := r.aliveFirst(q.nodes)
	if len(nodes) > 1 { // readers of one course ask different replicas first
		turn := int(id.Index % uint64(len(nodes)))
		nodes = r.aliveFirst(slices.Concat(nodes[turn:], nodes[:turn]))
	}
	nodes = append(nodes, r.aliveFirst(r.beyond(pos, q))...)
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	type answer struct {
		frame []byte
		err   error
	}
	answers := make(chan answer, len(nodes))
	missing, failed := 0, 0
	var failure error
	asked := 0
	timer := time.NewTimer(hedge)
	defer timer.Stop()
	next := func() bool {
		if asked == len(nodes) {
			return false
		}
		node := nodes[asked]
		asked++
		timer.Reset(hedge)
		return r.start(func() {
			frame, err := r.call(ctx, node, wire.TypeGetSegment, &wire.GetSegment{ID: id}, nil, nil)
			if err == nil {
				err = checkSegment(id, frame)
			}
			answers <- answer{frame, err}
		})
	}
	next()
	for missing+failed < asked {
		select {
		case a := <-answers:
			if a.err == nil {
				return a.frame, nil
			}
			if isKind(a.err, envelope.NotFound) {
				missing++
			} else {
				failed++
				failure = a.err
			}
			next()
		case <-timer.C:
			next()
		case <-ctx.Done():
			failed, failure = asked, ctx.Err()
		}
	}
	if failed == 0 {
		return nil, envelope.Errorf(envelope.NotFound, "segment %d of the envelope is not on any node that should keep it", id.Index)
	}
	return nil, envelope.WithHint(
		envelope.Errorf(envelope.Unavailable, "no node that keeps segment %d of the envelope answers%s", id.Index, reason(failure)),
		"try again when more nodes are up (l2p status)")
}

// aliveFirst returns the other nodes, those that seem alive first.
func (r *Replica) aliveFirst(nodes []envelope.NodeID) []envelope.NodeID {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n envelope.NodeID) bool { return n == r.Self })
	slices.SortStableFunc(nodes, func(a, b envelope.NodeID) int {
		switch aliveA, aliveB := r.Alive(a), r.Alive(b); {
		case aliveA && !aliveB:
			return -1
		case aliveB && !aliveA:
			return 1
		}
		return 0
	})
	return nodes
}
