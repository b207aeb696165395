package envelope

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a header.
const (
	// MaxReaders is the most readers that an envelope is sealed for; a group
	// counts as one.
	MaxReaders = 1_000
	// ManyReaders is the number of readers from which on a group serves
	// better: each hybrid reader adds 1,557 bytes to every version's header.
	ManyReaders = 100

	maxAgeHeader       = 2 << 20 // bytes, as age itself allows when it opens
	maxParticularsSize = 1 << 20 // bytes, encoded
	maxTitle           = 1_024   // bytes
	maxFileName        = 255     // bytes
	maxMediaType       = 255     // bytes; RFC 6838 §4.2 makes it 127 on either side of the slash
)

// A Header says who wrote an envelope, where it belongs and how its readers
// open it. The format is docs/envelope.md.
type Header struct {
	Format  uint    `cbor:"1,keyasint"`           // 1
	Owner   AgentID `cbor:"2,keyasint"`           // whose Ref it is; a user, service or group
	Author  AgentID `cbor:"3,keyasint"`           // who wrote this header; a user or service
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
	// Origin proves who sealed the payload. Absent in a tombstone.
	Origin *Origin `cbor:"13,keyasint,omitempty"`
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

// ParseHeader decodes the header of an envelope from its outer form and checks
// everything that can be checked without keys or documents; [Header.Verify]
// checks who signed. Errors are of kind Corrupt.
func ParseHeader(s *Signed) (*Header, error) {
	var h Header
	if err := Decode(s.Body, MaxHeaderSize, &h); err != nil {
		return nil, err
	}
	if err := h.checkForm(); err != nil {
		return nil, err
	}
	if len(s.Attachments) != 0 {
		return nil, Errorf(Corrupt, "an envelope's header has no attachments")
	}
	return &h, checkOtherSignatures(s)
}

// Public reports whether the payload is not sealed, so that anybody can read it.
func (h *Header) Public() bool { return !h.Deleted && len(h.Age) == 0 }

func (h *Header) checkForm() error {
	if h.Format != 1 {
		return WithHint(Errorf(Corrupt, "envelope has format %d, which this l2p does not know", h.Format), "a newer l2p may")
	}
	if h.Owner.IsZero() || h.Author.IsZero() {
		return Errorf(Corrupt, "envelope has no owner or no author")
	}
	if err := h.checkPlace(); err != nil {
		return err
	}
	if h.Deleted {
		if h.Version == 0 || len(h.Age) != 0 || len(h.SegmentKey) != 0 || len(h.Particulars) != 0 || h.Size != nil || h.Origin != nil {
			return Errorf(Corrupt, "tombstone without a name, or with content")
		}
		return nil
	}
	if len(h.SegmentKey) != ed25519.PublicKeySize {
		return Errorf(Corrupt, "envelope's segment key has %d bytes, not %d", len(h.SegmentKey), ed25519.PublicKeySize)
	}
	if err := h.Origin.checkForm(h.Public()); err != nil {
		return err
	}
	if h.Size != nil && !h.layout().isSize(*h.Size) {
		return Errorf(Corrupt, "envelope can't have a payload of %d bytes", *h.Size)
	}
	if h.Public() {
		_, err := parseParticulars(h.Particulars, true)
		return err
	}
	if len(h.Particulars) > maxSealedParticulars || len(h.Particulars) < minSealedParticulars {
		return Errorf(Corrupt, "envelope's particulars have %d bytes", len(h.Particulars))
	}
	return checkAge(h.Age)
}

// checkPlace checks name, version and parent.
func (h *Header) checkPlace() error {
	if (h.Name == "") != (h.Version == 0) || h.Parent.IsZero() != (h.Version <= 1) {
		return Errorf(Corrupt, "envelope has a wrong name, version or parent")
	}
	if h.Name == "" {
		return nil
	}
	if err := CheckRefName(h.Name); err != nil {
		return Errorf(Corrupt, "malformed envelope: %w", err)
	}
	return nil
}

// parseParticulars decodes the particulars of a public or a sealed envelope.
func parseParticulars(data []byte, public bool) (*Particulars, error) {
	var p Particulars
	if err := Decode(data, maxParticularsSize, &p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, Errorf(Corrupt, "malformed particulars: %w", err)
	}
	if public != (len(p.Readers) == 0) {
		return nil, Errorf(Corrupt, "a sealed envelope has readers, a public one has none")
	}
	return &p, nil
}

// check checks what is the same for public and for sealed envelopes. Errors
// are of kind Usage.
func (p *Particulars) check() error {
	for i, r := range p.Readers {
		if r.IsZero() || i > 0 && bytes.Compare(p.Readers[i-1][:], r[:]) >= 0 {
			return Errorf(Usage, "readers are not in ascending order")
		}
	}
	if !utf8.ValidString(p.Title) || !utf8.ValidString(p.FileName) || !utf8.ValidString(p.MediaType) {
		return Errorf(Usage, "title, file name and media type must be UTF-8")
	}
	if len(p.Title) > maxTitle {
		return Errorf(Usage, "the title has %d bytes, more than %d", len(p.Title), maxTitle)
	}
	if len(p.FileName) > maxFileName {
		return Errorf(Usage, "the file name has %d bytes, more than %d", len(p.FileName), maxFileName)
	}
	// A reader's program may write a file of this name.
	if strings.ContainsAny(p.FileName, "/\\\x00") || p.FileName == "." || p.FileName == ".." {
		return Errorf(Usage, "%s is not the name of a file without its folder", quoteShort(p.FileName))
	}
	if len(p.MediaType) > maxMediaType {
		return Errorf(Usage, "the media type has %d bytes, more than %d", len(p.MediaType), maxMediaType)
	}
	return nil
}

// hasReader reports whether p was meant for id.
func (p *Particulars) hasReader(id AgentID) bool {
	_, ok := slices.BinarySearchFunc(p.Readers, id, compareAgents)
	return ok
}

func compareAgents(a, b AgentID) int { return bytes.Compare(a[:], b[:]) }
