package replica

import (
	"context"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// Bounds of hints. Whatever falls out is found by reconciling, which is what a
// restarted node relies on as well: hints are only quicker.
const (
	maxHints     = 1 << 16 // of all nodes together; an id and an owner each
	hintsAtOnce  = 4       // copies on their way
	hintInterval = time.Second
)

// A copyID names a copy: of a record's version, or of a segment.
type copyID struct {
	ref     envelope.Ref // zero for a segment
	version envelope.Version
	segment envelope.SegmentID
	owner   envelope.AgentID // of the segment
}

// hints are the copies that were acknowledged without one of the nodes that
// should have them. They are passed on when that node seems alive.
type hints struct {
	mu     sync.Mutex
	byNode map[envelope.NodeID]map[copyID]struct{}
	count  int
}

// add notes that a node lacks a copy.
func (h *hints) add(node envelope.NodeID, id copyID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.byNode[node][id]; known || h.count >= maxHints {
		return
	}
	if h.byNode == nil {
		h.byNode = make(map[envelope.NodeID]map[copyID]struct{})
	}
	if h.byNode[node] == nil {
		h.byNode[node] = make(map[copyID]struct{})
	}
	h.byNode[node][id] = struct{}{}
	h.count++
}

// remove forgets a hint.
func (h *hints) remove(node envelope.NodeID, id copyID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.byNode[node][id]; !known {
		return
	}
	delete(h.byNode[node], id)
	h.count--
	if len(h.byNode[node]) == 0 {
		delete(h.byNode, node)
	}
}

// nodes returns the nodes that lack something.
func (h *hints) nodes() []envelope.NodeID {
	h.mu.Lock()
	defer h.mu.Unlock()
	nodes := make([]envelope.NodeID, 0, len(h.byNode))
	for node := range h.byNode {
		nodes = append(nodes, node)
	}
	return nodes
}

// of returns what a node lacks, in no order.
func (h *hints) of(node envelope.NodeID) []copyID {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]copyID, 0, len(h.byNode[node]))
	for id := range h.byNode[node] {
		ids = append(ids, id)
	}
	return ids
}

func (h *hints) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// handOff passes on what hints tell of, until ctx ends.
func (r *Replica) handOff(ctx context.Context) {
	tick := time.NewTicker(hintInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, node := range r.hints.nodes() {
			if !r.Ring().Contains(node) {
				for _, id := range r.hints.of(node) {
					r.hints.remove(node, id)
				}
			} else if r.Alive(node) {
				r.handOffTo(ctx, node)
			}
		}
	}
}

// handOffTo passes on what one node lacks. It gives up for now when the node
// can't be reached.
func (r *Replica) handOffTo(ctx context.Context, node envelope.NodeID) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, hintsAtOnce)
	var sending sync.WaitGroup
	defer sending.Wait()
	for _, id := range r.hints.of(node) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		sending.Go(func() {
			defer func() { <-slots }()
			calls, done := context.WithTimeout(ctx, putTimeout)
			defer done()
			switch err := r.pass(calls, node, id); {
			case mayRecover(err):
				cancel() // later
				return
			case err != nil: // superseded, removed or refused: reconciling knows better
				r.log.Debug("a hint came to nothing", "node", node, "err", err)
			default:
				r.sent.Add(1)
			}
			r.hints.remove(node, id)
		})
	}
}

// pass sends a copy to a node, from this node's own or from another's.
func (r *Replica) pass(ctx context.Context, node envelope.NodeID, id copyID) error {
	if !id.owner.IsZero() {
		frame, err := r.GetSegment(ctx, id.segment)
		if err != nil {
			return err
		}
		return r.sendSegment(ctx, node, wire.PutSegment{ID: id.segment, Owner: id.owner}, frame)
	}
	data, err := r.Store.Record(id.ref, id.version, false)
	if isKind(err, envelope.NotFound) {
		data, _, err = r.GetRecord(ctx, id.ref, id.version.N)
	}
	if err != nil {
		return err
	}
	rec, err := envelope.ParseRecord(id.ref.Kind, data)
	if err != nil {
		return err
	}
	return r.sendRecord(ctx, node, rec, data, true)
}
