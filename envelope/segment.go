package envelope

import (
	"crypto/ed25519"
	"encoding/binary"
	"io"

	"l2p/envelope/internal/blake3"
)

// Sizes of the payload. An age chunk is 64 KiB of plaintext and a 16-byte tag;
// a segment is 16 chunks. A public envelope has no tags.
const (
	ChunkSize            = 64 << 10
	ChunksPerSegment     = 16
	SegmentPlainSize     = ChunksPerSegment * ChunkSize        // 1 MiB of plaintext
	MaxSegmentSize       = ChunksPerSegment * (ChunkSize + 16) // 1,048,832 bytes of age payload
	SegmentSignatureSize = 64
	// SegmentFrameHeader is the length of what stands before a segment's data
	// in its frame: final flag and length, signature.
	SegmentFrameHeader = 4 + SegmentSignatureSize
	// MaxSegments bounds the index of a segment: 2^40 of them hold 1 EiB.
	MaxSegments = 1 << 40

	finalBit = 1 << 31
)

// A SegmentID names one segment of an envelope's payload, wherever it is kept.
// It says by which key the segment proves itself.
type SegmentID struct {
	Key   [32]byte `cbor:"1,keyasint"` // the header's SegmentKey
	Index uint64   `cbor:"2,keyasint"` // counted from 0
}

// A Segment is a run of payload that proves itself: Signature is the segment
// key's over (index, final, BLAKE3 of Data). Its wire and file form is
// [Segment.AppendFrame].
type Segment struct {
	ID        SegmentID
	Final     bool
	Signature [SegmentSignatureSize]byte
	Data      []byte // at most MaxSegmentSize bytes of age payload, or SegmentPlainSize of a public envelope's
}

// AppendFrame appends the wire and file form of s to dst: final flag and
// length, signature, data.
func (s *Segment) AppendFrame(dst []byte) []byte {
	dst = s.appendFrameHeader(dst)
	return append(dst, s.Data...)
}

func (s *Segment) appendFrameHeader(dst []byte) []byte {
	length := uint32(len(s.Data))
	if s.Final {
		length |= finalBit
	}
	dst = binary.BigEndian.AppendUint32(dst, length)
	return append(dst, s.Signature[:]...)
}

// parseFrameHeader reads what stands before the data of the segment id and
// returns the segment without its data, and the data's length, which is no
// more than MaxSegmentSize.
func parseFrameHeader(id SegmentID, head []byte) (Segment, int, error) {
	word := binary.BigEndian.Uint32(head)
	s := Segment{ID: id, Final: word&finalBit != 0, Signature: [SegmentSignatureSize]byte(head[4:SegmentFrameHeader])}
	n := int(word &^ finalBit)
	full := n == MaxSegmentSize || n == SegmentPlainSize
	empty := n == 0 && id.Index > 0
	if n > MaxSegmentSize || empty || !s.Final && !full || id.Index >= MaxSegments {
		return s, 0, Errorf(Corrupt, "segment %d can't have %d bytes", id.Index, n)
	}
	return s, n, nil
}

// ParseSegment decodes the frame of the segment id, which must be all of frame.
// It checks the form, not the signature: that is [Segment.Verify]. The
// segment's Data is part of frame. Errors are of kind Corrupt.
func ParseSegment(id SegmentID, frame []byte) (*Segment, error) {
	if len(frame) < SegmentFrameHeader {
		return nil, Errorf(Corrupt, "segment %d is truncated", id.Index)
	}
	s, n, err := parseFrameHeader(id, frame)
	if err != nil {
		return nil, err
	}
	if len(frame) != SegmentFrameHeader+n {
		return nil, Errorf(Corrupt, "the frame of segment %d has %d bytes, not %d", id.Index, len(frame), SegmentFrameHeader+n)
	}
	s.Data = frame[SegmentFrameHeader:]
	return &s, nil
}

// ReadSegment reads the frame of the segment id from r, and no byte more. It
// checks the form, not the signature: that is [Segment.Verify]. The segment's
// Data is part of buf if that is large enough; MaxSegmentSize always is.
// A frame that ends too early is an error of kind Corrupt.
func ReadSegment(r io.Reader, id SegmentID, buf []byte) (*Segment, error) {
	var head [SegmentFrameHeader]byte
	if err := readAll(r, head[:]); err != nil {
		return nil, err
	}
	s, n, err := parseFrameHeader(id, head[:])
	if err != nil {
		return nil, err
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	s.Data = buf[:n]
	if err := readAll(r, s.Data); err != nil {
		return nil, err
	}
	return &s, nil
}

// Verify checks that the segment key signed s as it is: index, final flag and
// data. Anybody can. Errors are of kind Corrupt.
func (s *Segment) Verify() error {
	if !VerifyBytes(s.ID.Key[:], DomainSegment, s.signedBody(), s.Signature[:]) {
		return Errorf(Corrupt, "segment %d is not what the author sealed", s.ID.Index)
	}
	return nil
}

// sign signs s with the segment key's private half.
func (s *Segment) sign(key ed25519.PrivateKey) {
	copy(s.Signature[:], SignBytes(key, DomainSegment, s.signedBody()))
}

// signedBody returns what the signature covers after the domain: index, final
// flag, hash of the data.
func (s *Segment) signedBody() []byte {
	body := make([]byte, 0, 8+1+HashSize)
	body = binary.BigEndian.AppendUint64(body, s.ID.Index)
	if s.Final {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	hash := blake3.Sum(s.Data)
	return append(body, hash[:]...)
}

// readAll fills buf from r. An early end is an error of kind Corrupt; other
// errors keep their kind.
func readAll(r io.Reader, buf []byte) error {
	_, err := io.ReadFull(r, buf)
	switch {
	case err == nil:
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF: // and not an error that wraps one
		return Errorf(Corrupt, "the envelope is truncated")
	default:
		return readError(err)
	}
}

// readError returns err, from reading input, with its kind.
func readError(err error) error { return Errorf(KindOf(err), "reading: %w", err) }
