package replica

import (
	"context"
	"sync"
	"time"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// Pace of scrubbing. A pass takes a week, or longer if it would have to read
// more than 8 MiB a second.
const (
	defaultScrubPass = 7 * 24 * time.Hour
	defaultScrubRate = 8 << 20

	shardPause = time.Second            // after each of the store's 512 directories
	leastCost  = 4 << 10                // what opening a file costs the disk, as if it were bytes
	yieldPause = 100 * time.Millisecond // while requests are being answered
	maxYields  = 20                     // but not for ever: a busy node needs scrubbing, too
	savePause  = 10 * time.Minute       // between two notes of how far a pass is
	scrubRetry = 10 * time.Minute       // after an error that isn't about one thing
)

// A Scrub says what scrubbing has found. Numbers are those since the node was
// started.
type Scrub struct {
	Began   time.Time // of the pass under way
	Done    time.Time // end of the last whole pass, before the start or after it; zero: none yet
	Bytes   uint64    // read
	Damaged uint64    // records and segments that were damaged or missing, and are fetched again
	Adopted uint64    // files that the index had forgotten
	Removed uint64    // files that nobody needed
	// IndexDamaged says that the last whole pass found the index itself damaged:
	// agentd --rebuild-index is needed.
	IndexDamaged bool
}

// Scrubbed returns what scrubbing has found.
func (r *Replica) Scrubbed() Scrub {
	r.scrubbing.mu.Lock()
	defer r.scrubbing.mu.Unlock()
	return r.scrubbing.Scrub
}

// scrubbing is the Scrub that the scrubber writes and others read.
type scrubbing struct {
	mu sync.Mutex
	Scrub
}

func (s *scrubbing) set(f func(*Scrub)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.Scrub)
}

// A scrubCursor says how far a pass is. It is kept in the store, so that a node
// that is often restarted comes to an end, too.
type scrubCursor struct {
	Began   int64               `cbor:"1,keyasint"` // Unix milliseconds
	Shard   int                 `cbor:"2,keyasint"` // the next one
	Record  *wire.RecordID      `cbor:"3,keyasint"` // the last one
	Segment *envelope.SegmentID `cbor:"4,keyasint"` // the last one
	Phase   scrubPhase          `cbor:"5,keyasint"`
	Done    int64               `cbor:"6,keyasint"` // end of the last whole pass, Unix milliseconds; 0: none yet
}

type scrubPhase uint

const (
	scrubFiles scrubPhase = iota
	scrubRecords
	scrubSegments
	scrubDone
)

const maxCursor = 4 << 10 // bytes

// A scrubber reads all that a node keeps, again and again, slowly.
type scrubber struct {
	r     *Replica
	at    scrubCursor
	saved time.Time
}

// scrub runs until ctx ends.
func (r *Replica) scrub(ctx context.Context) {
	s := &scrubber{r: r, saved: time.Now()}
	s.resume()
	for ctx.Err() == nil {
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("scrubbing stopped; it will be tried again", "err", err)
			pause(ctx, scrubRetry)
		}
	}
	s.save()
}

// resume goes on where the last process ended.
func (s *scrubber) resume() {
	data, err := s.r.Store.Cursor()
	if err == nil && data != nil {
		err = envelope.Decode(data, maxCursor, &s.at)
	}
	if err != nil || data == nil || s.at.Began > time.Now().UnixMilli() {
		s.at = scrubCursor{Began: time.Now().UnixMilli(), Done: s.at.Done}
	}
	if s.at.Done > 0 {
		s.r.scrubbing.set(func(p *Scrub) { p.Done = time.UnixMilli(s.at.Done) })
	}
	if err != nil {
		s.r.log.Warn("scrubbing begins anew: how far it was is not known", "err", err)
	}
}

func (s *scrubber) save() {
	data, err := envelope.Encode(&s.at)
	if err == nil {
		err = s.r.Store.SetCursor(data)
	}
	if err != nil {
		s.r.log.Warn("cannot write down how far scrubbing is", "err", err)
	}
	s.saved = time.Now()
}

// pass goes on to the end of a pass and waits until the next is due.
func (s *scrubber) pass(ctx context.Context) error {
	began := time.UnixMilli(s.at.Began)
	s.r.scrubbing.set(func(p *Scrub) { p.Began = began })
	for _, phase := range []struct {
		phase scrubPhase
		run   func(context.Context) error
	}{{scrubFiles, s.files}, {scrubRecords, s.records}, {scrubSegments, s.segments}} {
		if s.at.Phase != phase.phase {
			continue
		}
		if err := phase.run(ctx); err != nil {
			return err
		}
		s.at.Phase++
		if s.at.Phase == scrubDone {
			s.finish()
		}
	}
	if !pause(ctx, time.Until(began.Add(s.r.ScrubPass))) {
		return ctx.Err()
	}
	s.at = scrubCursor{Began: time.Now().UnixMilli(), Done: s.at.Done}
	return nil
}

// finish ends a pass with a look at the index.
func (s *scrubber) finish() {
	err := s.r.Store.CheckIndex()
	if err != nil {
		s.r.log.Error("the index is damaged: stop the node and run agentd --rebuild-index", "err", err)
	}
	now := time.Now()
	s.at.Done = now.UnixMilli()
	s.r.scrubbing.set(func(p *Scrub) { p.Done, p.IndexDamaged = now, err != nil })
	p := s.r.Scrubbed()
	s.r.log.Info("everything kept here has been read", "bytes", p.Bytes, "damaged", p.Damaged, "adopted", p.Adopted, "removed", p.Removed)
	s.save()
}

