package envelope

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"time"

	"filippo.io/age"
)

// Magic is what an envelope begins with.
const Magic = "l2p-envelope/v1\n"

// SealOptions say who seals an envelope, for whom, and where it belongs.
type SealOptions struct {
	Author Signer // a user or service
	// Owner signs for the place on the ring, such as a group; nil: the author.
	Owner Signer
	// Name is the place on the ring, with the owner; empty for a mere file.
	Name string
	// Parent is the version that this one follows; zero: it is the first.
	Parent Version
	// Readers are who can open it. An agent that is there twice counts once.
	Readers []Recipient
	// Public is set instead of Readers where anybody may read.
	Public bool
	// Title, FileName and MediaType are for the readers only. See Particulars.
	Title, FileName, MediaType string
	// Pad hides the size of what is sealed behind one that many sizes share, at
	// most 12 % more. A public envelope has nothing to hide.
	Pad  bool
	Time time.Time // zero: now
}

// A Sealer seals one envelope: one header and, once, its segments. The header
// may be written before the segments, for a stream, or after them, when their
// size is known.
type Sealer struct {
	author, owner Signer // owner is nil where the author is the owner
	header        Header // without the size
	payload       *payload
	pad           bool
	segmentKey    ed25519.PrivateKey // nil once the segments have been sealed
}

// NewSealer prepares an envelope: it draws its keys and wraps them for the
// readers. Errors are of kind Usage if the options make no sense: no readers
// or more than [MaxReaders], hybrid and classic readers mixed, a malformed
// name.
func NewSealer(opts SealOptions) (*Sealer, error) {
	s, err := newSealer(opts.Author, opts.Owner, opts.Name, opts.Parent, opts.Time)
	if err != nil {
		return nil, err
	}
	particulars := &Particulars{Title: opts.Title, FileName: opts.FileName, MediaType: opts.MediaType}
	readers, err := checkReaders(opts.Readers, opts.Public)
	if err != nil {
		return nil, err
	}
	if s.pad = opts.Pad; opts.Pad && opts.Public {
		return nil, Errorf(Usage, "a public envelope hides nothing, so padding makes no sense")
	}
	particulars.Readers = agentsOf(readers)
	if err := particulars.check(); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	s.segmentKey, s.header.SegmentKey = private, public
	kind := PayloadSealed
	switch {
	case opts.Public:
		kind = PayloadPublic
	case opts.Pad:
		kind = PayloadPadded
	}
	s.header.Origin = newOrigin(opts.Author, s.header.Owner, private, kind)
	if opts.Public {
		s.payload = &payload{layout: publicLayout}
		s.header.Particulars = mustEncode(particulars)
	} else if err := s.wrap(readers, particulars); err != nil {
		return nil, err
	}
	return s, nil
}

// newSealer makes the part of a header that envelopes and tombstones share.
func newSealer(author, owner Signer, name string, parent Version, t time.Time) (*Sealer, error) {
	s := &Sealer{author: author}
	if author == nil || author.Agent().IsZero() || author.DocumentVersion() == 0 {
		return nil, Errorf(Usage, "an envelope needs an author whose document exists")
	}
	s.header = Header{Format: 1, Author: author.Agent(), Owner: author.Agent(), Name: name, Parent: parent.Hash}
	if owner != nil && owner.Agent() != author.Agent() {
		if owner.Agent().IsZero() || owner.DocumentVersion() == 0 {
			return nil, Errorf(Usage, "an envelope needs an owner whose document exists")
		}
		s.owner, s.header.Owner = owner, owner.Agent()
	}
	if name != "" {
		if err := CheckRefName(name); err != nil {
			return nil, err
		}
		s.header.Version = parent.N + 1
	}
	if parent.N == 0 != parent.Hash.IsZero() || name == "" && parent.N != 0 {
		return nil, Errorf(Usage, "only an envelope with a name follows another version")
	}
	if t.IsZero() {
		t = time.Now()
	}
	s.header.Time = t.UnixMilli()
	return s, nil
}

// checkReaders returns the readers, each agent once.
func checkReaders(readers []Recipient, public bool) ([]Recipient, error) {
	if public != (len(readers) == 0) {
		return nil, Errorf(Usage, "an envelope has readers, or is public")
	}
	seen := make(map[AgentID]bool)
	var once []Recipient
	for _, r := range readers {
		if r.Agent.IsZero() || r.Age == nil {
			return nil, Errorf(Usage, "a reader needs an agent id and an age recipient")
		}
		if !seen[r.Agent] {
			seen[r.Agent] = true
			once = append(once, r)
		}
	}
	if len(once) > MaxReaders {
		return nil, WithHint(Errorf(Usage, "%d readers are more than %d", len(once), MaxReaders), "make a group of them")
	}
	return once, nil
}

// wrap makes the age header and the sealed particulars.
func (s *Sealer) wrap(readers []Recipient, particulars *Particulars) error {
	w := &wrapper{readers: readers, audience: audience{s.header.Author, s.header.SegmentKey, particulars.Readers}}
	// A file that is begun and never closed is exactly header and nonce.
	var buf bytes.Buffer
	if _, err := age.Encrypt(&buf, w); err != nil {
		return Errorf(KindOf(err), "can't seal: %w", err)
	}
	defer clear(w.fileKey)
	s.header.Age = buf.Bytes()
	err := checkAgeSize(s.header.Age)
	if err != nil {
		return err
	}
	if s.payload, err = newPayload(w.fileKey, s.header.Age[len(s.header.Age)-ageNonceSize:]); err != nil {
		return err
	}
	salt := make([]byte, particularsSalt)
	rand.Read(salt)
	s.header.Particulars, err = sealParticulars(particulars, w.fileKey, salt)
	return err
}

