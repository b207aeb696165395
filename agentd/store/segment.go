package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// segmentName returns a name for a segment's file that was never used. It says
// which segment it is and under whose records it came, and the file's time says
// when, so that the index can be made anew without it.
func segmentName(id envelope.SegmentID, owner envelope.AgentID) string {
	return newName(fmt.Sprintf("%s.%d.%s", hex.EncodeToString(id.Key[:]), id.Index, hex.EncodeToString(owner[:])))
}

// parseSegmentName is the reverse of segmentName.
func parseSegmentName(name string) (id envelope.SegmentID, owner envelope.AgentID, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return id, owner, false
	}
	index, err := strconv.ParseUint(parts[1], 10, 64)
	key, keyErr := hex.DecodeString(parts[0])
	agent, agentErr := hex.DecodeString(parts[2])
	if errors.Join(err, keyErr, agentErr) != nil || len(key) != idSize || len(agent) != idSize {
		return id, owner, false
	}
	id.Index = index
	copy(id.Key[:], key)
	copy(owner[:], agent)
	return id, owner, true
}

// PutSegment keeps a segment's frame under the claim of owner, which is as old
// as age says, and returns when both are on disk. An age of 0 says that it is
// put just now, and then the owner's quota counts. PutSegment returns an error
// of kind Corrupt if the frame doesn't prove itself, of kind Full if the disk
// or the quota is. added is false if both were kept already.
func (s *Store) PutSegment(id envelope.SegmentID, owner envelope.AgentID, frame []byte, age time.Duration) (added bool, err error) {
	if err := verifyFrame(id, frame); err != nil {
		return false, err
	}
	if err := s.checkRoom(); err != nil {
		return false, err
	}
	kept, claimed, err := s.hasClaim(id, owner)
	if err != nil || claimed {
		return false, err
	}
	size := uint64(len(frame))
	quota := s.quota
	if age != 0 {
		quota = 0
	}
	if err := s.usage.reserve(owner, size, quota); err != nil {
		return false, err
	}
	entry := segmentEntry{Size: size}
	arrived, modified := time.Now().Add(-age), time.Time{}
	if age != 0 {
		modified = arrived
	}
	var newSegment, newClaim bool
	defer func() {
		if !newClaim {
			s.usage.free(owner, size)
		}
	}()
	if !kept {
		entry.File = segmentName(id, owner)
		s.held.hold(entry.File)
		defer s.held.release(entry.File)
		if err := s.writeShard(segmentDir, entry.File, frame, modified); err != nil {
			return false, err
		}
		defer func() {
			if !newSegment {
				s.removeFile(segmentDir, entry.File)
			}
		}()
	}
	newSegment, newClaim, err = s.indexSegment(id, entry, Claim{owner, arrived})
	return newSegment || newClaim, err
}

// indexSegment makes a segment and a claim to it known, as far as they aren't.
// An entry without a file adds a claim only.
func (s *Store) indexSegment(id envelope.SegmentID, entry segmentEntry, claim Claim) (newSegment, newClaim bool, err error) {
	value, err := envelope.Encode(&entry)
	if err != nil {
		return false, false, err
	}
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
		_, err = txn.Get(claimKey(id, claim.Owner))
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
		return txn.Set(claimKey(id, claim.Owner), binary.BigEndian.AppendUint64(nil, uint64(claim.Arrived.UnixMilli())))
	})
	if err != nil {
		return false, false, err
	}
	if newSegment {
		s.segments.Add(1)
		s.bytes.Add(int64(entry.Size))
	}
	return newSegment, newClaim, nil
}

func verifyFrame(id envelope.SegmentID, frame []byte) error {
	segment, err := envelope.ParseSegment(id, frame)
	if err != nil {
		return err
	}
	return segment.Verify()
}

