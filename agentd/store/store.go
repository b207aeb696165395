// Package store is what one node keeps on its disk: records and segments.
//
// Records and all metadata are in Badger, each write synced; records over 32
// KiB, and all segments, are files of their own, written under a temporary
// name, synced and then renamed. Everything is checked whenever it is read: a
// segment by its own signature, a record by the hash that was noted when it
// was written. What fails is never returned; it is dropped, so that the other
// replicas see that this node lacks it and send it again.
//
// The index is checked before it is opened, and [Rebuild] makes a damaged one
// anew; [Store.MendShard] makes files and index agree while the store is in use.
//
// The package must not know the ring, the network or who may write: it keeps
// what it is given, and package replica has checked that before. Nor can it
// open what it keeps.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"l2p/envelope"
)

// Free space below which writes are refused: a full disk costs Badger, which
// maps its files, more than the one write that didn't fit.
const (
	minFreeBytes = 256 << 20
	minFreePart  = 20 // one twentieth of the file system: 5 %
)

// Options are what Open may be told. The zero value will do.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
	// Statfs returns the free and the total bytes of the file system that
	// holds dir; nil: ask the operating system.
	Statfs func(dir string) (free, total uint64, err error)
	// Quota is how many bytes of segments are kept for one owner before more of
	// them are refused; 0: as many as there is room for. Copies that other
	// nodes pass on are taken all the same.
	Quota uint64
}

// A Store is open on one directory, in one process. Its methods may be called
// from many goroutines, until Close.
type Store struct {
	dir    string
	log    *slog.Logger
	statfs func(dir string) (free, total uint64, err error)
	lock   *os.File
	db     *badger.DB
	disk   disk
	commit func(*badger.Txn) error
	quota  uint64
	held   heldNames
	shards sync.Map // directory -> func() error, see makeShard

	usage                    usage
	records, segments, bytes atomic.Int64 // counted when opened, kept up to date by writes
	damaged                  atomic.Uint64
	failure                  atomic.Pointer[envelope.Error] // of a commit: no more writes
}

// Stats say how much a store keeps.
type Stats struct {
	Records  uint64 // all versions
	Segments uint64
	Bytes    uint64 // of segments' files
	Free     uint64 // bytes left on the disk
	Need     uint64 // of these, for writes to be taken
	Damaged  uint64 // records and segments found damaged since the store was opened
}

// Open opens the store in dir, and makes it if there is none. dir must exist.
// If another process has it open, or if a newer program wrote it, the error
// says so.
func Open(dir string, opts Options) (_ *Store, err error) {
	s, err := lockStore(dir, opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	index := filepath.Join(dir, indexDir)
	if err := checkIndex(index, s.log); err != nil {
		return nil, err
	}
	db, err := badger.Open(badgerOptions(index, s.log))
	if err != nil { // db may be something that can't be closed
		return nil, envelope.WithHint(envelope.Errorf(envelope.Other, "cannot open the index in %+q: %w", dir, err),
			"if it is damaged, run agentd --rebuild-index: it makes a new one from what is there")
	}
	s.db = db
	if err := s.count(); err != nil {
		return nil, err
	}
	return s, nil
}

// lockStore takes a store's lock and prepares its directories. Close undoes it.
func lockStore(dir string, opts Options) (_ *Store, err error) {
	s := &Store{dir: dir, log: opts.Log, statfs: opts.Statfs, quota: opts.Quota, disk: osDisk{}, commit: (*badger.Txn).Commit}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.statfs == nil {
		s.statfs = statfs
	}
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	for _, sub := range []string{recordDir, segmentDir} {
		if err := makeDirs(filepath.Join(dir, sub)); err != nil {
			return nil, ioError(err, "preparing the store's directories")
		}
	}
	return s, finishRebuild(dir)
}

// Close waits for writes and closes the store. No other method may be called
// after it.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, s.lock.Close()) // closing drops the lock
}

// Stats returns how much the store keeps.
func (s *Store) Stats() Stats {
	free, total, err := s.statfs(s.dir)
	if err != nil {
		s.log.Warn("cannot tell how much disk space is free", "err", err)
	}
	return Stats{
		Records:  uint64(max(0, s.records.Load())),
		Segments: uint64(max(0, s.segments.Load())),
		Bytes:    uint64(max(0, s.bytes.Load())),
		Free:     free,
		Need:     needFree(total),
		Damaged:  s.damaged.Load(),
	}
}

