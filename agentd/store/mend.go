package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// This file makes files and index agree again, where a process ended between
// the two, the disk lost something of either, or the index was lost. Files that
// the index doesn't name are made known to it: whoever has to drop them for
// another reason finds them then.

// Shards is how many parts of the store MendShard goes through, one at a time.
const Shards = 2 * 256

// shard returns the directory of a shard.
func shard(i int) (sub, dir string) {
	if i >= 256 {
		return segmentDir, hex.EncodeToString([]byte{byte(i - 256)})
	}
	return recordDir, hex.EncodeToString([]byte{byte(i)})
}

// MendShard looks for files of shard i, from 0 to Shards-1, that the index
// doesn't name. What is whole and isn't kept otherwise is made known to the
// index; what is damaged or kept in another file is removed. It may be called
// while the store is in use, by one goroutine.
func (s *Store) MendShard(i int) (adopted, removed int, err error) {
	sub, dir := shard(i)
	names, err := listDir(filepath.Join(s.dir, sub, dir))
	if err != nil {
		return 0, 0, ioError(err, "looking through the store")
	}
	for _, name := range names {
		var outcome mending
		var err error
		if sub == segmentDir {
			outcome, err = s.mendSegment(name)
		} else {
			outcome, err = s.mendRecord(name)
		}
		if err != nil {
			return adopted, removed, err
		}
		switch outcome {
		case adoptedFile:
			s.log.Info("a file that the index had forgotten is known again", "file", name)
			adopted++
		case uselessFile:
			s.log.Info("a file that nobody needs is removed", "file", name)
			s.removeFile(sub, name)
			removed++
		}
	}
	return adopted, removed, nil
}

