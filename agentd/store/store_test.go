package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"l2p/envelope"
)

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	w, doc := newUser(t, 2*inlineLimit)
	header, ids, frames := w.envelope(t, "course", envelope.Version{}, 10)
	put(t, s, doc, header)
	if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
		t.Fatal(err)
	}
	want := s.Stats()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{recordDir, segmentDir} { // as if killed while writing
		if err := os.WriteFile(filepath.Join(dir, sub, tempDir, "half.tmp"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	defer s.Close()
	if got := s.Stats(); got != want {
		t.Errorf("reopened with %+v, closed with %+v", got, want)
	}
	for _, r := range []*envelope.Record{doc, header} {
		if _, err := s.Record(r.Ref, r.Version, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Segment(ids[0]); err != nil {
		t.Error(err)
	}
	for _, file := range append(listFiles(t, s, recordDir), listFiles(t, s, segmentDir)...) {
		if strings.HasSuffix(file, ".tmp") {
			t.Errorf("%s is left", file)
		}
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	_, err := Open(dir, Options{})
	wantKind(t, err, envelope.Conflict)
	if !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error doesn't say why: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]envelope.ErrorKind{
		"l2p store v2\n":            envelope.Other,
		"l2p store v999\n":          envelope.Other,
		"":                          envelope.Corrupt,
		"l2p store v0\n":            envelope.Corrupt,
		"l2p store vx\n":            envelope.Corrupt,
		"something else":            envelope.Corrupt,
		strings.Repeat("l", 100000): envelope.Corrupt,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, formatFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		if err == nil || envelope.KindOf(err) != want {
			t.Errorf("%.20q: %v", content, err)
		}
	}
}

func TestFullDiskRefusesWritesOnly(t *testing.T) {
	t.Parallel()
	var free uint64 = 1 << 40
	s, err := Open(t.TempDir(), Options{Statfs: func(string) (uint64, uint64, error) { return free, 10 << 30, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, doc := newUser(t, 0)
	_, ids, frames := w.envelope(t, "course", envelope.Version{}, 10)
	if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		free uint64
		full bool
	}{{512<<20 - 1, true}, {512 << 20, false}, {0, true}} { // 5 % of 10 GiB
		free = tc.free
		_, err := s.PutRecord(doc, anyRecord)
		if full := err != nil; full != tc.full {
			t.Errorf("%d free: put of a record: %v", free, err)
		} else if full {
			wantKind(t, err, envelope.Full)
		}
		_, err = s.PutSegment(ids[0], w.id, frames[0], 0)
		if full := err != nil; full != tc.full {
			t.Errorf("%d free: put of a segment: %v", free, err)
		}
	}
	if _, err := s.Segment(ids[0]); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	if err := s.DeleteSegment(ids[0]); err != nil {
		t.Errorf("removing on a full disk: %v", err)
	}
}
