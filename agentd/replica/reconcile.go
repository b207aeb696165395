package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// Pace of reconciling: it shares the disk and the line with clients.
const (
	maxPushes  = 4 // copies on their way at once
	askTimeout = 10 * time.Second
	retryPause = 30 * time.Second // after a round that left something behind
	drainPause = time.Second
)

// Run reconciles when kicked, and from time to time anyway, passes on what
// hints tell of, and scrubs, until ctx ends.
func (r *Replica) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() { r.handOff(ctx) })
	beside.Go(func() { r.scrub(ctx) })
	defer beside.Wait()
	timer := time.NewTimer(r.Pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.kick:
		case <-timer.C:
		}
		pause := r.Pause
		if r.reconcile(ctx) > 0 {
			pause = min(pause, retryPause)
		}
		timer.Reset(pause)
	}
}

// reconcile goes once through what this node keeps and returns how many copies
// nodes that seem alive did not take. Those that don't will be seen to when
// they are back, which is another kick.
func (r *Replica) reconcile(ctx context.Context) uint64 {
	on := r.Ring()
	if on.Len() == 0 {
		return 0
	}
	// What is dead is dropped first: else one node would send it to another
	// that has just dropped it, and so on for ever.
	err := r.sweep(ctx)
	w := r.newRound(on, true)
	if err == nil {
		err = w.run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.log.Error("reconciling stopped; it will be tried again", "err", err)
	}
	r.behind.Store(w.missing)
	r.sent.Add(w.sent)
	r.dropped.Add(w.dropped)
	if w.sent > 0 || w.dropped > 0 || w.missing > 0 {
		r.log.Info("reconciled", "sent", w.sent, "dropped", w.dropped, "missing", w.missing)
	}
	if err != nil {
		return max(1, w.refused)
	}
	return w.refused
}

// Drain passes everything that this node keeps on to its successors on the ring
// without this node, and returns when each thing is on w of them and on all
// that seem alive. Before it may leave the ring the node must have drained.
func (r *Replica) Drain(ctx context.Context) error {
	for {
		on := r.Ring().Without(r.Self)
		if on.Len() == 0 {
			return nil // the last node takes everything with it
		}
		w := r.newRound(on, false)
		err := w.run(ctx)
		r.behind.Store(w.missing)
		r.sent.Add(w.sent)
		if err == nil && w.unsafe == 0 && w.refused == 0 {
			return nil
		}
		if err != nil {
			r.log.Warn("passing on what this node keeps: will be tried again", "err", err)
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return envelope.Errorf(envelope.NotDurable, "%d copies could not be passed on: %w", w.missing, ctx.Err())
		}
	}
}

// A round is one walk through what the node keeps.
type round struct {
	r        *Replica
	on       *ring.Ring
	mayDrop  bool
	silent   map[envelope.NodeID]bool // didn't answer in this round; not asked again
	sent     uint64
	dropped  uint64
	missing  uint64 // copies that successors lack, or may lack
	refused  uint64 // of these, by successors that seem alive
	unsafe   uint64 // things that fewer than w successors have
	pushing  chan struct{}
	mu       sync.Mutex // guards the counters while copies are being sent
	inflight sync.WaitGroup
}

func (r *Replica) newRound(on *ring.Ring, mayDrop bool) *round {
	return &round{r: r, on: on, mayDrop: mayDrop, silent: make(map[envelope.NodeID]bool), pushing: make(chan struct{}, maxPushes)}
}

func (w *round) run(ctx context.Context) error {
	if err := w.records(ctx); err != nil {
		return err
	}
	return w.segments(ctx)
}

// A thing is one record or segment on its way through a round.
type thing struct {
	nodes []envelope.NodeID        // successors
	has   map[envelope.NodeID]bool // who said that they have it
	push  func(context.Context, envelope.NodeID) error
	drop  func() error
}

func (w *round) records(ctx context.Context) error {
	var after *store.RecordInfo
	for {
		page, err := w.r.Store.Records(after, batchRecords)
		if err != nil {
			return err
		}
		things := make([]*thing, len(page))
		for i, info := range page {
			things[i] = w.newThing(ring.RecordPosition(info.Ref.Owner))
			things[i].push = func(ctx context.Context, node envelope.NodeID) error { return w.pushRecord(ctx, node, info) }
			things[i].drop = func() error { return w.r.Store.DeleteRecord(info.Ref, info.Version) }
		}
		err = w.settle(ctx, things, func(ctx context.Context, node envelope.NodeID, which []int) ([]bool, error) {
			var q wire.HasRecords
			for _, i := range which {
				q.Records = append(q.Records, wire.RecordID{Ref: page[i].Ref, Version: page[i].Version})
			}
			var reply wire.HasReply
			_, err := w.r.call(ctx, node, wire.TypeHasRecords, &q, nil, &reply)
			return reply.Have, err
		})
		if err != nil || len(page) < batchRecords {
			return err
		}
		after = &page[len(page)-1]
	}
}

