package store

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"l2p/envelope"
)

func TestSegmentsComeBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, envelope.SegmentPlainSize+1)
	for i, id := range ids {
		for n, want := range []bool{true, false} {
			if added, err := s.PutSegment(id, w.id, frames[i], 0); err != nil || added != want {
				t.Fatalf("put %d of segment %d: %v, %v", n+1, i, added, err)
			}
		}
		got, err := s.Segment(id)
		if err != nil || !bytes.Equal(got, frames[i]) {
			t.Errorf("segment %d came back as %d bytes, %v", i, len(got), err)
		}
	}
	unknown := envelope.SegmentID{Key: ids[0].Key, Index: 2}
	_, err := s.Segment(unknown)
	wantKind(t, err, envelope.NotFound)
	has, err := s.HasSegments([]envelope.SegmentID{unknown, ids[1], ids[0]})
	if err != nil || !slices.Equal(has, []bool{false, true, true}) {
		t.Errorf("has %v, %v", has, err)
	}
	if st := s.Stats(); st.Segments != 2 || st.Bytes != uint64(len(frames[0])+len(frames[1])) {
		t.Errorf("counted as %+v", st)
	}
	for range 2 {
		if err := s.DeleteSegment(ids[0]); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Segments != 1 || len(listFiles(t, s, segmentDir)) != 1 {
		t.Errorf("after a removal there are %d segments in %d files", st.Segments, len(listFiles(t, s, segmentDir)))
	}
}

func TestForgedSegmentIsRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, 1000)
	for name, forge := range map[string]func(id envelope.SegmentID, frame []byte) (envelope.SegmentID, []byte){
		"data":      func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { f[len(f)-1] ^= 1; return id, f },
		"signature": func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { f[4] ^= 1; return id, f },
		"truncated": func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { return id, f[:len(f)-1] },
		"trailing":  func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { return id, append(f, 0) },
		"empty":     func(id envelope.SegmentID, _ []byte) (envelope.SegmentID, []byte) { return id, nil },
		"index":     func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { id.Index++; return id, f },
		"key":       func(id envelope.SegmentID, f []byte) (envelope.SegmentID, []byte) { id.Key[0]++; return id, f },
	} {
		id, frame := forge(ids[0], bytes.Clone(frames[0]))
		_, err := s.PutSegment(id, w.id, frame, 0)
		if envelope.KindOf(err) != envelope.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(listFiles(t, s, segmentDir)); n != 0 {
		t.Errorf("%d files were written", n)
	}
}

func TestFlippedBitIsNeverServed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, 5000)
	for _, at := range []int{0, 3, 4, 70, len(frames[0]) - 1} {
		if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
			t.Fatal(err)
		}
		path := listFiles(t, s, segmentDir)[0]
		damaged := bytes.Clone(frames[0])
		damaged[at] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Segment(ids[0])
		wantKind(t, err, envelope.Corrupt)
		if has, err := s.HasSegments(ids); has[0] || err != nil {
			t.Errorf("byte %d: the damaged segment still counts as kept", at)
		}
	}
	if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(listFiles(t, s, segmentDir)[0]); err != nil {
		t.Fatal(err)
	}
	_, err := s.Segment(ids[0])
	wantKind(t, err, envelope.Corrupt)
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 {
		t.Errorf("after all that %+v are counted", st)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	adam, _ := newUser(t, 0)
	eve, _ := newUser(t, 0)
	_, ids, frames := adam.envelope(t, "course", envelope.Version{}, 2*envelope.SegmentPlainSize+1)
	before := time.Now().Truncate(time.Millisecond)
	for i, id := range ids {
		if _, err := s.PutSegment(id, adam.id, frames[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if added, err := s.PutSegment(ids[1], eve.id, frames[1], 0); err != nil || !added {
		t.Fatalf("a second claim: %v, %v", added, err)
	}
	var all []SegmentInfo
	var after *envelope.SegmentID
	for {
		page, err := s.Segments(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if len(page) < 2 {
			break
		}
		after = &page[len(page)-1].ID
	}
	if len(all) != 3 || all[1].ID != ids[1] || len(all[0].Claims) != 1 || len(all[1].Claims) != 2 || len(all[2].Claims) != 1 {
		t.Fatalf("segments are %+v", all)
	}
	if c := all[0].Claims[0]; c.Owner != adam.id || c.Arrived.Before(before) || c.Arrived.After(time.Now()) {
		t.Errorf("the claim is %+v", c)
	}
	if err := s.DeleteClaim(ids[1], adam.id); err != nil {
		t.Fatal(err)
	}
	page, err := s.Segments(&ids[0], 1)
	if err != nil || len(page) != 1 || len(page[0].Claims) != 1 || page[0].Claims[0].Owner != eve.id {
		t.Errorf("after one claim is gone: %+v, %v", page, err)
	}
	for i := range maxClaims + 1 {
		_, err = s.PutSegment(ids[0], envelope.AgentID{byte(i)}, frames[0], 0)
	}
	wantKind(t, err, envelope.Full)
}

func TestManyWritersOfOneSegment(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, 10)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if files := listFiles(t, s, segmentDir); len(files) != 1 || s.Stats().Segments != 1 {
		t.Errorf("one segment takes %d files: %s", len(files), strings.Join(files, " "))
	}
	if _, err := s.Segment(ids[0]); err != nil {
		t.Error(err)
	}
}
