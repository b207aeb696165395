package replica

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// Before a coordinator writes a record it reserves the place on w replicas, so
// that of two who write a next version at once one writes nothing, and neither
// does one who can't reach w. A record that only a minority has would else
// compete with one that was acknowledged.
const (
	reservedFor     = putTimeout + time.Second // unless the record comes before
	maxReservations = 1 << 16
	reserveAttempts = 6
	reservePause    = 10 * time.Millisecond // after the first attempt, twice as long after each
)

// reservations say for which record a ref is kept free. They are in memory
// only: after a restart compare-and-set is all there is.
type reservations struct {
	mu    sync.Mutex
	byRef map[envelope.Ref]reservation
}

type reservation struct {
	record envelope.Hash
	until  time.Time
}

// take reserves a ref for a record. It reports false if it is another's.
func (s *reservations) take(ref envelope.Ref, record envelope.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if held, ok := s.byRef[ref]; ok && now.Before(held.until) {
		return held.record == record // for no longer than it was promised
	}
	if _, held := s.byRef[ref]; !held && len(s.byRef) >= maxReservations {
		for ref, held := range s.byRef {
			if !now.Before(held.until) {
				delete(s.byRef, ref)
			}
		}
		// Some node asks for more than it writes. Any other one makes room, for
		// which compare-and-set has to do: else that node would stop all writing.
		for ref := range s.byRef {
			if len(s.byRef) < maxReservations {
				break
			}
			delete(s.byRef, ref)
		}
	}
	if s.byRef == nil {
		s.byRef = make(map[envelope.Ref]reservation)
	}
	s.byRef[ref] = reservation{record, now.Add(reservedFor)}
	return true
}

// free reports whether a record may be written as far as reservations go.
func (s *reservations) free(ref envelope.Ref, record envelope.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.byRef[ref]
	return !ok || held.record == record || !time.Now().Before(held.until)
}

// drop ends a record's reservation.
func (s *reservations) drop(ref envelope.Ref, record envelope.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byRef[ref].record == record {
		delete(s.byRef, ref)
	}
}

// reserveHere reserves this node's place for a record that has been verified.
// granted is false if another one's coordinator was first; a record that doesn't
// follow from what is kept is an error of kind Conflict.
func (r *Replica) reserveHere(rec *envelope.Record) (granted bool, err error) {
	newest, err := r.Store.Newest(rec.Ref)
	if err != nil {
		return false, err
	}
	if kept, err := r.Store.HasRecord(rec.Ref, rec.Version); err != nil || kept {
		return kept, err
	}
	if err := acceptPut(rec, newest); err != nil {
		return false, err
	}
	return r.reservations.take(rec.Ref, rec.Version.Hash), nil
}

// receiveReserve answers a coordinator's Reserve.
func (r *Replica) receiveReserve(ctx context.Context, q wire.Reserve, data []byte) (*wire.ReserveReply, error) {
	rec, err := envelope.ParseRecord(q.Kind, data)
	if err != nil {
		return nil, err
	}
	if q.Release {
		r.reservations.drop(rec.Ref, rec.Version.Hash)
		return &wire.ReserveReply{}, nil
	}
	// Only who may write may keep others from it.
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := r.verifyPut(ctx, rec); err != nil {
		return nil, err
	}
	granted, err := r.reserveHere(rec)
	return &wire.ReserveReply{Granted: granted}, err
}

// reserve reserves the place of a record on w of its replicas. Errors are of
// kind Conflict if it doesn't follow from what is there or others write at the
// same time, NotDurable if fewer than w answer. Nothing has been written then.
func (r *Replica) reserve(ctx context.Context, q quorum, rec *envelope.Record) error {
	if q.k < 2 || r.broken.noReservation {
		return nil // compare-and-set will do
	}
	data := rec.Signed.Encode()
	if len(rec.Signed.Attachments) > 0 {
		var err error
		if data, err = bare(data); err != nil {
			return err
		}
	}
	pause := reservePause
	for range reserveAttempts {
		busy, err := r.reserveOnce(ctx, q, rec, data)
		if err != nil || !busy {
			return err
		}
		select {
		case <-time.After(pause + rand.N(pause)):
		case <-ctx.Done():
			return envelope.Errorf(envelope.Unavailable, "the put was abandoned: %w", ctx.Err())
		}
		pause *= 2
	}
	return envelope.WithHint(envelope.Errorf(envelope.Conflict, "others write version %d at the same time", rec.Version.N),
		"get the newest version and make the change again")
}

