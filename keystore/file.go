package keystore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"l2p/envelope"
)

const (
	lockFile = "lock"
	tmpDir   = "tmp"

	// lockPatience is how long a writer waits for another to finish. No writer
	// holds the lock for longer than its few synced writes take.
	lockPatience = 10 * time.Second
)

// A fileLock is an exclusive lock between processes (and between goroutines,
// as each opens the file anew). The system releases it when its holder dies.
type fileLock struct{ f *os.File }

// tryLock takes the lock, or returns nil if another holds it.
func tryLock(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileError(err)
	}
	for {
		switch err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return &fileLock{f}, nil
		case syscall.EINTR:
			continue
		case syscall.EWOULDBLOCK:
			f.Close()
			return nil, nil
		}
		f.Close()
		return nil, envelope.Errorf(envelope.Other, "cannot lock %+q: %w", path, err)
	}
}

// lock takes the lock, waiting up to lockPatience.
func lock(path string) (*fileLock, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
		if time.Now().After(deadline) {
			return nil, envelope.WithHint(
				envelope.Errorf(envelope.Unavailable, "the keystore is in use: another program holds %+q", path),
				"try again when it has finished")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *fileLock) unlock() { l.f.Close() }

// writeFile puts data at path, relative to the keystore, so that whatever
// happens the file is either as before or complete. The caller holds the lock.
func (s *Store) writeFile(data []byte, elem ...string) error {
	path := s.path(elem...)
	if err := makeDir(s.path(tmpDir)); err != nil {
		return err
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.path(tmpDir), "*") // mode 0600
	if err != nil {
		return s.writeError(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return s.writeError(err)
	}
	return syncDir(filepath.Dir(path))
}

// writeError is fileError for a temporary file, of which people know nothing: where
// there is no room it names the keystore.
func (s *Store) writeError(err error) error {
	err = fileError(err)
	if envelope.KindOf(err) != envelope.Full {
		return err
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		err = envelope.Errorf(envelope.Full, "keystore %+q: %w", s.dir, file.Err)
	}
	return envelope.WithHint(err, "make room on its disk and try again")
}

// makeDir makes dir and its parents, with mode 0700, and sees to it that they
// survive a power cut.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fileError(err)
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fileError(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fileError(err)
	}
	return nil
}

// readFile returns the content of a file of at most limit bytes. A file that
// isn't there is an error of kind NotFound.
func (s *Store) readFile(limit int, elem ...string) ([]byte, error) {
	f, err := os.Open(s.path(elem...))
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fileError(err)
	}
	if len(data) > limit {
		return nil, envelope.Errorf(envelope.Corrupt, "file %+q has more than %d bytes", f.Name(), limit)
	}
	return data, nil
}

// fileError gives an error of the operating system its kind.
func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return envelope.Errorf(envelope.NotFound, "keystore: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return envelope.Errorf(envelope.Denied, "keystore: %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return envelope.Errorf(envelope.Full, "keystore: %w", err)
	}
	return envelope.Errorf(envelope.Other, "keystore: %w", err)
}

// isNotFound reports whether err is of kind NotFound.
func isNotFound(err error) bool { return err != nil && envelope.KindOf(err) == envelope.NotFound }
