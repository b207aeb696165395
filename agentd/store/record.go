package store

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// A recordEntry is what the index says of one version of a record. Either Data
// or File is set.
type recordEntry struct {
	Data []byte `cbor:"1,keyasint,omitempty"` // the record
	File string `cbor:"2,keyasint,omitempty"` // name of the file that holds it
	Size uint64 `cbor:"3,keyasint"`
	// Sum is the hash of the record with its signatures and attachments: its
	// version's hash covers the body alone.
	Sum envelope.Hash `cbor:"4,keyasint"`
	// Bare is the record without attachments, for those who don't need them;
	// only where it is small and Data isn't set.
	Bare []byte `cbor:"5,keyasint,omitempty"`
	// SegmentKey is that of an envelope's header; it has an index entry of its own.
	SegmentKey []byte `cbor:"6,keyasint,omitempty"`
}

func recordSum(data []byte) envelope.Hash { return envelope.HashOf("l2p store record v1\n", data) }

// PutRecord keeps r, which the caller has verified, and returns when it is on
// disk. accept is told the newest versions that are kept of r's ref, the winner
// first: more than one if there is a fork, none if there is nothing. If it
// returns an error nothing is written and PutRecord returns that error.
// Nothing can change between the answer and the write. accept may be called
// more than once, and isn't called if the same version is kept already; then
// added is false.
func (s *Store) PutRecord(r *envelope.Record, accept func(newest []envelope.Version) error) (added bool, err error) {
	if err := checkRef(r.Ref); err != nil {
		return false, err
	}
	if err := s.checkRoom(); err != nil {
		return false, err
	}
	data := r.Signed.Encode()
	entry := entryOf(r, data)
	if len(data) > inlineLimit {
		// Ask before writing the file as well: a conflict should cost nothing.
		err := s.view(func(txn *badger.Txn) error {
			known, newest, err := look(txn, r)
			if err != nil {
				return err
			}
			if known {
				return errKnown
			}
			return accept(newest)
		})
		if errors.Is(err, errKnown) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		s.held.hold(entry.File)
		defer s.held.release(entry.File)
		if err := s.writeShard(recordDir, entry.File, data, time.Time{}); err != nil {
			return false, err
		}
		defer func() {
			if !added {
				s.removeFile(recordDir, entry.File)
			}
		}()
	}
	return s.indexRecord(r, entry, accept)
}

// entryOf returns the index entry of r, whose encoding is data. If r is too
// large for the index, File is a name that was never used.
func entryOf(r *envelope.Record, data []byte) *recordEntry {
	entry := &recordEntry{Size: uint64(len(data)), Sum: recordSum(data)}
	if h := r.Header; h != nil && len(h.SegmentKey) == idSize {
		entry.SegmentKey = h.SegmentKey
	}
	if len(data) <= inlineLimit {
		entry.Data = data
		return entry
	}
	if bare := withoutAttachments(r.Signed); len(bare) <= inlineLimit {
		entry.Bare = bare
	}
	entry.File = newName(entry.Sum.String())
	return entry
}

// indexRecord makes r known, if accept agrees and the same version isn't kept yet.
func (s *Store) indexRecord(r *envelope.Record, entry *recordEntry, accept func(newest []envelope.Version) error) (added bool, err error) {
	value, err := envelope.Encode(entry)
	if err != nil {
		return false, err
	}
	err = s.update(func(txn *badger.Txn) error {
		known, newest, err := look(txn, r)
		if err != nil {
			return err
		}
		if known {
			return errKnown
		}
		if err := accept(newest); err != nil {
			return err
		}
		return write(txn, r, value, newest)
	})
	if errors.Is(err, errKnown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.records.Add(1)
	return true, nil
}

// errKnown ends a transaction that has nothing to do.
var errKnown = errors.New("kept already")

// look returns whether r is kept, and the newest versions of its ref. It reads
// the key of the newest version, which every write of the ref writes, so that
// Badger notices two writers of one ref.
func look(txn *badger.Txn, r *envelope.Record) (known bool, newest []envelope.Version, err error) {
	_, err = txn.Get(recordKey(r.Ref, r.Version))
	if err == nil {
		return true, nil, nil
	}
	if !errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil, err
	}
	newest, err = newestVersions(txn, r.Ref)
	return false, newest, err
}

