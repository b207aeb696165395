// Package keystore makes, locks and keeps the keys of people and services,
// gives groups their keys, and remembers on disk what it has learned of other
// agents: their documents, what names mean, and how new the things were that
// have been seen. A program opens a [Store], unlocks an agent's [Secrets] and
// hands them to package envelope, as its Signer and as its identities.
//
// It must not know of networks or nodes: whoever uses it fetches and publishes
// documents and hands them over. No storage code may import it; that is why a
// node cannot open what it keeps.
//
// The formats are docs/keys.md.
package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"l2p/envelope"
)

// A Store is a keystore on disk. Its methods may be called by many goroutines
// and by many processes at once: those that write wait for each other.
type Store struct {
	dir        string
	workFactor int // log2 of scrypt's cost, when locking
	parsed     parsedDocuments
}

// Open opens the keystore in dir, which it makes if it isn't there, and clears
// away what a killed program left half written. A directory that others may
// read is an error of kind Denied.
func Open(dir string) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fileError(err)
	}
	if !info.IsDir() {
		return nil, envelope.Errorf(envelope.Usage, "keystore %+q is not a directory", dir)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, envelope.WithHint(
			envelope.Errorf(envelope.Denied, "keystore %+q is open to other users of this machine", dir), "run chmod 700 on it")
	}
	s := &Store{dir: dir, workFactor: writtenWorkFactor}
	return s, s.sweep()
}

// SetWorkFactor changes log2 of scrypt's cost for what is locked from now on. It
// is for tests, which have no time: no program calls it.
func (s *Store) SetWorkFactor(log2 int) { s.workFactor = log2 }

// Dir returns the keystore's directory.
func (s *Store) Dir() string { return s.dir }

// path returns the path of a file in the keystore.
func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// sweep removes temporary files, unless a program is writing just now: then
// they are its own, and the next Open sweeps.
func (s *Store) sweep() error {
	tmp := s.path(tmpDir)
	left, err := os.ReadDir(tmp)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(left) == 0) {
		return nil
	} else if err != nil {
		return fileError(err)
	}
	l, err := tryLock(s.path(lockFile))
	if l == nil {
		return err
	}
	defer l.unlock()
	// Read again: what was there before the lock may have been another's.
	if left, err = os.ReadDir(tmp); err != nil {
		return fileError(err)
	}
	for _, f := range left {
		if err := os.Remove(filepath.Join(tmp, f.Name())); err != nil {
			return fileError(err)
		}
	}
	return nil
}

// locked calls f while no other program writes to the keystore.
func (s *Store) locked(f func() error) error {
	l, err := lock(s.path(lockFile))
	if err != nil {
		return err
	}
	defer l.unlock()
	return f()
}
