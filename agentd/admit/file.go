package admit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"l2p/envelope"
)

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, envelope.Errorf(envelope.NotFound, "there is no file %+q", path)
	}
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot read %+q: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot read %+q: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, damaged(path, envelope.Errorf(envelope.Corrupt, "it is longer than %d bytes", limit))
	}
	return data, nil
}

// writeFile replaces a file, mode 0600: whoever kills the program or cuts the
// power finds the old content or the new, and the new one after writeFile has
// returned nil.
func writeFile(path string, data []byte) error {
	if err := ReplaceFile(path, data); err != nil {
		return envelope.WithHint(envelope.Errorf(envelope.Other, "cannot write %+q: %w", path, err),
			"check that the disk has room and that the directory is writable")
	}
	return nil
}

// ReplaceFile replaces a file atomically and durably, with mode 0600. A node
// keeps its other small files the same way.
func ReplaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func damaged(path string, err error) error {
	err = envelope.Errorf(envelope.Corrupt, "%+q is damaged: %w", path, err)
	return envelope.WithHint(err, "move it away and join the network again")
}