// write adds r, with value as its entry, to the index.
func write(txn *badger.Txn, r *envelope.Record, value []byte, newest []envelope.Version) error {
	if err := txn.Set(recordKey(r.Ref, r.Version), value); err != nil {
		return err
	}
	if h := r.Header; h != nil && len(h.SegmentKey) == idSize {
		if err := txn.Set(liveKey(r.Ref.Owner, h.SegmentKey, r.Version.Hash), nil); err != nil {
			return err
		}
	}
	head, isNewest := r.Version, true
	if len(newest) > 0 && !r.Version.Newer(newest[0]) {
		head, isNewest = newest[0], false
	}
	if err := txn.Set(newestKey(r.Ref), appendVersion(nil, head)); err != nil {
		return err
	}
	if d := r.Document; d != nil && d.Group != nil && isNewest {
		// Those who were members before keep their entry: whoever reads it
		// looks into the newest document anyway.
		for _, m := range d.Group.Members {
			key := memberKey(m.ID, r.Ref.Owner)
			if _, err := txn.Get(key); err == nil {
				continue
			} else if !errors.Is(err, badger.ErrKeyNotFound) {
				return err
			}
			if err := txn.Set(key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// newestVersions returns the versions of a ref with the highest number, the
// winner first.
func newestVersions(txn *badger.Txn, ref envelope.Ref) ([]envelope.Version, error) {
	item, err := txn.Get(newestKey(ref))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, err := versionOf(item)
	if err != nil {
		return nil, err
	}
	return versionsAt(txn, ref, head.N), nil
}

func versionOf(item *badger.Item) (v envelope.Version, err error) {
	err = item.Value(func(b []byte) error {
		if v = parseVersion(b); v.N == 0 {
			return envelope.Errorf(envelope.Corrupt, "the index has a malformed version")
		}
		return nil
	})
	return v, err
}

// versionsAt returns the versions of a ref with number n, the winner first.
func versionsAt(txn *badger.Txn, ref envelope.Ref, n uint64) []envelope.Version {
	var versions []envelope.Version
	for key := range keys(txn, numberKey(ref, n), nil) {
		if _, v, ok := parseRecordKey(key); ok {
			versions = append(versions, v)
		}
	}
	return versions
}

// Newest returns the newest versions that are kept of a ref, the winner first:
// more than one if there is a fork, none if there is nothing.
func (s *Store) Newest(ref envelope.Ref) (versions []envelope.Version, err error) {
	if err := checkRef(ref); err != nil {
		return nil, err
	}
	err = s.view(func(txn *badger.Txn) error {
		versions, err = newestVersions(txn, ref)
		return err
	})
	return versions, err
}

// VersionsAt returns the versions of a ref that have number n, the winner first.
func (s *Store) VersionsAt(ref envelope.Ref, n uint64) (versions []envelope.Version, err error) {
	if err := checkRef(ref); err != nil {
		return nil, err
	}
	err = s.view(func(txn *badger.Txn) error {
		versions = versionsAt(txn, ref, n)
		return nil
	})
	return versions, err
}

// HasRecord reports whether a version is kept.
func (s *Store) HasRecord(ref envelope.Ref, v envelope.Version) (has bool, err error) {
	if err := checkRef(ref); err != nil {
		return false, err
	}
	err = s.view(func(txn *badger.Txn) error {
		_, err := txn.Get(recordKey(ref, v))
		has = err == nil
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		return err
	})
	return has, err
}

// Record returns one version of a record as it was put; with bare set, without
// attachments. An error of kind NotFound says that it isn't kept, one of kind
// Corrupt that what was kept is damaged and has been dropped.
func (s *Store) Record(ref envelope.Ref, v envelope.Version, bare bool) ([]byte, error) {
	return s.record(ref, v, bare, false)
}

func (s *Store) record(ref envelope.Ref, v envelope.Version, bare, cold bool) ([]byte, error) {
	if err := checkRef(ref); err != nil {
		return nil, err
	}
	var entry recordEntry
	err := s.view(func(txn *badger.Txn) error { return getRecord(txn, ref, v, &entry) })
	if err != nil {
		return nil, err
	}
	if bare && len(entry.Bare) > 0 {
		return entry.Bare, nil
	}
	data := entry.Data
	if entry.File != "" {
		if data, err = s.readFile(recordDir, entry.File, envelope.MaxSignedSize, cold); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, ioError(err, "reading a record")
		}
	}
	if uint64(len(data)) != entry.Size || recordSum(data) != entry.Sum {
		s.damaged.Add(1)
		s.log.Error("a record is damaged on disk; dropped, to be fetched again",
			"owner", ref.Owner, "name", ref.Name, "version", v.N, "file", entry.File)
		return nil, errors.Join(
			envelope.Errorf(envelope.Corrupt, "version %d (%s) is damaged on this node's disk", v.N, v.Hash.Short()),
			s.DeleteRecord(ref, v))
	}
	if !bare {
		return data, nil
	}
	signed, err := envelope.ParseSigned(data, envelope.MaxSignedSize)
	if err != nil {
		return nil, err
	}
	return withoutAttachments(signed), nil
}

func getRecord(txn *badger.Txn, ref envelope.Ref, v envelope.Version, entry *recordEntry) error {
	item, err := txn.Get(recordKey(ref, v))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return envelope.Errorf(envelope.NotFound, "version %d (%s) is not kept here", v.N, v.Hash.Short())
	}
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) error { return envelope.Decode(b, valueThreshold, entry) })
}

