package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// mend goes through the whole store.
func mend(t testing.TB, s *Store) (adopted, removed int) {
	t.Helper()
	for i := range Shards {
		a, r, err := s.MendShard(i)
		if err != nil {
			t.Fatal(err)
		}
		adopted, removed = adopted+a, removed+r
	}
	return adopted, removed
}

// leave writes a segment's file as a put does that ends before its commit.
func leave(t testing.TB, s *Store, id envelope.SegmentID, owner envelope.AgentID, frame []byte, arrived time.Time) (name string) {
	t.Helper()
	name = segmentName(id, owner)
	if err := s.writeShard(segmentDir, name, frame, arrived); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestMendSegments(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, 3*envelope.SegmentPlainSize+5)
	if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
		t.Fatal(err)
	}
	arrived := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	leave(t, s, ids[0], w.id, frames[0], arrived) // there is another file
	leave(t, s, ids[1], w.id, frames[1], arrived)
	leave(t, s, ids[2], w.id, frames[2][:len(frames[2])-1], arrived)
	writing := leave(t, s, ids[3], w.id, frames[3], arrived)
	s.held.hold(writing)
	foreign := s.shardPath(segmentDir, "ab-notes.txt")
	if err := s.makeShard(filepath.Dir(foreign)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if adopted, removed := mend(t, s); adopted != 1 || removed != 2 {
		t.Errorf("%d adopted, %d removed; want 1 and 2", adopted, removed)
	}
	has, err := s.HasSegments(ids)
	if err != nil || !slices.Equal(has, []bool{true, true, false, false}) {
		t.Fatalf("has %v, %v", has, err)
	}
	if got, err := s.Segment(ids[1]); err != nil || !bytes.Equal(got, frames[1]) {
		t.Errorf("the segment that was left: %d bytes, %v", len(got), err)
	}
	claims, err := s.Claims(ids[1])
	if err != nil || len(claims) != 1 || claims[0].Owner != w.id || !claims[0].Arrived.Equal(arrived) {
		t.Errorf("its claims are %v, %v; want %s at %v", claims, err, w.id, arrived)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that isn't the store's: %v", err)
	}
	if got, want := s.Usage(w.id), uint64(len(frames[0])+len(frames[1])); got != want {
		t.Errorf("%d bytes are counted, want %d", got, want)
	}
	s.held.release(writing)
	if adopted, removed := mend(t, s); adopted != 1 || removed != 0 {
		t.Errorf("once the writer is gone: %d adopted, %d removed; want 1 and 0", adopted, removed)
	}
	if adopted, removed := mend(t, s); adopted != 0 || removed != 0 {
		t.Errorf("when all is mended: %d adopted, %d removed", adopted, removed)
	}
}