// files makes files and index agree.
func (s *scrubber) files(ctx context.Context) error {
	for s.at.Shard < store.Shards {
		adopted, removed, err := s.r.Store.MendShard(s.at.Shard)
		if err != nil {
			return err
		}
		s.r.scrubbing.set(func(p *Scrub) { p.Adopted += uint64(adopted); p.Removed += uint64(removed) })
		s.at.Shard++
		if err := s.wait(ctx, shardPause); err != nil {
			return err
		}
	}
	return nil
}

func (s *scrubber) records(ctx context.Context) error {
	var after *store.RecordInfo
	if s.at.Record != nil {
		after = &store.RecordInfo{Ref: s.at.Record.Ref, Version: s.at.Record.Version}
	}
	for {
		page, err := s.r.Store.Records(after, batchRecords)
		if err != nil {
			return err
		}
		rate := s.rate()
		for i, info := range page {
			size, err := s.r.Store.CheckRecord(info.Ref, info.Version)
			if isKind(err, envelope.Corrupt) {
				s.damaged()
				s.r.healRecord(info)
			} else if err != nil && !isKind(err, envelope.NotFound) {
				return err
			}
			after = &page[i]
			s.at.Record = &wire.RecordID{Ref: info.Ref, Version: info.Version}
			if err := s.read(ctx, uint64(size), 0, rate); err != nil {
				return err
			}
		}
		if len(page) < batchRecords {
			return nil
		}
	}
}

func (s *scrubber) segments(ctx context.Context) error {
	for {
		page, err := s.r.Store.Segments(s.at.Segment, batchIDs)
		if err != nil {
			return err
		}
		rate := s.rate()
		for _, info := range page {
			claims, err := s.r.Store.Claims(info.ID) // as they are now, and the page was then
			if err == nil {
				err = s.r.Store.CheckSegment(info.ID)
			}
			if isKind(err, envelope.Corrupt) {
				s.damaged()
				s.r.healSegment(info.ID, claims)
			} else if err != nil && !isKind(err, envelope.NotFound) {
				return err
			}
			s.at.Segment = &info.ID
			if err := s.read(ctx, info.Size, info.Size, rate); err != nil {
				return err
			}
		}
		if len(page) < batchIDs {
			return nil
		}
	}
}

func (s *scrubber) damaged() { s.r.scrubbing.set(func(p *Scrub) { p.Damaged++ }) }

// rate returns how many bytes a second are to be read, so that a pass takes as
// long as it should. A record counts for no bytes of its own: only segments are
// many and large.
func (s *scrubber) rate() float64 {
	kept := s.r.Store.Stats()
	all := float64(kept.Bytes + (kept.Records+kept.Segments)*leastCost)
	return max(1, all/s.r.ScrubPass.Seconds())
}

// read waits as long as it takes at the given rate to read what counts as
// counted bytes, and longer if size bytes may not be read in that time.
func (s *scrubber) read(ctx context.Context, size, counted uint64, rate float64) error {
	s.r.scrubbing.set(func(p *Scrub) { p.Bytes += size })
	seconds := max(float64(counted+leastCost)/rate, float64(size+leastCost)/float64(s.r.ScrubRate))
	return s.wait(ctx, time.Duration(seconds*float64(time.Second)))
}

// wait waits for d, and then for those who use the disk.
func (s *scrubber) wait(ctx context.Context, d time.Duration) error {
	if time.Since(s.saved) > savePause {
		s.save()
	}
	if !pause(ctx, d) {
		return ctx.Err()
	}
	for range maxYields {
		if s.r.serving.Load() == 0 && len(s.r.calls) == 0 {
			break
		}
		if !pause(ctx, yieldPause) {
			return ctx.Err()
		}
	}
	return nil
}

// pause reports whether ctx hasn't ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// healRecord fetches a record again that this node has lost. If nobody answers
// now, others send it when they reconcile.
func (r *Replica) healRecord(lost store.RecordInfo) {
	r.start(func() {
		ctx, cancel := context.WithTimeout(r.ctx, putTimeout)
		defer cancel()
		pos := ring.RecordPosition(lost.Ref.Owner)
		q := r.quorumAt(pos)
		for _, node := range append(r.aliveFirst(q.nodes), r.aliveFirst(r.beyond(pos, q))...) {
			data, err := r.call(ctx, node, wire.TypeGetRecord, &wire.GetRecord{Ref: lost.Ref, N: lost.Version.N}, nil, &wire.RecordReply{})
			if err != nil {
				continue
			}
			rec, err := envelope.ParseRecord(lost.Ref.Kind, data)
			if err != nil || rec.Ref != lost.Ref || rec.Version != lost.Version {
				continue
			}
			if err := r.receiveRecord(ctx, lost.Ref.Kind, data, true); err != nil {
				r.log.Warn("cannot keep a record that was fetched again", "err", err)
				continue
			}
			r.log.Info("a damaged record has been fetched from another replica", "owner", lost.Ref.Owner, "version", lost.Version.N)
			return
		}
		r.log.Warn("cannot fetch a damaged record from others yet", "owner", lost.Ref.Owner, "version", lost.Version.N)
	})
}