// hasClaim says whether a segment is kept, and whether under an owner's claim.
func (s *Store) hasClaim(id envelope.SegmentID, owner envelope.AgentID) (kept, claimed bool, err error) {
	err = s.view(func(txn *badger.Txn) error {
		for key, found := range map[string]*bool{string(segmentKey(id)): &kept, string(claimKey(id, owner)): &claimed} {
			_, err := txn.Get([]byte(key))
			if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
				return err
			}
			*found = err == nil
		}
		return nil
	})
	return kept, kept && claimed, err
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
func (s *Store) Segment(id envelope.SegmentID) ([]byte, error) { return s.segment(id, false) }

// CheckSegment is Segment for those who want to know whether the segment is
// whole: it is read from the disk, not from memory.
func (s *Store) CheckSegment(id envelope.SegmentID) error {
	_, err := s.segment(id, true)
	return err
}

func (s *Store) segment(id envelope.SegmentID, cold bool) ([]byte, error) {
	var entry segmentEntry
	err := s.view(func(txn *badger.Txn) error { return getSegment(txn, id, &entry) })
	if err != nil {
		return nil, err
	}
	frame, err := s.readFile(segmentDir, entry.File, maxFrame, cold)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, ioError(err, "reading a segment")
	}
	if err == nil {
		err = verifyFrame(id, frame)
	}
	if err != nil {
		s.damaged.Add(1)
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
	var owners []envelope.AgentID
	var held string
	defer func() { s.held.release(held) }()
	err := s.update(func(txn *badger.Txn) error {
		entry, owners = segmentEntry{}, nil
		if err := getSegment(txn, id, &entry); err != nil {
			return err
		}
		if file != "" && entry.File != file {
			return errKnown
		}
		s.held.release(held)
		held = entry.File
		s.held.hold(held)
		if err := txn.Delete(segmentKey(id)); err != nil {
			return err
		}
		for key := range keys(txn, claimPrefix(id), nil) {
			if _, _, owner, ok := parseSegmentKey(key); ok && len(owner) == idSize {
				owners = append(owners, envelope.AgentID(owner))
			}
		}
		for _, owner := range owners {
			if err := txn.Delete(claimKey(id, owner)); err != nil {
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
	for _, owner := range owners {
		s.usage.free(owner, entry.Size)
	}
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
	var entry segmentEntry
	err := s.update(func(txn *badger.Txn) error {
		entry = segmentEntry{}
		if err := getSegment(txn, id, &entry); err != nil {
			return err
		}
		if _, err := txn.Get(claimKey(id, owner)); err != nil {
			if errors.Is(err, badger.ErrKeyNotFound) {
				return errKnown
			}
			return err
		}
		return txn.Delete(claimKey(id, owner))
	})
	if errors.Is(err, errKnown) || envelope.KindOf(err) == envelope.NotFound {
		return nil
	}
	if err == nil {
		s.usage.free(owner, entry.Size)
	}
	return err
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
		var entry segmentEntry // of the claims behind it
		for it.Rewind(); it.Valid(); it.Next() {
			_, sub, owner, ok := parseSegmentKey(it.Item().Key())
			switch {
			case ok && sub == subMeta:
				entry = segmentEntry{}
				if err := it.Item().Value(func(b []byte) error { return envelope.Decode(b, valueThreshold, &entry) }); err != nil {
					return err
				}
				s.segments.Add(1)
				s.bytes.Add(int64(entry.Size))
			case ok && sub == subClaim && len(owner) == idSize:
				s.usage.add(envelope.AgentID(owner), entry.Size)
			}
		}
		return nil
	})
}

// readFile reads a file of the store; cold: from the disk, though it may be in
// memory, where it isn't left.
func (s *Store) readFile(sub, name string, limit int, cold bool) ([]byte, error) {
	if len(name) < 2 {
		return nil, os.ErrNotExist
	}
	if cold {
		forget(s.shardPath(sub, name))
		defer forget(s.shardPath(sub, name))
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