func TestMendRecords(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	leaveRecord := func(r *envelope.Record) {
		t.Helper()
		data := r.Signed.Encode()
		if err := s.writeShard(recordDir, entryOf(r, data).File, data, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	w, left := newUser(t, 2*inlineLimit)
	leaveRecord(left)
	other, kept := newUser(t, 2*inlineLimit)
	put(t, s, kept)
	leaveRecord(kept)
	next := func(parent envelope.Version) *envelope.Record {
		d := other.document(envelope.User)
		d.Version, d.Agent, d.Parent = parent.N+1, other.id, parent.Hash
		locked := bytes.Repeat([]byte{byte(time.Now().UnixNano())}, 2*inlineLimit)
		d.Locked = envelope.AttachmentHash(locked)
		d.Time = time.Now().UnixNano() // no two are the same
		return record(t, envelope.KindDocument, sign(t, d, [][]byte{locked}, other, other).Signed())
	}
	second := next(kept.Version)
	put(t, s, second)
	refused := next(kept.Version) // a second child, which was refused
	leaveRecord(refused)
	stranger := next(envelope.Version{N: 2, Hash: envelope.Hash{1}})
	leaveRecord(stranger)
	third := next(second.Version)
	leaveRecord(third)

	if adopted, removed := mend(t, s); adopted != 2 || removed != 3 {
		t.Errorf("%d adopted, %d removed; want 2 and 3", adopted, removed)
	}
	for _, tc := range []struct {
		what string
		r    *envelope.Record
		want bool
	}{{"left", left, true}, {"kept", kept, true}, {"second", second, true}, {"refused", refused, false}, {"of another chain", stranger, false}, {"third", third, true}} {
		if has, err := s.HasRecord(tc.r.Ref, tc.r.Version); err != nil || has != tc.want {
			t.Errorf("%s: kept: %v, %v; want %v", tc.what, has, err, tc.want)
		}
	}
	if files := listFiles(t, s, recordDir); len(files) != 4 {
		t.Errorf("%d files are left, want 4", len(files))
	}
	if got, err := s.Record(left.Ref, left.Version, false); err != nil || !bytes.Equal(got, left.Signed.Encode()) {
		t.Errorf("the record that was left by %s: %d bytes, %v", w.id.Short(), len(got), err)
	}
}

// TestMendWhileWriting: files and index agree at the end, whatever was put and
// dropped while they were compared.
func TestMendWhileWriting(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	var writers, mender sync.WaitGroup
	const n = 4
	var ids [n]envelope.SegmentID
	var frames [n][]byte
	for i := range n {
		_, id, frame := w.envelope(t, fmt.Sprint("course ", i), envelope.Version{}, 100)
		ids[i], frames[i] = id[0], frame[0]
	}
	done := make(chan struct{})
	mender.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if _, _, err := s.MendShard(256 + int(ids[i%n].Key[0])); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range n {
		id, frame := ids[i], frames[i]
		writers.Go(func() {
			for range 100 {
				for range 2 { // two writers of one segment: one file is too many
					writers.Go(func() {
						if _, err := s.PutSegment(id, w.id, frame, 0); err != nil && envelope.KindOf(err) != envelope.Unavailable {
							t.Error(err)
						}
					})
				}
				if err := s.DeleteSegment(id); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.PutSegment(id, w.id, frame, 0); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	close(done)
	mender.Wait()
	mend(t, s)
	var bytes uint64
	for i, id := range ids {
		frame, err := s.Segment(id)
		if err != nil {
			t.Errorf("segment %d: %v", i, err)
		}
		bytes += uint64(len(frame))
	}
	if files := listFiles(t, s, segmentDir); len(files) != n {
		t.Errorf("%d segments take %d files", n, len(files))
	}
	if st := s.Stats(); st.Segments != n || st.Bytes != bytes || s.Usage(w.id) != bytes || st.Damaged != 0 {
		t.Errorf("counted as %+v, %d bytes of the owner; want %d segments and %d bytes", st, s.Usage(w.id), n, bytes)
	}
}

func TestCheckRecordMendsTheWayToIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	v1 := w.header(t, "course", envelope.Version{})
	v2 := w.header(t, "course", v1.Version)
	put(t, s, v1, v2)
	for _, lost := range [][]byte{newestKey(v1.Ref), liveKey(w.id, v2.Header.SegmentKey, v2.Version.Hash)} {
		if err := s.db.DropPrefix(lost); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.update(func(txn *badger.Txn) error { return txn.Set(newestKey(v1.Ref), appendVersion(nil, v1.Version)) }); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*envelope.Record{v1, v2} {
		if size, err := s.CheckRecord(r.Ref, r.Version); err != nil || size != len(r.Signed.Encode()) {
			t.Fatalf("version %d: %d bytes, %v", r.Version.N, size, err)
		}
	}
	if newest, err := s.Newest(v1.Ref); err != nil || !slices.Equal(newest, []envelope.Version{v2.Version}) {
		t.Errorf("the newest version is %v, %v", newest, err)
	}
	if live, err := s.LiveKeys(w.id, nil, 10); err != nil || len(live) != 2 {
		t.Errorf("%d segment keys are live, %v; want 2", len(live), err)
	}
	if n := s.Stats().Records; n != 2 {
		t.Errorf("%d records are counted, want 2", n)
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if c, err := s.Cursor(); c != nil || err != nil {
		t.Errorf("a new store's cursor is %q, %v", c, err)
	}
	if err := s.SetCursor([]byte("here")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if c, err := s.Cursor(); string(c) != "here" || err != nil {
		t.Errorf("after a restart the cursor is %q, %v", c, err)
	}
}