// SegmentKey returns the key that names the envelope's segments.
func (s *Sealer) SegmentKey() [32]byte { return [32]byte(s.header.SegmentKey) }

// Header returns the signed header. size is the number of payload bytes that
// Segments returned, or nil where that isn't known yet.
func (s *Sealer) Header(size *uint64) (*Signed, error) {
	h := s.header
	h.Size = size
	if err := h.checkForm(); err != nil {
		return nil, err
	}
	body, err := Encode(&h)
	if err != nil {
		return nil, err
	}
	signed := &Signed{Body: body, Signatures: []Signature{Sign(s.author, DomainHeader, body)}}
	if s.owner != nil {
		signed.Signatures = append(signed.Signatures, Sign(s.owner, DomainHeader, body))
	}
	return signed, nil
}

// Segments seals src up to its end and passes the segments to emit, in order,
// on the caller's goroutine. A segment's Data is valid during the call only.
// Segments are sealed in parallel, and passed on as soon as one byte of the
// next is there. size is the number of payload bytes.
//
// Segments can be called once: the segment key is forgotten afterwards. An
// error of emit is returned as it is. After an error, a call of src.Read that
// waits for input may still be going on.
func (s *Sealer) Segments(ctx context.Context, src io.Reader, emit func(*Segment) error) (size uint64, err error) {
	return s.seal(ctx, src, func(b *batch) error { return emit(&b.segment) })
}

// seal is Segments with the batches themselves, whose out is the whole frame.
func (s *Sealer) seal(ctx context.Context, src io.Reader, emit func(*batch) error) (size uint64, err error) {
	key := s.segmentKey
	if key == nil {
		// Two payloads under one key and nonce would give away both.
		return 0, Errorf(Other, "an envelope's segments can be sealed only once")
	}
	s.segmentKey = nil
	if s.pad {
		src = &padder{src: src}
	}
	input := &lookahead{src: src}
	p := pipeline{
		key: s.SegmentKey(),
		read: func(b *batch) error {
			var err error
			b.in, b.segment.Final, err = input.read(b.inBuf, SegmentPlainSize)
			return err
		},
		work: func(b *batch) error {
			g := &b.segment
			frame := s.payload.seal(b.outBuf[:SegmentFrameHeader], b.in, g.ID.Index, g.Final)
			g.Data = frame[SegmentFrameHeader:]
			g.sign(key)
			g.appendFrameHeader(frame[:0])
			b.out = frame
			return nil
		},
		emit: func(b *batch) error {
			size += uint64(len(b.segment.Data))
			return emit(b)
		},
	}
	if err := p.run(ctx); err != nil {
		return 0, err // a worker may still use the key
	}
	clear(key)
	return size, nil
}

// Seal reads src up to its end and writes it to dst as an envelope. The header
// states the size if src is a regular file. When Seal returns an error, what
// was written to dst is of no use.
//
// Errors of dst are returned as they are. After an error, a call of src.Read
// that waits for input may still be going on.
func Seal(ctx context.Context, dst io.Writer, src io.Reader, opts SealOptions) error {
	s, err := NewSealer(opts)
	if err != nil {
		return err
	}
	var want *uint64
	if n, ok := regularSize(src); ok {
		if s.pad {
			n = paddedSize(n)
		}
		n = s.payload.layout.size(n)
		want = &n
	}
	header, err := s.Header(want)
	if err != nil {
		return err
	}
	if _, err := dst.Write(appendHeader(nil, header)); err != nil {
		return err
	}
	size, err := s.seal(ctx, src, func(b *batch) error {
		_, err := dst.Write(b.out)
		return err
	})
	if err != nil {
		return err
	}
	if want != nil && size != *want {
		return WithHint(Errorf(Conflict, "the file changed while it was sealed"), "try again, or pipe it in")
	}
	return nil
}

// regularSize returns the number of bytes left to read of a regular file. It
// doesn't believe in empty ones: /proc is full of files that only seem so.
func regularSize(src io.Reader) (uint64, bool) {
	f, ok := src.(*os.File)
	if !ok {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil || info.Size() <= at {
		return 0, false
	}
	return uint64(info.Size() - at), true
}

// appendHeader appends what stands before the segments: magic, length, header
// record.
func appendHeader(dst []byte, header *Signed) []byte {
	record := header.Encode()
	dst = append(dst, Magic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(record)))
	return append(dst, record...)
}

// Tombstone returns the header by which the owner removes an envelope: the
// version that follows parent. owner may be nil: the author. t may be zero: now.
func Tombstone(author, owner Signer, name string, parent Version, t time.Time) (*Signed, error) {
	if name == "" || parent.N == 0 {
		return nil, Errorf(Usage, "only an envelope with a name and a version can be removed")
	}
	s, err := newSealer(author, owner, name, parent, t)
	if err != nil {
		return nil, err
	}
	s.header.Deleted = true
	return s.Header(nil)
}
