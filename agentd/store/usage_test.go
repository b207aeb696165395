package store

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"l2p/envelope"
)

func TestQuota(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := newUser(t, 0)
	eve, _ := newUser(t, 0)
	header, ids, frames := w.envelope(t, "course", envelope.Version{}, 3*envelope.SegmentPlainSize)
	size := uint64(len(frames[0]))
	opts := Options{Statfs: plenty, Quota: 2*size + size/2}
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	put := func(i int, owner envelope.AgentID, age time.Duration) error {
		_, err := s.PutSegment(ids[i], owner, frames[i], age)
		return err
	}
	wantFull := func(err error) {
		t.Helper()
		wantKind(t, err, envelope.Full)
		for _, part := range []string{w.id.String(), "2 MiB", "--quota-agent"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q doesn't say %q", err, part)
			}
		}
		if n := s.Usage(w.id); n != 2*size {
			t.Errorf("%d bytes are counted, want %d", n, 2*size)
		}
	}
	for i := range 2 {
		if err := put(i, w.id, 0); err != nil {
			t.Fatal(err)
		}
	}
	wantFull(put(2, w.id, 0))
	if err := put(0, w.id, 0); err != nil {
		t.Errorf("what is kept already: %v", err)
	}
	for i := range 2 {
		if err := put(i+1, eve.id, 0); err != nil {
			t.Errorf("another owner: %v", err)
		}
	}
	wantFull(put(2, w.id, 0)) // the segment is there, the claim isn't
	if _, err := s.PutRecord(header, anyRecord); err != nil {
		t.Errorf("a record: %v", err)
	}
	if err := s.DeleteClaim(ids[1], w.id); err != nil {
		t.Fatal(err)
	}
	if err := put(2, w.id, 0); err != nil {
		t.Errorf("after one was dropped: %v", err)
	}
	if err := put(1, w.id, time.Second); err != nil {
		t.Errorf("a copy that another node passes on: %v", err)
	}
	if err := s.DeleteSegment(ids[1]); err != nil {
		t.Fatal(err)
	}
	want := s.Usage(w.id)
	for _, again := range []func(){func() {}, func() { rebuild(t, dir) }} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again()
		if s, err = Open(dir, opts); err != nil {
			t.Fatal(err)
		}
		if got := s.Usage(w.id); got != want || want != 2*size {
			t.Errorf("opened again, %d bytes are counted, before %d, want %d", got, want, 2*size)
		}
		wantFull(put(1, w.id, 0))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestQuotaOfManyWriters(t *testing.T) {
	t.Parallel()
	w, _ := newUser(t, 0)
	const n, fit = 12, 5
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, n*envelope.SegmentPlainSize)
	s, err := Open(t.TempDir(), Options{Statfs: plenty, Quota: fit * uint64(len(frames[0]))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var full atomic.Int32
	var writers sync.WaitGroup
	for i := range n {
		writers.Go(func() {
			switch _, err := s.PutSegment(ids[i], w.id, frames[i], 0); {
			case envelope.KindOf(err) == envelope.Full && err != nil:
				full.Add(1)
			case err != nil:
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if st := s.Stats(); st.Segments != fit || full.Load() != n-fit || s.Usage(w.id) != st.Bytes {
		t.Errorf("%d kept, %d refused, %d bytes counted of %d", st.Segments, full.Load(), s.Usage(w.id), st.Bytes)
	}
}