// withoutAttachments returns the encoding of s without its attachments.
func withoutAttachments(s *envelope.Signed) []byte {
	bare := *s
	bare.Attachments = nil
	return bare.Encode()
}

// DeleteRecord drops one version. It is no error if it isn't kept.
func (s *Store) DeleteRecord(ref envelope.Ref, v envelope.Version) error {
	if err := checkRef(ref); err != nil {
		return err
	}
	var entry recordEntry
	var held string
	defer func() { s.held.release(held) }()
	err := s.update(func(txn *badger.Txn) error {
		entry = recordEntry{}
		if err := getRecord(txn, ref, v, &entry); err != nil {
			return err
		}
		s.held.release(held)
		held = entry.File
		s.held.hold(held)
		newest, err := newestVersions(txn, ref) // for its reading of the newest key
		if err != nil {
			return err
		}
		if err := txn.Delete(recordKey(ref, v)); err != nil {
			return err
		}
		if entry.SegmentKey != nil {
			if err := txn.Delete(liveKey(ref.Owner, entry.SegmentKey, v.Hash)); err != nil {
				return err
			}
		}
		return rewriteNewest(txn, ref, v, newest)
	})
	if envelope.KindOf(err) == envelope.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	s.records.Add(-1)
	if entry.File != "" {
		s.removeFile(recordDir, entry.File)
	}
	return nil
}

// rewriteNewest writes which version is the newest when gone isn't any more.
func rewriteNewest(txn *badger.Txn, ref envelope.Ref, gone envelope.Version, newest []envelope.Version) error {
	left := slices.DeleteFunc(newest, func(v envelope.Version) bool { return v == gone })
	if len(left) == 0 {
		if n := highestNumber(txn, ref); n > 0 {
			left = versionsAt(txn, ref, n)
		}
	}
	if len(left) == 0 {
		return txn.Delete(newestKey(ref))
	}
	return txn.Set(newestKey(ref), appendVersion(nil, left[0]))
}

// highestNumber returns the highest number among the versions of a ref, or 0.
func highestNumber(txn *badger.Txn, ref envelope.Ref) uint64 {
	chain := chainKey(ref)
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues, opts.Reverse, opts.Prefix = false, true, chain
	it := txn.NewIterator(opts)
	defer it.Close()
	it.Seek(append(bytes.Clone(chain), bytes.Repeat([]byte{0xff}, versionSize)...))
	if !it.Valid() {
		return 0
	}
	_, v, _ := parseRecordKey(it.Item().Key())
	return v.N
}