// reserveOnce asks all replicas. busy means that others hold so many of them
// that w can't be had now.
func (r *Replica) reserveOnce(ctx context.Context, q quorum, rec *envelope.Record, data []byte) (busy bool, err error) {
	type answer struct {
		node    envelope.NodeID
		granted bool
		err     error
	}
	calls, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	answers := make(chan answer, q.k)
	for _, node := range q.nodes {
		started := r.start(func() {
			granted, err := r.reserveAt(calls, node, rec, data)
			answers <- answer{node, granted, err}
		})
		if !started {
			return false, envelope.Errorf(envelope.Unavailable, "the node is stopping")
		}
	}
	var granted []envelope.NodeID
	var refused, unreachable error
	taken, silent := 0, 0
	for waiting := q.k; waiting > 0 && len(granted) < q.w; waiting-- {
		switch a := <-answers; { // every call ends by its deadline
		case a.granted:
			granted = append(granted, a.node)
		case a.err == nil:
			taken++
		case mayRecover(a.err):
			silent++
			unreachable = a.err
		default:
			refused = a.err
		}
	}
	if len(granted) >= q.w && refused == nil {
		return false, nil
	}
	if len(granted) >= q.w {
		// One replica knows better than w others, or lies. Whatever is written there counts, even if
		// its put was never acknowledged.
		if refused = r.checkConflict(ctx, q, rec); refused == nil {
			return false, nil
		}
	}
	for _, node := range granted {
		r.release(node, rec, data)
	}
	switch {
	case refused != nil:
		return false, refused
	case taken > 0 && q.k-silent >= q.w:
		return true, nil
	}
	return false, envelope.WithHint(
		envelope.Errorf(envelope.NotDurable, "not durable: only %d of %d nodes answer, at least %d must%s; nothing has been written", q.k-silent, q.k, q.w, reason(unreachable)),
		"put it again when more nodes are up (l2p status)")
}

// checkConflict returns an error of kind Conflict if a replica has a version
// after which the record can't be written. The others get it too, then.
func (r *Replica) checkConflict(ctx context.Context, q quorum, rec *envelope.Record) error {
	g := &get{r: r, ref: rec.Ref, found: make(map[envelope.Version]recordAnswer), claimed: make(map[envelope.Version]int)}
	if _, _, err := g.run(ctx, q.nodes, q.k, q.w); err != nil {
		if isKind(err, envelope.NotFound) {
			return nil
		}
		return err
	}
	return acceptPut(rec, []envelope.Version{g.m.winner()})
}

func (r *Replica) reserveAt(ctx context.Context, node envelope.NodeID, rec *envelope.Record, data []byte) (granted bool, err error) {
	if node == r.Self {
		return r.reserveHere(rec)
	}
	var reply wire.ReserveReply
	_, err = r.call(ctx, node, wire.TypeReserve, &wire.Reserve{Kind: rec.Ref.Kind}, data, &reply)
	return reply.Granted && err == nil, err
}

// release gives a place back that isn't going to be used. If the node doesn't
// hear of it, time does the same.
func (r *Replica) release(node envelope.NodeID, rec *envelope.Record, data []byte) {
	if node == r.Self {
		r.reservations.drop(rec.Ref, rec.Version.Hash)
		return
	}
	r.start(func() {
		ctx, cancel := context.WithTimeout(r.ctx, getTimeout)
		defer cancel()
		if _, err := r.call(ctx, node, wire.TypeReserve, &wire.Reserve{Kind: rec.Ref.Kind, Release: true}, data, &wire.ReserveReply{}); err != nil {
			r.log.Debug("a reservation was not given back", "node", node, "err", err)
		}
	})
}
