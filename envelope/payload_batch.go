package envelope

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
)

// maxWorkers bounds the goroutines that seal or open one payload, and thereby
// the memory. Eight of them outrun any pipe or disk.
const maxWorkers = 8

// A batch is one segment on its way from the reader through a worker to the
// end of the line. Its two buffers are used again and again.
type batch struct {
	segment Segment
	in      []byte // what was read; part of inBuf
	out     []byte // what goes out; part of outBuf
	inBuf   []byte
	outBuf  []byte
	done    chan error // holds the outcome once the batch is through
}

// batchPool keeps batches of finished payloads, so that sealing a thousand
// small files doesn't allocate 2 MiB for each.
var batchPool = sync.Pool{New: func() any {
	return &batch{
		inBuf:  make([]byte, MaxSegmentSize+1), // one more than is needed: see lookahead
		outBuf: make([]byte, SegmentFrameHeader+MaxSegmentSize),
	}
}}

// A pipeline moves the segments of one payload: they are read one after the
// other, worked on in parallel, and passed on in the order in which they were
// read. A worker reads its own segments, so that it finds them in its cache.
// The memory is bounded: at most maxWorkers+2 batches exist.
type pipeline struct {
	key   [32]byte // segment key, for the segments' ids
	first uint64   // index of the first segment
	end   uint64   // index before which to end; 0: with the final segment
	// read fills b.in, b.segment.Final and what else it knows of b.segment.
	// It is called by one worker at a time.
	read func(b *batch) error
	// work makes b.out of b.in.
	work func(b *batch) error
	// emit passes b on. It is called on the goroutine that called run.
	emit func(b *batch) error

	workers int
	turn    chan turn   // holds what the worker that reads next needs
	queue   chan *batch // read, in order
	free    chan *batch // passed on, to be filled again
	working sync.WaitGroup
}

// A turn is held by the one worker that reads.
type turn struct {
	index   uint64 // of the segment to read
	started int    // workers
	made    int    // batches
}

// run moves all segments up to the final one, or to end. When it returns an error, for
// instance since ctx is done, one last call of read may not have returned yet
// if it waits for input.
func (p *pipeline) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	p.workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	p.turn = make(chan turn, 1)
	p.queue = make(chan *batch, p.workers+2)
	p.free = make(chan *batch, p.workers+2)
	p.turn <- turn{index: p.first, started: 1}
	p.working.Go(func() { p.workAll(ctx) })
	err := p.emitAll(ctx)
	cancel()
	if err != nil {
		return err
	}
	p.working.Wait()
	for len(p.free) > 0 {
		batchPool.Put(<-p.free)
	}
	return nil
}

// workAll reads batches, taking turns with the other workers, and works on
// them, until the final one, an error or the end of ctx.
func (p *pipeline) workAll(ctx context.Context) {
	for {
		var t turn
		select {
		case t = <-p.turn:
		case <-ctx.Done():
			return
		}
		b := p.batch(ctx, &t)
		if b == nil {
			return
		}
		b.segment = Segment{ID: SegmentID{Key: p.key, Index: t.index}}
		err := p.read(b)
		p.queue <- b
		if err != nil {
			b.done <- err
			return
		}
		if p.last(b) {
			b.done <- p.work(b)
			return
		}
		// There is more: it is for others, meanwhile.
		if t.started < p.workers {
			t.started++
			p.working.Go(func() { p.workAll(ctx) })
		}
		t.index++
		p.turn <- t
		b.done <- p.work(b)
	}
}

// batch returns a batch to fill, or nil when ctx is done. It makes new ones
// only while those that exist are all busy.
func (p *pipeline) batch(ctx context.Context, t *turn) *batch {
	if ctx.Err() != nil {
		return nil
	}
	select {
	case b := <-p.free:
		return b
	default:
	}
	if t.made < p.workers+2 {
		t.made++
		b := batchPool.Get().(*batch)
		b.done = make(chan error, 1) // not pooled: a channel belongs to one synctest bubble
		return b
	}
	select {
	case b := <-p.free:
		return b
	case <-ctx.Done():
		return nil
	}
}

// emitAll passes batches on in order, until the final one or an error.
func (p *pipeline) emitAll(ctx context.Context) error {
	for {
		var b *batch
		select {
		case b = <-p.queue:
		case <-ctx.Done():
			return contextError(ctx)
		}
		select {
		case err := <-b.done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return contextError(ctx)
		}
		last := p.last(b)
		if err := p.emit(b); err != nil {
			return err
		}
		p.free <- b
		if last {
			return nil
		}
	}
}

// last reports whether b is the last batch, once it has been read.
func (p *pipeline) last(b *batch) bool {
	return b.segment.Final || b.segment.ID.Index+1 == p.end
}

func contextError(ctx context.Context) error {
	return Errorf(Other, "interrupted: %w", context.Cause(ctx))
}

// A lookahead reads pieces of one size from a source that may be slow, and
// tells which piece is the last: it reads one byte more than it gives away.
type lookahead struct {
	src  io.Reader
	next byte // read already, first of the next piece
	has  bool
}

// read returns the next piece of n bytes, or less if it is the last. It is
// part of buf, which has room for n+1 bytes.
func (l *lookahead) read(buf []byte, n int) (piece []byte, last bool, err error) {
	have := 0
	if l.has {
		buf[0], have, l.has = l.next, 1, false
	}
	for idle := 0; have <= n; {
		m, err := l.src.Read(buf[have : n+1])
		have += m
		switch {
		case err == io.EOF && have <= n:
			return buf[:have], true, nil
		case err != nil && err != io.EOF:
			// Not io.ReadFull: that hides an io.ErrUnexpectedEOF of the
			// source, and what was cut off would be sealed as whole.
			return nil, false, readError(err)
		case m > 0:
			idle = 0
		default:
			if idle++; idle == 100 {
				return nil, false, readError(io.ErrNoProgress)
			}
		}
	}
	l.next, l.has = buf[n], true
	return buf[:n], false, nil
}

// atEnd checks that nothing is left of r.
func atEnd(r io.Reader) error {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	switch {
	case err == io.EOF:
		return nil
	case err == nil:
		return Errorf(Corrupt, "something follows after the end of the envelope")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(Corrupt, "the envelope is truncated")
	default:
		return readError(err)
	}
}
