package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// A brokenDisk fails at one step of a write.
type brokenDisk struct {
	osDisk
	step string
	err  error
}

func (d *brokenDisk) create(path string) (file, error) {
	if d.step == "create" {
		return nil, d.err
	}
	f, err := d.osDisk.create(path)
	return brokenFile{f, d}, err
}

func (d *brokenDisk) rename(from, to string) error {
	if d.step == "rename" {
		return d.err
	}
	return d.osDisk.rename(from, to)
}

func (d *brokenDisk) syncDir(dir string) error {
	if d.step == "sync of the directory" {
		return d.err
	}
	return d.osDisk.syncDir(dir)
}

type brokenFile struct {
	file
	d *brokenDisk
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.d.step == "write" {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, f.d.err
	}
	return f.file.Write(p)
}

func (f brokenFile) Sync() error {
	if f.d.step == "sync" {
		return f.d.err
	}
	return f.file.Sync()
}

func (f brokenFile) Close() error {
	err := f.file.Close()
	if f.d.step == "close" {
		return f.d.err
	}
	return err
}

// TestFailedWrites: at whichever step a put fails, it isn't acknowledged, leaves
// nothing behind, what is kept is read, and a later put succeeds.
func TestFailedWrites(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create", "write", "sync", "close", "rename", "sync of the directory", "commit"} {
		for errno, kind := range map[syscall.Errno]envelope.ErrorKind{syscall.EIO: envelope.Unavailable, syscall.ENOSPC: envelope.Full} {
			t.Run(fmt.Sprint(step, ", ", errno), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				s := open(t, dir)
				w, before := newUser(t, 2*inlineLimit)
				_, ids, frames := w.envelope(t, "course", envelope.Version{}, envelope.SegmentPlainSize+1)
				put(t, s, before)
				if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
					t.Fatal(err)
				}
				stats := s.Stats()

				s.disk = &brokenDisk{step: step, err: errno}
				if step == "commit" {
					s.commit = func(txn *badger.Txn) error { return errno }
				}
				_, large := newUser(t, 2*inlineLimit)
				if added, err := s.PutRecord(large, anyRecord); err == nil || added || envelope.KindOf(err) != kind {
					t.Errorf("put of a record: added %v, %v", added, err)
				}
				if added, err := s.PutSegment(ids[1], w.id, frames[1], 0); err == nil || added || step != "commit" && envelope.KindOf(err) != kind {
					t.Errorf("put of a segment: added %v, %v", added, err)
				}
				if got := s.Stats(); got != stats || s.Usage(w.id) != stats.Bytes {
					t.Errorf("counted as %+v, %d of the owner; before %+v", got, s.Usage(w.id), stats)
				}
				files := append(listFiles(t, s, recordDir), listFiles(t, s, segmentDir)...)
				if len(files) != 2 {
					t.Errorf("files are left behind: %s", strings.Join(files, " "))
				}
				if got, err := s.Record(before.Ref, before.Version, false); err != nil || !bytes.Equal(got, before.Signed.Encode()) {
					t.Errorf("what was there: %d bytes, %v", len(got), err)
				}
				if _, err := s.Segment(ids[0]); err != nil {
					t.Errorf("what was there: %v", err)
				}

				s.disk, s.commit = osDisk{}, (*badger.Txn).Commit
				if step == "commit" { // what the index shows may not be on disk: only a restart tells
					_, err := s.PutSegment(ids[1], w.id, frames[1], 0)
					wantKind(t, err, envelope.Unavailable)
					if !strings.Contains(err.Error(), "start agentd again") {
						t.Errorf("the error doesn't say what to do: %v", err)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, dir)
				}
				defer s.Close()
				put(t, s, large)
				if _, err := s.PutSegment(ids[1], w.id, frames[1], 0); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestNewerFormatIsRefused before anything is touched, by both who open a store.
func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := newLibrary(t, false)
	if err := writeFile(osDisk{}, dir, formatFile, filepath.Join(dir, formatFile), []byte("l2p store v2\n"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for name, open := range map[string]func() error{
		"open":    func() error { _, err := Open(dir, Options{Statfs: plenty}); return err },
		"rebuild": func() error { _, err := Rebuild(dir, Options{Statfs: plenty}); return err },
	} {
		err := open()
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "newer agentd") {
			t.Errorf("%s: %v", name, err)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%s has touched something:\n%s\nbefore:\n%s", name, after, before)
		}
	}
}

// tree lists a directory with sizes and times, but for the lock.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == lockFile {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
