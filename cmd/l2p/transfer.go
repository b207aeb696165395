package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"l2p/envelope"
	"l2p/netq/wire"
)

// window is how many segments are under way at once: enough to keep the nodes
// busy that they spread over, and 8 MiB of memory.
const window = 8

// A segmentKeeper is what a transfer needs of a node.
type segmentKeeper interface {
	PutSegment(ctx context.Context, id envelope.SegmentID, owner envelope.AgentID, frame []byte) (wire.PutReply, error)
	GetSegment(ctx context.Context, id envelope.SegmentID) (frame []byte, err error)
}

// sendPayload seals src and stores its segments, several at a time. It returns
// the payload's size and the reply of the segment with the fewest copies.
func sendPayload(ctx context.Context, node segmentKeeper, sealer *envelope.Sealer, owner envelope.AgentID, src io.Reader, bar *progress) (size uint64, worst wire.PutReply, err error) {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(window)
	frames := sync.Pool{New: func() any { return new([]byte) }}
	var mu sync.Mutex
	size, sealErr := sealer.Segments(ctx, src, func(s *envelope.Segment) error {
		frame := frames.Get().(*[]byte)
		*frame = s.AppendFrame((*frame)[:0]) // s.Data is valid during this call only
		id := s.ID
		group.Go(func() error { // waits while the window is full
			defer frames.Put(frame)
			reply, err := node.PutSegment(ctx, id, owner, *frame)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if worst.Want == 0 || reply.Copies < worst.Copies {
				worst = reply
			}
			bar.add(len(*frame))
			return nil
		})
		return nil
	})
	if sealErr != nil {
		cancel()
	}
	sendErr := group.Wait()
	switch {
	case parent.Err() != nil:
		return 0, worst, parent.Err()
	case sendErr != nil && !errors.Is(sendErr, context.Canceled):
		return 0, worst, sendErr // which ended the sealing, too
	case sealErr != nil:
		return 0, worst, sealErr
	}
	return size, worst, sendErr
}

// segmentsOf returns how many segments an envelope's payload has. Where the
// header doesn't say, it is the most that there can be.
func segmentsOf(h *envelope.Header) uint64 {
	if h.Size == nil {
		return envelope.MaxSegments
	}
	full := uint64(envelope.MaxSegmentSize)
	if h.Public() {
		full = envelope.SegmentPlainSize
	}
	return max(1, (*h.Size+full-1)/full)
}

// A piece is one segment's plaintext, or why there is none.
type piece struct {
	plain []byte
	final bool
	err   error
}

// fetchPayload gets an envelope's segments, several at a time and ahead of
// what is written, and writes their plaintext to dst in order. Each segment is
// proven before a byte of it is written. Errors of dst are returned as they are.
func fetchPayload(ctx context.Context, node segmentKeeper, opener *envelope.Opener, dst io.Writer, bar *progress) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	content := opener.Content(dst)
	count, key := segmentsOf(opener.Header()), [32]byte(opener.Header().SegmentKey)
	free := make(chan []byte, window) // buffers that have been written out
	ahead := make(chan chan piece, window-1)
	running.Go(func() {
		defer close(ahead)
		for index := range count {
			slot := make(chan piece, 1)
			select {
			case ahead <- slot:
			case <-ctx.Done():
				return
			}
			var buf []byte
			select {
			case buf = <-free:
			default:
			}
			running.Go(func() {
				slot <- fetchSegment(ctx, node, opener, envelope.SegmentID{Key: key, Index: index}, buf)
			})
		}
	})
	for slot := range ahead {
		p := <-slot
		if p.err != nil {
			return p.err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := content.Write(p.plain); err != nil {
			return err
		}
		bar.add(len(p.plain))
		if p.final {
			return content.Close()
		}
		select {
		case free <- p.plain[:0]:
		default:
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return envelope.Errorf(envelope.Corrupt, "the envelope has no final segment")
}

func fetchSegment(ctx context.Context, node segmentKeeper, opener *envelope.Opener, id envelope.SegmentID, buf []byte) piece {
	frame, err := node.GetSegment(ctx, id)
	if err != nil {
		return piece{err: err}
	}
	segment, err := envelope.ParseSegment(id, frame)
	if err != nil {
		return piece{err: err}
	}
	plain, err := opener.Segment(buf[:0], segment)
	return piece{plain: plain, final: segment.Final, err: err}
}
