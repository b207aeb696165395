package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// maxFrame is the size of the largest segment's frame: length, signature, data.
const maxFrame = 4 + envelope.SegmentSignatureSize + envelope.MaxSegmentSize

// maxClaims is how many owners may say that one segment belongs to an envelope
// of theirs. More than one is rare, and only a bound matters.
const maxClaims = 64

// A segmentEntry is what the index says of a segment.
type segmentEntry struct {
	File string `cbor:"1,keyasint"` // name of the file that holds its frame
	Size uint64 `cbor:"2,keyasint"` // of the frame, bytes
}

// A Claim says under whose records a segment's header is to be found.
type Claim struct {
	Owner   envelope.AgentID
	Arrived time.Time // by this node's clock
}

// A SegmentInfo says what is known of a segment that is kept.
type SegmentInfo struct {
	ID     envelope.SegmentID
	Size   uint64 // of the frame, bytes
	Claims []Claim
}

// PutSegment keeps a segment's frame under the claim of owner, which is as old
// as age says, and returns when both are on disk. It returns an error of kind Corrupt if the frame doesn't
// prove itself. added is false if both were kept already.
func (s *Store) PutSegment(id envelope.SegmentID, owner envelope.AgentID, frame []byte, age time.Duration) (added bool, err error) {
	if err := verifyFrame(id, frame); err != nil {
		return false, err
	}
	if err := s.checkRoom(); err != nil {
		return false, err
	}
	kept, err := s.hasSegment(id)
	if err != nil {
		return false, err
	}
	entry := segmentEntry{Size: uint64(len(frame))}
	fileUsed := false
	if !kept {
		entry.File = newName(fmt.Sprintf("%s.%d", hex.EncodeToString(id.Key[:]), id.Index))
		if err := s.writeShard(segmentDir, entry.File, frame); err != nil {
			return false, err
		}
		defer func() {
			if !fileUsed {
				s.removeFile(segmentDir, entry.File)
			}
		}()
	}
	value, err := envelope.Encode(&entry)
	if err != nil {
		return false, err
	}
	var newSegment, newClaim bool
	err = s.update(func(txn *badger.Txn) error {
		newSegment, newClaim = false, false
		_, err := txn.Get(segmentKey(id))
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		if err != nil {
			if entry.File == "" {
				return envelope.Errorf(envelope.Unavailable, "the segment was dropped at this moment")
			}
			newSegment = true
			if err := txn.Set(segmentKey(id), value); err != nil {
				return err
			}
		}
		_, err = txn.Get(claimKey(id, owner))
		if err == nil {
			return nil
		}
		if !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		n := 0
		for range keys(txn, claimPrefix(id), nil) {
			n++
		}
		if n >= maxClaims {
			return envelope.Errorf(envelope.Full, "%d owners claim this segment already", n)
		}
		newClaim = true
		arrived := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(-age).UnixMilli()))
		return txn.Set(claimKey(id, owner), arrived)
	})
	if err != nil {
		return false, err
	}
	if newSegment {
		fileUsed = true
		s.segments.Add(1)
		s.bytes.Add(int64(len(frame)))
	}
	return newSegment || newClaim, nil
}

func verifyFrame(id envelope.SegmentID, frame []byte) error {
	segment, err := envelope.ParseSegment(id, frame)
	if err != nil {
		return err
	}
	return segment.Verify()
}

func (s *Store) hasSegment(id envelope.SegmentID) (bool, error) {
	has, err := s.HasSegments([]envelope.SegmentID{id})
	return err == nil && has[0], err
}

// HasSegments says which segments are kept, in the order of ids.
func (s *Store) HasSegments(ids []envelope.SegmentID) ([]bool, error) {
	has := make([]bool, len(ids))
	err := s.view(func(txn *badger.Txn) error {
		for i, id := range ids {
			_, err := txn.Get(segmentKey(id))
			if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
				return err
			}
			has[i] = err == nil
		}
		return nil
	})
	return has, err
}

// Segment returns a segment's frame, which has proved itself. An error of kind
// NotFound says that it isn't kept, one of kind Corrupt that what was kept is
// damaged and has been dropped.
func (s *Store) Segment(id envelope.SegmentID) ([]byte, error) {
	var entry segmentEntry
	err := s.view(func(txn *badger.Txn) error { return getSegment(txn, id, &entry) })
	if err != nil {
		return nil, err
	}
	frame, err := s.readFile(segmentDir, entry.File, maxFrame)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, ioError(err, "reading a segment")
	}
	if err == nil {
		err = verifyFrame(id, frame)
	}
	if err != nil {
		s.log.Error("a segment is damaged on disk; dropped, to be fetched again", "file", entry.File, "err", err)
		return nil, errors.Join(envelope.Errorf(envelope.Corrupt, "segment %d is damaged on this node's disk", id.Index),
			s.dropSegment(id, entry.File))
	}
	return frame, nil
}

