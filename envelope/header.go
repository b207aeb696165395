package envelope

// Sizes of the payload. An age chunk is 64 KiB of plaintext and a 16-byte tag;
// a segment is 16 chunks. A public envelope has no tags.
const (
	ChunkSize            = 64 << 10
	ChunksPerSegment     = 16
	SegmentPlainSize     = ChunksPerSegment * ChunkSize        // 1 MiB of plaintext
	MaxSegmentSize       = ChunksPerSegment * (ChunkSize + 16) // 1,048,832 bytes of age payload
	SegmentSignatureSize = 64
)

// A Header says who wrote an envelope, where it belongs and how its readers
// open it. The format is docs/envelope.md.
type Header struct {
	Format  uint    `cbor:"1,keyasint"`           // 1
	Owner   AgentID `cbor:"2,keyasint"`           // whose Ref it is; a user, service or group
	Author  AgentID `cbor:"3,keyasint"`           // who sealed it; a user or service
	Name    string  `cbor:"4,keyasint,omitempty"` // with Owner, the Ref; empty for a mere file
	Version uint64  `cbor:"5,keyasint,omitzero"`  // 1 for the first; 0 for a mere file
	Parent  Hash    `cbor:"6,keyasint,omitzero"`  // hash of the header before; zero in the first
	Time    int64   `cbor:"7,keyasint"`           // Unix milliseconds, by the author's clock; never used to order
	// Age is everything of the age file before its first chunk: header, MAC
	// line and 16-byte nonce. Empty for a public envelope and for a tombstone.
	Age []byte `cbor:"8,keyasint,omitempty"`
	// SegmentKey is the one-time Ed25519 public key that signs the segments.
	// Empty for a tombstone.
	SegmentKey []byte `cbor:"9,keyasint,omitempty"`
	// Particulars are what only readers see: 16 bytes of salt and the sealed
	// [Particulars]; for a public envelope their plain encoding.
	Particulars []byte `cbor:"10,keyasint,omitempty"`
	// Size is the number of payload bytes, all segments' data together; absent
	// when the header was written before the size was known (sealing a pipe).
	Size *uint64 `cbor:"11,keyasint,omitempty"`
	// Deleted marks a tombstone: the owner removed the envelope.
	Deleted bool `cbor:"12,keyasint,omitempty"`
}

// Particulars are the sealed part of a header.
type Particulars struct {
	// Readers is the audience that the author meant: users, services and
	// groups, ascending. Empty for a public envelope.
	Readers   []AgentID `cbor:"1,keyasint"`
	Title     string    `cbor:"2,keyasint,omitempty"` // for people; at most 1,024 bytes
	FileName  string    `cbor:"3,keyasint,omitempty"` // base name of the file or folder; at most 255 bytes
	MediaType string    `cbor:"4,keyasint,omitempty"` // RFC 6838; a folder is application/vnd.l2p.folder+tar
}

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
