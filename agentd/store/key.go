package store

import (
	"bytes"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4/options"

	"l2p/envelope"
)

// Settings of the index that have to fit each other: a value must be smaller
// than valueThreshold to stay out of the value log, and a transaction holds 15 %
// of memTableSize, which must do for the index entries of a group of 10,000.
const (
	inlineLimit    = 32 << 10
	valueThreshold = 64 << 10
	memTableSize   = 8 << 20

	checksumOnRead = options.OnBlockRead // checkIndex has read all of the tables
	noCompression  = options.None
)

// The index is one ordered map. What a key begins with says what it is:
//
//	r kind owner name 00 number hash   -> recordEntry    one version of a record
//	n kind owner name                  -> number hash    the newest version of a ref
//	k owner segment-key record-hash    -> nothing        the segment key of a header that is kept
//	m member group                     -> nothing        the group lists, or once listed, the member
//	s segment-key index 00             -> segmentEntry   a segment
//	s segment-key index 01 owner       -> arrival        under whose records the segment's header is found
//	cursor                             -> anything       what SetCursor was given
//
// Kinds take one byte, ids and hashes 32, numbers and indices 8, big-endian.
// A name has no byte 00, so that names sort before what follows them.
const (
	tagRecord  = 'r'
	tagNewest  = 'n'
	tagLive    = 'k'
	tagMember  = 'm'
	tagSegment = 's'

	subMeta  = 0
	subClaim = 1
)

const (
	idSize      = envelope.HashSize
	numberSize  = 8
	versionSize = numberSize + idSize
	ownerPrefix = 1 + 1 + idSize                // of the keys r and n: tag, kind, owner
	segmentBase = 1 + idSize + numberSize       // of the keys s: tag, segment key, index
	maxName     = 255                           // bytes, as docs/envelope.md has it
	maxKind     = envelope.RecordKind(1<<8 - 1) // a kind takes one byte
)

func ownerKey(tag byte, kind envelope.RecordKind, owner envelope.AgentID) []byte {
	k := make([]byte, 0, ownerPrefix+maxName+1+versionSize)
	k = append(k, tag, byte(kind))
	return append(k, owner[:]...)
}

func newestKey(ref envelope.Ref) []byte {
	return append(ownerKey(tagNewest, ref.Kind, ref.Owner), ref.Name...)
}

// chainKey is the prefix of all versions of a ref.
func chainKey(ref envelope.Ref) []byte {
	return append(append(ownerKey(tagRecord, ref.Kind, ref.Owner), ref.Name...), 0)
}

// numberKey is the prefix of all versions of a ref that have number n.
func numberKey(ref envelope.Ref, n uint64) []byte {
	return binary.BigEndian.AppendUint64(chainKey(ref), n)
}

func recordKey(ref envelope.Ref, v envelope.Version) []byte {
	return append(numberKey(ref, v.N), v.Hash[:]...)
}

// parseRecordKey is the reverse of recordKey.
func parseRecordKey(k []byte) (ref envelope.Ref, v envelope.Version, ok bool) {
	end := len(k) - versionSize - 1
	if end < ownerPrefix || k[0] != tagRecord || k[end] != 0 {
		return ref, v, false
	}
	ref.Kind = envelope.RecordKind(k[1])
	copy(ref.Owner[:], k[2:])
	ref.Name = string(k[ownerPrefix:end])
	return ref, parseVersion(k[end+1:]), true
}

func appendVersion(b []byte, v envelope.Version) []byte {
	return append(binary.BigEndian.AppendUint64(b, v.N), v.Hash[:]...)
}

func parseVersion(b []byte) (v envelope.Version) {
	if len(b) != versionSize {
		return v
	}
	v.N = binary.BigEndian.Uint64(b)
	copy(v.Hash[:], b[numberSize:])
	return v
}

func livePrefix(owner envelope.AgentID) []byte {
	return append([]byte{tagLive}, owner[:]...)
}

func liveKey(owner envelope.AgentID, segmentKey []byte, record envelope.Hash) []byte {
	return append(append(livePrefix(owner), segmentKey...), record[:]...)
}

func memberPrefix(member envelope.AgentID) []byte {
	return append([]byte{tagMember}, member[:]...)
}

func memberKey(member, group envelope.AgentID) []byte {
	return append(memberPrefix(member), group[:]...)
}

// segmentKey is the key of a segment's entry; without its last byte it is the
// prefix of everything about the segment.
func segmentKey(id envelope.SegmentID) []byte {
	k := append([]byte{tagSegment}, id.Key[:]...)
	return append(binary.BigEndian.AppendUint64(k, id.Index), subMeta)
}

func claimPrefix(id envelope.SegmentID) []byte {
	k := segmentKey(id)
	k[len(k)-1] = subClaim
	return k
}

func claimKey(id envelope.SegmentID, owner envelope.AgentID) []byte {
	return append(claimPrefix(id), owner[:]...)
}

func parseSegmentKey(k []byte) (id envelope.SegmentID, sub byte, rest []byte, ok bool) {
	if len(k) <= segmentBase || k[0] != tagSegment {
		return id, 0, nil, false
	}
	copy(id.Key[:], k[1:])
	id.Index = binary.BigEndian.Uint64(k[1+idSize:])
	return id, k[segmentBase], k[segmentBase+1:], true
}

// checkRef refuses a ref that has no key. A record that was parsed has none of
// these faults; a ref from the network may.
func checkRef(ref envelope.Ref) error {
	if ref.Kind == 0 || ref.Kind > maxKind || len(ref.Name) > maxName || bytes.IndexByte([]byte(ref.Name), 0) >= 0 {
		return envelope.Errorf(envelope.Usage, "there is no such place as kind %d, name of %d bytes", ref.Kind, len(ref.Name))
	}
	return nil
}
