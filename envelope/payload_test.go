package envelope

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"
)

func TestLayoutSizes(t *testing.T) {
	t.Parallel()
	const chunk, segment = ChunkSize + 16, MaxSegmentSize
	for _, c := range []struct {
		layout layout
		n      uint64
		want   bool
	}{
		{sealedLayout, 0, false}, {sealedLayout, 15, false}, {sealedLayout, 16, true}, {sealedLayout, 17, true},
		{sealedLayout, chunk, true}, {sealedLayout, chunk + 1, false}, {sealedLayout, chunk + 16, false}, {sealedLayout, chunk + 17, true},
		{sealedLayout, segment, true}, {sealedLayout, segment + 16, false}, {sealedLayout, segment + 17, true},
		{sealedLayout, MaxSegments * segment, true}, {sealedLayout, MaxSegments*segment + 17, false}, {sealedLayout, 1<<64 - 1, false},
		{publicLayout, 0, true}, {publicLayout, 1, true}, {publicLayout, MaxSegments << 20, true}, {publicLayout, MaxSegments<<20 + 1, false},
	} {
		if got := c.layout.isSize(c.n); got != c.want {
			t.Errorf("layout %d: isSize(%d) = %v", c.layout, c.n, got)
		}
	}
	for plain, want := range map[uint64]uint64{0: 16, 1: 17, ChunkSize: chunk, ChunkSize + 1: chunk + 17, SegmentPlainSize: segment} {
		if got := sealedLayout.size(plain); got != want || !sealedLayout.isSize(got) {
			t.Errorf("%d bytes of plaintext make %d", plain, got)
		}
		if got := publicLayout.size(plain); got != plain {
			t.Errorf("%d bytes of public content make %d", plain, got)
		}
	}
}

func TestLayoutCheck(t *testing.T) {
	t.Parallel()
	size := func(n uint64) *uint64 { return &n }
	const full = MaxSegmentSize
	for _, c := range []struct {
		layout layout
		index  uint64
		final  bool
		n      int
		size   *uint64
		want   bool
	}{
		{sealedLayout, 0, true, 16, nil, true},
		{sealedLayout, 0, true, 0, nil, false},
		{sealedLayout, 1, true, 16, nil, false},
		{sealedLayout, 1, true, 17, nil, true},
		{sealedLayout, 0, false, full, nil, true},
		{sealedLayout, 0, false, SegmentPlainSize, nil, false},
		{sealedLayout, 0, true, full, nil, true},
		{sealedLayout, 0, true, full + 1, nil, false},
		{sealedLayout, 0, false, full, size(full), false},
		{sealedLayout, 0, true, full, size(full), true},
		{sealedLayout, 0, true, full, size(full + 17), false},
		{sealedLayout, 1, true, 17, size(full + 17), true},
		{sealedLayout, 1, true, 18, size(full + 17), false},
		{sealedLayout, MaxSegments, true, 17, nil, false},
		{publicLayout, 0, true, 0, nil, true},
		{publicLayout, 1, true, 0, nil, false},
		{publicLayout, 0, false, full, nil, false},
		{publicLayout, 0, true, full, nil, false},
		{publicLayout, 5, false, SegmentPlainSize, size(6<<20 + 1), true},
		{publicLayout, 5, false, SegmentPlainSize, size(6 << 20), false},
	} {
		if err := c.layout.check(c.index, c.final, c.n, c.size); (err == nil) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestMemoryIsBounded seals and opens 256 MiB that never exist at once, and
// watches the heap meanwhile.
func TestMemoryIsBounded(t *testing.T) {
	s := newStage(t)
	const size, limit = 256 << 20, 32 << 20
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	watch := func() {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapSys-now.HeapReleased-min(now.HeapSys-now.HeapReleased, before.HeapSys-before.HeapReleased))
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		opts := SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}}
		err := Seal(context.Background(), w, io.LimitReader(zeros{}, size), opts)
		w.CloseWithError(err)
		ended <- err
	}()
	var got int64
	count := writerFunc(func(p []byte) (int, error) {
		if got += int64(len(p)); got%(32<<20) == 0 {
			watch()
		}
		return len(p), nil
	})
	if _, err := Open(t.Context(), count, r, s.opens(s.eve)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got != size {
		t.Fatalf("%d bytes came out", got)
	}
	// Sealing and opening each have their own batches.
	if most > 2*limit {
		t.Errorf("the heap grew by %d MiB", most>>20)
	}
	if need := (maxWorkers + 2) * 2 * (MaxSegmentSize + SegmentFrameHeader); need > 24<<20 {
		t.Errorf("with %d workers batches take %d MiB", maxWorkers, need>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestSmallEnvelopesDontAllocateBatches seals many small files and expects the
// buffers to be used again.
func TestSmallEnvelopesDontAllocateBatches(t *testing.T) {
	s := newStage(t)
	opts := SealOptions{Author: s.adam, Public: true}
	plain := noise(1000)
	seal := func() {
		if err := Seal(t.Context(), io.Discard, bytes.NewReader(plain), opts); err != nil {
			t.Fatal(err)
		}
	}
	seal()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 100
	for range times {
		seal()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 1<<20 {
		t.Errorf("each small envelope allocates %d KiB", each>>10)
	}
}
