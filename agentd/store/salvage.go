package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"

	"l2p/envelope"
)

// This file reads an index without believing it. Badger itself takes a flipped
// bit badly: it panics in goroutines of its own, ends the process, or removes
// tables that a damaged manifest doesn't name. So its files are checked before
// it sees them, and what is left of a damaged index is read table by table.

const (
	manifestFile = badger.ManifestFilename
	tableSuffix  = ".sst"
	walSuffix    = ".mem"

	// maxTable bounds the tables that are read, which is into memory. Badger
	// makes them of a few MiB.
	maxTable = 256 << 20
)

// checkIndex reads all tables of the index in dir and returns an error of kind
// Corrupt if Badger had better not open it. Without an index there is nothing
// to be said against it.
func checkIndex(dir string, log *slog.Logger) error {
	damaged := func(err error) error {
		line, _, _ := strings.Cut(err.Error(), "\n") // some of Badger's have a second
		return envelope.WithHint(envelope.Errorf(envelope.Corrupt, "the index in %+q is damaged: %s", dir, line),
			"run agentd --rebuild-index: it makes a new one from what is there")
	}
	f, err := os.Open(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		if names, _ := listDir(dir); len(withSuffix(names, tableSuffix)) > 0 {
			return damaged(errors.New("its manifest is missing"))
		}
		return nil
	}
	if err != nil {
		return ioError(err, "reading the index")
	}
	defer f.Close()
	manifest, err := replayManifest(f, badgerOptions(dir, log))
	if err != nil {
		return damaged(err)
	}
	for id := range manifest.Tables {
		path := table.NewFilename(id, dir)
		data, err := readLimited(path, maxTable)
		if err == nil {
			err = withTable(data, options.NoVerification, (*table.Table).VerifyChecksum)
		}
		if err != nil {
			return damaged(fmt.Errorf("%s: %w", filepath.Base(path), err))
		}
	}
	return nil
}

func replayManifest(f *os.File, opts badger.Options) (m badger.Manifest, err error) {
	defer recovered(&err)
	m, _, err = badger.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	return m, err
}

// recovered makes an error of a panic, which is Badger's answer to much damage.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = errors.New("it makes no sense")
	}
}

// withTable calls f with a table, and fails where the table can't be opened or f
// returns an error or panics.
func withTable(data []byte, check options.ChecksumVerificationMode, f func(*table.Table) error) (err error) {
	if err := checkFooter(data); err != nil {
		return err
	}
	defer recovered(&err)
	t, err := table.OpenInMemoryTable(data, 0, &table.Options{ChkMode: check, Compression: noCompression})
	if err != nil {
		return err
	}
	return f(t)
}

// checkFooter checks the lengths at the end of a table, with which Badger would
// end the process if they were wrong: its index, the index's length, a
// checksum, the checksum's length; lengths take four bytes.
func checkFooter(data []byte) error {
	rest := uint64(len(data))
	for range 2 {
		if rest < 4 {
			return errors.New("it is cut short")
		}
		n := uint64(y.BytesToU32(data[rest-4:]))
		rest -= 4
		if n == 0 || n > rest {
			return errors.New("its end makes no sense")
		}
		rest -= n
	}
	return nil
}

// salvage calls f with what can be read of the index in dir: each key and a
// value that it has or had; of deleted keys the value is empty. dir isn't
// changed; scratch is a directory to be made and removed. It returns the number
// of files that couldn't be read, or not all of them.
func salvage(dir, scratch string, log *slog.Logger, f func(key, value []byte) error) (unreadable int, err error) {
	names, err := listDir(dir)
	if err != nil {
		return 0, ioError(err, "reading the old index")
	}
	var failure error // of f
	visit := func(key, value []byte) error {
		if failure == nil {
			failure = f(key, value)
		}
		return failure
	}
	for _, name := range withSuffix(names, tableSuffix) {
		data, err := readLimited(filepath.Join(dir, name), maxTable)
		if err == nil {
			err = withTable(data, options.OnBlockRead, func(t *table.Table) error { return readTable(t, visit) })
		}
		if failure != nil {
			return unreadable, failure
		}
		if err != nil {
			log.Warn("a part of the old index is damaged", "file", name, "err", err)
			unreadable++
		}
	}
	for _, name := range withSuffix(names, walSuffix) {
		err := readLog(filepath.Join(dir, name), scratch, log, visit)
		if failure != nil {
			return unreadable, failure
		}
		if err != nil {
			log.Warn("a part of the old index is damaged", "file", name, "err", err)
			unreadable++
		}
	}
	return unreadable, nil
}

// readTable reads a table from both ends up to what is damaged.
func readTable(t *table.Table, visit func(key, value []byte) error) error {
	for _, direction := range []int{0, table.REVERSED} {
		it := t.NewIterator(direction | table.NOCACHE)
		for it.Rewind(); it.Valid(); it.Next() {
			if err := visit(y.ParseKey(it.Key()), it.Value().Value); err != nil {
				return err
			}
		}
		it.Close()
	}
	return t.VerifyChecksum()
}

// readLog reads a log of what was written last, by letting Badger open an index
// that has nothing else. Badger stops where the log is damaged, and what was
// written behind that stays unread.
func readLog(path, scratch string, log *slog.Logger, visit func(key, value []byte) error) (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	data, err := readLimited(path, maxTable)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o700)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, filepath.Base(path)), data, 0o600); err != nil {
		return err
	}
	defer recovered(&err)
	db, err := badger.Open(badgerOptions(scratch, log))
	if err != nil {
		return err
	}
	return errors.Join(db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			if err := visit(it.Item().KeyCopy(nil), value); err != nil {
				return err
			}
		}
		return nil
	}), db.Close())
}

func withSuffix(names []string, suffix string) []string {
	var found []string
	for _, name := range names {
		if strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
	}
	return found
}