// checkRoom returns an error of kind Full if the disk has too little room for
// another write. Reads and removals go on.
func (s *Store) checkRoom() error {
	free, total, err := s.statfs(s.dir)
	if err != nil {
		return ioError(err, "asking for free disk space")
	}
	if need := needFree(total); free < need {
		return envelope.WithHint(
			envelope.Errorf(envelope.Full, "disk is full: %d MiB are free, and this node stops writing below %d MiB", free>>20, need>>20),
			"make room on the disk of %+q", s.dir)
	}
	return nil
}

// needFree returns how many bytes must be free on a disk of total bytes for
// writes to be taken.
func needFree(total uint64) uint64 { return max(minFreeBytes, total/minFreePart) }

func statfs(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// lockDir takes the lock that keeps a second process out. The operating system
// drops it when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, ioError(err, "opening the store's lock")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Conflict, "the store in %+q is in use by another process", dir),
				"stop the other agentd first, or give this one a directory of its own")
		}
		return nil, ioError(err, "locking the store")
	}
	return f, nil
}

// ioError gives an I/O error its kind.
func ioError(err error, doing string) error {
	kind := envelope.Other
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = envelope.Full
	case errors.Is(err, os.ErrPermission):
		kind = envelope.Denied
	case errors.Is(err, syscall.EIO):
		kind = envelope.Unavailable
	}
	return envelope.Errorf(kind, "%s: %w", doing, err)
}

// update runs fn in a read-write transaction and commits it to disk. fn runs
// again if another transaction changed what it has read.
func (s *Store) update(fn func(*badger.Txn) error) error {
	const attempts = 64 // each time one is lost another has won
	for range attempts {
		if failure := s.failure.Load(); failure != nil {
			return failure
		}
		err := s.transact(fn)
		if !errors.Is(err, badger.ErrConflict) {
			return indexError(err)
		}
	}
	return envelope.Errorf(envelope.Unavailable, "too many writers of one thing at once")
}

func (s *Store) transact(fn func(*badger.Txn) error) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	err := s.commit(txn)
	if err != nil && !errors.Is(err, badger.ErrConflict) {
		// Badger may show from now on what isn't on disk: whoever tries the same
		// again would be told that it is kept. What is true is known after the
		// next start.
		failure := envelope.Errorf(envelope.Unavailable, "this node writes no more: its index could not be written: %w", err)
		if s.failure.CompareAndSwap(nil, envelope.WithHint(failure, "see to the disk of %+q, then start agentd again", s.dir).(*envelope.Error)) {
			s.log.Error("the index could not be written; nothing more will be", "err", err)
		}
	}
	return err
}

// view runs fn in a read-only transaction, which must be short: what it sees
// cannot be compacted away meanwhile.
func (s *Store) view(fn func(*badger.Txn) error) error { return indexError(s.db.View(fn)) }

// indexError gives Badger's errors a kind; errors that have one keep it.
func indexError(err error) error {
	var e *envelope.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if errors.Is(err, badger.ErrDBClosed) || errors.Is(err, badger.ErrBlockedWrites) {
		return envelope.Errorf(envelope.Unavailable, "the store is closed: %w", err)
	}
	return ioError(err, "index")
}

// badgerOptions are chosen for safety first: with Badger's defaults a power cut
// loses acknowledged writes and a flipped bit is served as if it were right.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(checksumOnRead).
		WithValueThreshold(valueThreshold). // above any value of ours: the value log, whose sync errors Badger swallows, stays empty
		WithValueLogFileSize(1 << 20).
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithBlockCacheSize(0). // blocks are read from mapped files, and the page cache is enough
		WithIndexCacheSize(0).
		WithCompression(noCompression).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{log.With("part", "index")})
}

// badgerLog hands Badger's lines to slog. Badger's "info" is of no interest to
// an operator.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) line(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}

func (l badgerLog) Errorf(format string, args ...any)   { l.line(slog.LevelError, format, args) }
func (l badgerLog) Warningf(format string, args ...any) { l.line(slog.LevelWarn, format, args) }
func (l badgerLog) Infof(format string, args ...any)    { l.line(slog.LevelDebug, format, args) }
func (l badgerLog) Debugf(format string, args ...any)   { l.line(slog.LevelDebug, format, args) }