func getSegment(txn *badger.Txn, id envelope.SegmentID, entry *segmentEntry) error {
	item, err := txn.Get(segmentKey(id))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return envelope.Errorf(envelope.NotFound, "segment %d of this envelope is not kept here", id.Index)
	}
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) error { return envelope.Decode(b, valueThreshold, entry) })
}

// DeleteSegment drops a segment with all claims. It is no error if it isn't kept.
func (s *Store) DeleteSegment(id envelope.SegmentID) error { return s.dropSegment(id, "") }

// dropSegment is DeleteSegment; with file set, only as long as the segment is
// in that file: whoever found it damaged must not drop the copy that came since.
func (s *Store) dropSegment(id envelope.SegmentID, file string) error {
	var entry segmentEntry
	err := s.update(func(txn *badger.Txn) error {
		entry = segmentEntry{}
		if err := getSegment(txn, id, &entry); err != nil {
			return err
		}
		if file != "" && entry.File != file {
			return errKnown
		}
		gone := [][]byte{segmentKey(id)}
		for key := range keys(txn, claimPrefix(id), nil) {
			gone = append(gone, append([]byte(nil), key...))
		}
		for _, key := range gone {
			if err := txn.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errKnown) || envelope.KindOf(err) == envelope.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	s.segments.Add(-1)
	s.bytes.Add(-int64(entry.Size))
	s.removeFile(segmentDir, entry.File)
	return nil
}

// Claims returns the claims to a segment; none if it isn't kept.
func (s *Store) Claims(id envelope.SegmentID) ([]Claim, error) {
	page, err := s.segmentsFrom(segmentKey(id), 1)
	if err != nil || len(page) == 0 || page[0].ID != id {
		return nil, err
	}
	return page[0].Claims, nil
}

// DeleteClaim drops an owner's claim to a segment. Without claims the segment
// stays until DeleteSegment.
func (s *Store) DeleteClaim(id envelope.SegmentID, owner envelope.AgentID) error {
	return s.update(func(txn *badger.Txn) error { return txn.Delete(claimKey(id, owner)) })
}

// Segments returns up to limit of the segments kept, in the order of key and
// index, beginning behind after (nil: with the first). Fewer come back only at
// the end.
func (s *Store) Segments(after *envelope.SegmentID, limit int) ([]SegmentInfo, error) {
	start := []byte{tagSegment}
	if after != nil {
		start = append(claimPrefix(*after)[:segmentBase], 0xff)
	}
	return s.segmentsFrom(start, limit)
}

// segmentsFrom returns up to limit segments from the key start on.
func (s *Store) segmentsFrom(start []byte, limit int) (page []SegmentInfo, err error) {
	err = s.view(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions // values are small and wanted
		opts.Prefix = []byte{tagSegment}
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Seek(start); it.Valid(); it.Next() {
			id, sub, owner, ok := parseSegmentKey(it.Item().Key())
			switch {
			case !ok:
			case sub == subMeta:
				if len(page) == limit {
					return nil
				}
				var entry segmentEntry
				if err := it.Item().Value(func(b []byte) error { return envelope.Decode(b, valueThreshold, &entry) }); err != nil {
					return err
				}
				page = append(page, SegmentInfo{ID: id, Size: entry.Size})
			case sub == subClaim && len(owner) == idSize && len(page) > 0 && page[len(page)-1].ID == id:
				claim := Claim{Owner: envelope.AgentID(owner)}
				if err := it.Item().Value(func(b []byte) error {
					if len(b) == numberSize {
						claim.Arrived = time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
					}
					return nil
				}); err != nil {
					return err
				}
				last := &page[len(page)-1]
				last.Claims = append(last.Claims, claim)
			}
		}
		return nil
	})
	return page, err
}

// count counts what is kept.
func (s *Store) count() error {
	return s.view(func(txn *badger.Txn) error {
		for range keys(txn, []byte{tagRecord}, nil) {
			s.records.Add(1)
		}
		opts := badger.DefaultIteratorOptions
		opts.Prefix = []byte{tagSegment}
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			_, sub, _, ok := parseSegmentKey(it.Item().Key())
			if !ok || sub != subMeta {
				continue
			}
			var entry segmentEntry
			if err := it.Item().Value(func(b []byte) error { return envelope.Decode(b, valueThreshold, &entry) }); err != nil {
				return err
			}
			s.segments.Add(1)
			s.bytes.Add(int64(entry.Size))
		}
		return nil
	})
}

func (s *Store) readFile(sub, name string, limit int) ([]byte, error) {
	if len(name) < 2 {
		return nil, os.ErrNotExist
	}
	return readLimited(s.shardPath(sub, name), limit)
}

// removeFile removes a file that the index doesn't name (any more). It isn't
// needed for correctness, so a failure is only logged.
func (s *Store) removeFile(sub, name string) {
	if err := os.Remove(s.shardPath(sub, name)); err != nil {
		s.log.Warn("cannot remove a file of the store", "err", err)
	}
}