// listDir returns the names of a directory's files; none if there is no directory.
func listDir(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// A mending says what became, or has to become, of a file.
type mending int

const (
	knownFile   mending = iota // it is as it should be, or nobody can tell now
	adoptedFile                // the index names it now
	uselessFile                // it is to be removed
)

// mendSegment sees to one file. Its order matters. A put holds a name from
// before the file is there under it until the index names it, and a removal
// from before the index forgets it until the file is gone. So where nobody
// holds the name of a file that was there, its put has come to its end, and what
// the index says after that is true. A removal that begins in between is found
// out at the end.
func (s *Store) mendSegment(name string) (mending, error) {
	id, owner, ok := parseSegmentName(name)
	if !ok {
		return knownFile, nil // not ours, so not ours to remove
	}
	if s.held.has(name) {
		return knownFile, nil
	}
	file, err := s.segmentFile(id)
	if err != nil || file == name {
		return knownFile, err
	}
	if file != "" {
		return uselessFile, nil
	}
	frame, err := s.readFile(segmentDir, name, maxFrame, true)
	if errors.Is(err, os.ErrNotExist) {
		return knownFile, nil
	}
	if err != nil {
		return knownFile, ioError(err, "reading a segment")
	}
	if verifyFrame(id, frame) != nil {
		s.damaged.Add(1)
		return uselessFile, nil
	}
	added, err := s.adoptSegment(id, owner, name)
	if err != nil {
		return knownFile, err
	}
	if !added {
		file, err := s.segmentFile(id)
		if err != nil || file == name || file == "" {
			return knownFile, err
		}
		return uselessFile, nil
	}
	if s.held.has(name) || !s.exists(segmentDir, name) {
		return knownFile, s.dropSegment(id, name)
	}
	return adoptedFile, nil
}

// adoptSegment makes a segment's file known, under the claim of the owner in
// its name since the time that the file has.
func (s *Store) adoptSegment(id envelope.SegmentID, owner envelope.AgentID, name string) (added bool, err error) {
	info, err := os.Stat(s.shardPath(segmentDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, ioError(err, "reading a segment")
	}
	claim := Claim{owner, info.ModTime()}
	if now := time.Now(); claim.Arrived.After(now) {
		claim.Arrived = now
	}
	size := uint64(info.Size())
	newSegment, newClaim, err := s.indexSegment(id, segmentEntry{File: name, Size: size}, claim)
	if newClaim {
		s.usage.add(owner, size)
	}
	return newSegment, err
}

// segmentFile returns the file in which the index says that a segment is, or "".
func (s *Store) segmentFile(id envelope.SegmentID) (string, error) {
	var entry segmentEntry
	err := s.view(func(txn *badger.Txn) error { return getSegment(txn, id, &entry) })
	if envelope.KindOf(err) == envelope.NotFound {
		return "", nil
	}
	return entry.File, err
}

func (s *Store) exists(sub, name string) bool {
	_, err := os.Stat(s.shardPath(sub, name))
	return err == nil
}

// mendRecord is mendSegment for a record's file.
func (s *Store) mendRecord(name string) (mending, error) {
	if len(name) < 2*idSize+1 || name[2*idSize] != '.' {
		return knownFile, nil
	}
	data, err := s.readFile(recordDir, name, envelope.MaxSignedSize, false)
	if errors.Is(err, os.ErrNotExist) {
		return knownFile, nil
	}
	if err != nil {
		return knownFile, ioError(err, "reading a record")
	}
	r := parseRecordFile(name, data)
	if r == nil {
		// Whether the index names it can't be told; if so, whoever reads the
		// record drops it.
		return knownFile, nil
	}
	if s.held.has(name) {
		return knownFile, nil
	}
	file, err := s.recordFile(r)
	if err != nil || file == name {
		return knownFile, err
	}
	siblings, err := s.VersionsAt(r.Ref, r.Version.N)
	if err != nil {
		return knownFile, err
	}
	if file != "" || len(siblings) > 0 && !slices.Contains(siblings, r.Version) {
		return uselessFile, nil
	}
	entry := entryOf(r, data)
	entry.File = name
	added, err := s.indexRecord(r, entry, func(newest []envelope.Version) error { return mayAdopt(r, newest) })
	if errors.Is(err, errTaken) {
		return uselessFile, nil
	}
	if err != nil {
		return knownFile, err
	}
	if !added {
		file, err := s.recordFile(r)
		if err != nil || file == name || file == "" {
			return knownFile, err
		}
		return uselessFile, nil
	}
	if s.held.has(name) || !s.exists(recordDir, name) {
		return knownFile, s.DeleteRecord(r.Ref, r.Version)
	}
	return adoptedFile, nil
}

// errTaken says that a record's file is left over from a put that was refused.
var errTaken = errors.New("it doesn't follow from what is kept")

// mayAdopt decides whether a record that the index doesn't know is made known.
// The process may have ended while it refused this one, since it didn't follow
// from what is kept, and a refused put must not come to life. If it was a fork
// that was kept, the other replicas have it, and send it again.
func mayAdopt(r *envelope.Record, newest []envelope.Version) error {
	if len(newest) == 0 || r.Version.N < newest[0].N || r.Version.N > newest[0].N+1 { // as in a put: this replica may be behind
		return nil
	}
	if r.Document != nil && r.Document.IsRecovery() {
		return nil // its number is enough
	}
	for _, v := range newest {
		if r.Version.N == v.N+1 && r.Parent == v.Hash {
			return nil
		}
	}
	return errTaken
}

// parseRecordFile returns the record in a file of the given name, or nil if it
// isn't whole. Only one kind of record fits: their bodies differ in form.
func parseRecordFile(name string, data []byte) *envelope.Record {
	if recordSum(data).String() != name[:2*idSize] {
		return nil
	}
	for _, kind := range []envelope.RecordKind{envelope.KindDocument, envelope.KindEnvelope, envelope.KindBinding} {
		if r, err := envelope.ParseRecord(kind, data); err == nil {
			return r
		}
	}
	return nil
}

// recordFile returns the file in which the index says that a record is, or "".
func (s *Store) recordFile(r *envelope.Record) (string, error) {
	var entry recordEntry
	err := s.view(func(txn *badger.Txn) error { return getRecord(txn, r.Ref, r.Version, &entry) })
	if envelope.KindOf(err) == envelope.NotFound {
		return "", nil
	}
	return entry.File, err
}

// CheckRecord reads one version of a record as Record does, from the disk and
// not from memory if it is a file, and sees to it that the index leads to it:
// that the newest version is known, and its segments count as live. It returns
// the record's size in bytes.
func (s *Store) CheckRecord(ref envelope.Ref, v envelope.Version) (size int, err error) {
	data, err := s.record(ref, v, false, true)
	if err != nil {
		return 0, err
	}
	r, err := envelope.ParseRecord(ref.Kind, data)
	if err != nil {
		return len(data), err
	}
	whole := false
	err = s.view(func(txn *badger.Txn) error {
		whole, err = leadsTo(txn, r)
		return err
	})
	if err != nil || whole {
		return len(data), err
	}
	s.log.Warn("the index had lost the way to a record; mended", "owner", ref.Owner, "name", ref.Name, "version", v.N)
	return len(data), s.update(func(txn *badger.Txn) error {
		item, err := txn.Get(recordKey(ref, v))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil // dropped meanwhile
		}
		if err != nil {
			return err
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		newest, err := newestVersions(txn, ref)
		if err != nil && envelope.KindOf(err) != envelope.Corrupt {
			return err
		}
		return write(txn, r, value, newest)
	})
}

// leadsTo reports whether the keys n and k are as r's presence wants them.
func leadsTo(txn *badger.Txn, r *envelope.Record) (bool, error) {
	newest, err := newestVersions(txn, r.Ref)
	if envelope.KindOf(err) == envelope.Corrupt && err != nil {
		return false, nil
	}
	if err != nil || len(newest) == 0 || r.Version.Newer(newest[0]) {
		return false, err
	}
	if h := r.Header; h != nil && len(h.SegmentKey) == idSize {
		_, err := txn.Get(liveKey(r.Ref.Owner, h.SegmentKey, r.Version.Hash))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	return true, nil
}

// CheckIndex reads all of the index and returns an error if a part of it is
// damaged. What stood there isn't found any more: nothing false is.
func (s *Store) CheckIndex() (err error) {
	defer recovered(&err)
	return s.db.VerifyChecksum()
}

var cursorKey = []byte("cursor")

// SetCursor keeps up to 4 KiB for whoever goes through the store, until the
// next time it is opened and beyond.
func (s *Store) SetCursor(cursor []byte) error {
	return s.update(func(txn *badger.Txn) error { return txn.Set(cursorKey, bytes.Clone(cursor)) })
}

// Cursor returns what SetCursor kept last, or nil.
func (s *Store) Cursor() (cursor []byte, err error) {
	err = s.view(func(txn *badger.Txn) error {
		item, err := txn.Get(cursorKey)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		cursor, err = item.ValueCopy(nil)
		return err
	})
	return cursor, err
}