func (w *round) segments(ctx context.Context) error {
	var after *envelope.SegmentID
	for {
		page, err := w.r.Store.Segments(after, batchIDs)
		if err != nil {
			return err
		}
		things := make([]*thing, len(page))
		for i, info := range page {
			things[i] = w.newThing(ring.SegmentPosition(info.ID))
			things[i].push = func(ctx context.Context, node envelope.NodeID) error { return w.pushSegment(ctx, node, info) }
			things[i].drop = func() error { return w.r.Store.DeleteSegment(info.ID) }
		}
		err = w.settle(ctx, things, func(ctx context.Context, node envelope.NodeID, which []int) ([]bool, error) {
			var q wire.HasSegments
			for _, i := range which {
				q.IDs = append(q.IDs, page[i].ID)
			}
			var reply wire.HasReply
			_, err := w.r.call(ctx, node, wire.TypeHasSegments, &q, nil, &reply)
			return reply.Have, err
		})
		if err != nil || len(page) < batchIDs {
			return err
		}
		after = &page[len(page)-1].ID
	}
}

func (w *round) newThing(pos uint64) *thing {
	return &thing{nodes: w.on.Successors(pos, w.r.K), has: make(map[envelope.NodeID]bool)}
}

// settle asks the successors of things which they have, sends what is missing
// and drops what this node keeps without being a successor, once all have it.
func (w *round) settle(ctx context.Context, things []*thing, ask func(context.Context, envelope.NodeID, []int) ([]bool, error)) error {
	byNode := make(map[envelope.NodeID][]int)
	for i, t := range things {
		for _, n := range t.nodes {
			if n != w.r.Self {
				byNode[n] = append(byNode[n], i)
			}
		}
	}
	for node, which := range byNode {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.settleWith(ctx, node, things, which, ask)
	}
	w.inflight.Wait()
	for _, t := range things {
		if err := w.conclude(t); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// settleWith does settle's part with one node.
func (w *round) settleWith(ctx context.Context, node envelope.NodeID, things []*thing, which []int, ask func(context.Context, envelope.NodeID, []int) ([]bool, error)) {
	if w.silent[node] || !w.r.Alive(node) {
		return
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	have, err := ask(asking, node, which)
	cancel()
	if err != nil || len(have) != len(which) {
		w.r.log.Debug("a successor didn't say what it has", "node", node, "err", err)
		w.silent[node] = true
		w.count(&w.refused, uint64(len(which)))
		return
	}
	for i, has := range have {
		t := things[which[i]]
		if has {
			w.mu.Lock()
			t.has[node] = true
			w.mu.Unlock()
			continue
		}
		select {
		case w.pushing <- struct{}{}:
		case <-ctx.Done():
			return
		}
		w.inflight.Go(func() {
			defer func() { <-w.pushing }()
			pushing, cancel := context.WithTimeout(ctx, putTimeout)
			defer cancel()
			if err := t.push(pushing, node); err != nil {
				w.r.log.Debug("a copy could not be passed on", "node", node, "err", err)
				w.count(&w.refused, 1)
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			t.has[node] = true
			w.sent++
		})
	}
}

func (w *round) count(counter *uint64, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*counter += n
}

// conclude counts what a thing lacks, and drops it here if it belongs elsewhere.
func (w *round) conclude(t *thing) error {
	mine := slices.Contains(t.nodes, w.r.Self)
	lacking := len(t.nodes) - len(t.has)
	if mine {
		lacking--
	}
	w.missing += uint64(lacking)
	if len(t.has) < min(w.r.W, len(t.nodes)) {
		w.unsafe++
	}
	if mine || lacking > 0 || !w.mayDrop {
		return nil
	}
	w.dropped++
	return t.drop()
}

func (w *round) pushRecord(ctx context.Context, node envelope.NodeID, info store.RecordInfo) error {
	data, err := w.r.Store.Record(info.Ref, info.Version, false)
	if err != nil {
		return err
	}
	_, err = w.r.call(ctx, node, wire.TypePutRecord, &wire.PutRecord{Kind: info.Ref.Kind, Repair: true}, data, &wire.PutReply{})
	return err
}

func (w *round) pushSegment(ctx context.Context, node envelope.NodeID, info store.SegmentInfo) error {
	frame, err := w.r.segmentHere(info.ID)
	if err != nil {
		return err
	}
	for _, c := range info.Claims {
		age := max(0, time.Since(c.Arrived))
		q := wire.PutSegment{ID: info.ID, Owner: c.Owner, Age: uint64(age / time.Second)}
		if _, err := w.r.call(ctx, node, wire.TypePutSegment, &q, frame, &wire.PutReply{}); err != nil {
			return err
		}
	}
	return nil
}
