package store

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"l2p/envelope"
)

// What a store's directory holds.
const (
	indexDir   = "index"    // Badger
	recordDir  = "records"  // records too large for the index
	segmentDir = "segments" // all segments
	lockFile   = "lock"
	formatFile = "format"

	// tempDir is inside recordDir and inside segmentDir, beside the shards.
	// What is in it when a store is opened was never acknowledged.
	tempDir = "tmp"
)

// format is the number of the layout that this program reads and writes.
const format = 1

const formatPrefix = "l2p store v"

// checkFormat writes the format file of a new store and refuses the store of a
// newer program.
func checkFormat(dir string) error {
	path := filepath.Join(dir, formatFile)
	data, err := readLimited(path, 64)
	if errors.Is(err, os.ErrNotExist) {
		if err := writeFile(osDisk{}, dir, formatFile, path, fmt.Appendf(nil, "%s%d\n", formatPrefix, format), time.Time{}); err != nil {
			return ioError(err, "writing the store's format")
		}
		return nil
	}
	if err != nil {
		return ioError(err, "reading the store's format")
	}
	number, found := strings.CutPrefix(strings.TrimSuffix(string(data), "\n"), formatPrefix)
	n, err := strconv.ParseUint(number, 10, 32)
	switch {
	case !found || err != nil || n == 0:
		return envelope.Errorf(envelope.Corrupt, "%+q doesn't say what format the store has", path)
	case n > format:
		return envelope.WithHint(envelope.Errorf(envelope.Other, "the store in %+q has format %d, and this agentd knows only up to %d", dir, n, format),
			"run a newer agentd")
	}
	return nil
}

// makeDirs makes dir and what every store has in it, and removes what was being
// written when the last process ended. Shards are made when they are needed.
func makeDirs(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, tempDir)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, tempDir), 0o700); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// makeShard returns when the directory of a shard is there for good. The first
// one who needs it makes it.
func (s *Store) makeShard(dir string) error {
	made, _ := s.shards.LoadOrStore(dir, sync.OnceValue(func() error {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return s.disk.syncDir(filepath.Dir(dir))
	}))
	err := made.(func() error)()
	if err != nil {
		s.shards.Delete(dir) // the next one tries again
	}
	return err
}

// shardPath returns where the file of a name lies, which begins with two
// hexadecimal digits.
func (s *Store) shardPath(sub, name string) string {
	return filepath.Join(s.dir, sub, name[:2], name)
}

// writeShard writes a file durably. name must be new: see newName. The file is
// as old as modified says, unless that is zero.
func (s *Store) writeShard(sub, name string, data []byte, modified time.Time) error {
	path := s.shardPath(sub, name)
	err := s.makeShard(filepath.Dir(path))
	if err == nil {
		err = writeFile(s.disk, filepath.Join(s.dir, sub, tempDir), name, path, data, modified)
	}
	if err != nil {
		return ioError(err, "writing to the store")
	}
	return nil
}

// newName returns a name that begins with prefix and was never used. Names are
// never used twice so that no writer can take away the file of another.
func newName(prefix string) string {
	var b [8]byte
	rand.Read(b[:])
	return prefix + "." + hex.EncodeToString(b[:])
}

// A disk does the steps of a write; in tests, it fails at one of them.
type disk interface {
	create(path string) (file, error)
	rename(from, to string) error
	syncDir(dir string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the real one.
type osDisk struct{}

func (osDisk) create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}
func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) syncDir(dir string) error     { return syncDir(dir) }

// writeFile writes data to path so that after a power cut there is all of it
// or nothing, and so that it is there once writeFile has returned nil; if it
// returns an error nothing is left. Until it is complete it lies in temp under name.
func writeFile(d disk, temp, name, path string, data []byte, modified time.Time) (err error) {
	half := filepath.Join(temp, name+".tmp")
	f, err := d.create(half)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(half)
		}
	}()
	_, err = f.Write(data)
	if err == nil && !modified.IsZero() {
		err = os.Chtimes(half, modified, modified)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.rename(half, path); err != nil {
		return err
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// heldNames are names of files that somebody is about to make known to the
// index, or to remove since the index has just forgotten them. Until they are
// released it means nothing that the index doesn't name them.
type heldNames struct {
	mu sync.Mutex
	n  map[string]int
}

// hold holds a name until it is released as often; the empty name is nobody's.
func (h *heldNames) hold(name string) {
	if name == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == nil {
		h.n = make(map[string]int)
	}
	h.n[name]++
}

func (h *heldNames) release(name string) {
	if name == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[name]--; h.n[name] <= 0 {
		delete(h.n, name)
	}
}

func (h *heldNames) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n[name] > 0
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readLimited reads a file of at most limit bytes; a larger one is cut behind
// the limit, so that whatever checks it finds it too long.
func readLimited(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(int64(limit)+1, info.Size())+bytes.MinRead))
	_, err = buf.ReadFrom(io.LimitReader(f, int64(limit)+1))
	return buf.Bytes(), err
}
