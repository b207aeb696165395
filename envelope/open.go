package envelope

import (
	"bufio"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"io"
	"slices"

	"filippo.io/age"
)

// OpenOptions say who opens an envelope and whom they know.
type OpenOptions struct {
	// Identities are tried in order. None is needed for a public envelope.
	Identities []Identity
	// Documents finds the documents of author and owner.
	Documents Documents
	// AllowUnknownAuthor opens an envelope though the document of its author
	// or owner isn't known, so that their signatures can't be checked.
	AllowUnknownAuthor bool
}

// An AuthorState says what is known of who wrote something.
type AuthorState int

const (
	// Unsigned: a plain age file. Nobody said that they wrote it.
	Unsigned AuthorState = iota
	// Unknown: the header names an author, and the signatures could not be
	// checked, since a document isn't known. It proves nothing.
	Unknown
	// Verified: author and owner signed.
	Verified
	// Revoked: author and owner signed, and the author's key was revoked since
	// by a recovery document. A thief may have signed, at any time.
	Revoked
)

// An Opener opens the segments of one envelope whose header has been proven.
type Opener struct {
	header      *Header // nil for a plain age file
	particulars *Particulars
	author      AuthorState
	revokedBy   *Document // if author is Revoked
	reader      AgentID
	fileKey     []byte // nil for a public envelope
	payload     *payload
}

// NewOpener checks an envelope's header in the order that docs/envelope.md
// demands, and returns what opens its segments. Errors are of kind Corrupt;
// NotReader if no identity opens it, or one does and the envelope was not
// meant for its agent; NotFound if it is a tombstone, or if the author's or
// owner's document isn't known.
func NewOpener(ctx context.Context, s *Signed, opts OpenOptions) (*Opener, error) {
	h, err := ParseHeader(s)
	if err != nil {
		return nil, err
	}
	o := &Opener{header: h, author: Verified}
	if err := h.Verify(ctx, s, opts.Documents); err != nil {
		if KindOf(err) != NotFound {
			return nil, err
		}
		if !opts.AllowUnknownAuthor {
			return nil, WithHint(Errorf(NotFound, "can't check who wrote this: %w", err),
				"get the author's document, or open it with --allow-unknown-author")
		}
		o.author = Unknown
	} else if o.revokedBy, err = h.RevokedBy(ctx, s, opts.Documents); err != nil {
		return nil, err
	} else if o.revokedBy != nil {
		o.author = Revoked
	}
	if h.Deleted {
		return nil, errDeleted()
	}
	if h.Public() {
		o.payload = &payload{layout: publicLayout}
		if o.particulars, err = parseParticulars(h.Particulars, true); err != nil {
			return nil, err
		}
		return o, nil
	}
	if err := o.unwrap(opts.Identities); err != nil {
		return nil, err
	}
	return o, nil
}

// unwrap finds the identity that the envelope was sealed for.
func (o *Opener) unwrap(identities []Identity) error {
	header, nonce, err := splitAge(o.header.Age)
	if err != nil {
		return err
	}
	u := &unwrapper{identities: slices.DeleteFunc(slices.Clone(identities), func(id Identity) bool { return id.Agent.IsZero() })}
	var notMeant error
	for {
		fileKey, err := u.unwrap(header)
		if KindOf(err) == NotReader && notMeant != nil {
			return notMeant
		}
		if err != nil {
			return err
		}
		if o.particulars, err = openParticulars(o.header.Particulars, fileKey); err != nil {
			return err
		}
		if err := o.checkAudience(u, fileKey); err != nil {
			return err
		}
		if !o.particulars.hasReader(u.agent()) {
			notMeant = WithHint(Errorf(NotReader, "the envelope is not addressed to %s", u.agent()),
				"it was sealed for others, and somebody made it look otherwise")
			continue // another identity may be one that it was meant for
		}
		o.reader, o.fileKey = u.agent(), fileKey
		o.payload, err = newPayload(fileKey, nonce)
		return err
	}
}

// checkAudience checks the commitment to author, segment key and readers.
func (o *Opener) checkAudience(u *unwrapper, fileKey []byte) error {
	got, err := u.commitment()
	if err != nil {
		return err
	}
	want, err := audience{o.header.Author, o.header.SegmentKey, o.particulars.Readers}.commitment(fileKey)
	if err != nil {
		return err
	}
	if !hmac.Equal(got, want) {
		return Errorf(Corrupt, "the envelope was sealed by another author, or for other readers, than it says")
	}
	return nil
}

// Header returns the header; nil for a plain age file, which nobody signed.
func (o *Opener) Header() *Header { return o.header }

// Particulars returns what only readers see; nil for a plain age file.
func (o *Opener) Particulars() *Particulars { return o.particulars }

// Author says what is known of who wrote it.
func (o *Opener) Author() AuthorState { return o.author }

// RevokedBy returns the recovery document that revoked the key with which the
// author signed; nil unless Author is [Revoked].
func (o *Opener) RevokedBy() *Document { return o.revokedBy }

// Reader returns the agent whose identity opened the envelope; zero if it is
// public.
func (o *Opener) Reader() AgentID { return o.reader }

// Segment appends the plaintext of one segment to dst, once everything about
// the segment has been proven. s.Data must not overlap dst. It may be called
// for segments in any order and by several goroutines; that all segments up to
// the final one have come is then for the caller to see. Padding, if there is
// some, is part of the plaintext: [Opener.Content] takes it off. Errors are of kind
// Corrupt.
func (o *Opener) Segment(dst []byte, s *Segment) ([]byte, error) {
	if o.header == nil || s.ID.Key != [32]byte(o.header.SegmentKey) {
		return nil, Errorf(Corrupt, "segment %d belongs to another envelope", s.ID.Index)
	}
	if err := o.payload.layout.check(s.ID.Index, s.Final, len(s.Data), o.header.Size); err != nil {
		return nil, err
	}
	if err := s.Verify(); err != nil {
		return nil, err
	}
	return o.payload.open(dst, s.Data, s.ID.Index, s.Final)
}

// Segments reads the segments' frames from src, in order and up to its end,
// and writes their plaintext to dst. Nothing of a segment is written before it
// is proven, and nothing of the final one before src has ended with it.
// Segments are opened in parallel.
//
// Errors of dst are returned as they are. After an error, a call of src.Read
// that waits for input may still be going on.
func (o *Opener) Segments(ctx context.Context, dst io.Writer, src io.Reader) error {
	content := o.Content(dst)
	p := pipeline{
		key:  [32]byte(o.header.SegmentKey),
		read: func(b *batch) error { return readFrame(b, src, o.header) },
		work: func(b *batch) error {
			var err error
			b.out, err = o.Segment(b.outBuf[:0], &b.segment)
			return err
		},
		emit: func(b *batch) error {
			_, err := content.Write(b.out)
			return err
		},
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	return content.Close()
}

// readFrame reads the next segment of an envelope, and the end of src behind
// the final one.
func readFrame(b *batch, src io.Reader, h *Header) error {
	s, err := ReadSegment(src, b.segment.ID, b.inBuf)
	if err != nil {
		return err
	}
	b.segment = *s
	if err := h.layout().check(s.ID.Index, s.Final, len(s.Data), h.Size); err != nil {
		return err
	}
	if s.Final {
		return atEnd(src)
	}
	return nil
}

// ReadHeader reads an envelope's magic and header record from r, and no byte
// more: segment 0 is next. It checks no signature. Errors are of kind Corrupt.
func ReadHeader(r io.Reader) (*Signed, error) {
	var head [len(Magic) + 4]byte
	if err := readAll(r, head[:]); err != nil {
		return nil, err
	}
	if string(head[:len(Magic)]) != Magic {
		return nil, Errorf(Corrupt, "the input is not an envelope")
	}
	n := binary.BigEndian.Uint32(head[len(Magic):])
	if n == 0 || n > MaxHeaderSize {
		return nil, Errorf(Corrupt, "an envelope's header can't have %d bytes", n)
	}
	record := make([]byte, n)
	if err := readAll(r, record); err != nil {
		return nil, err
	}
	return ParseSigned(record, MaxHeaderSize)
}

// Open reads one envelope from src up to its end and writes its content to
// dst. src may be armored. It may also be a plain age file, armored or not:
// then the Opener's Header is nil, since nobody signed it.
//
// Nothing of a segment (1 MiB) is written to dst before the segment is proven;
// but earlier segments are, so when Open returns an error, what dst has got is
// authentic and may be incomplete. For errors see [NewOpener] and
// [Opener.Segments].
func Open(ctx context.Context, dst io.Writer, src io.Reader, opts OpenOptions) (*Opener, error) {
	r, form, err := Sniff(src)
	if err != nil {
		return nil, err
	}
	if form == FormAge {
		return openAge(ctx, dst, r, opts.Identities)
	}
	s, err := ReadHeader(r)
	if err != nil {
		return nil, err
	}
	o, err := NewOpener(ctx, s, opts)
	if err != nil {
		return nil, err
	}
	if err := o.Segments(ctx, dst, r); err != nil {
		return nil, err
	}
	return o, nil
}

// newAgeOpener reads the header of a plain age file, and the nonce behind it.
func newAgeOpener(src *bufio.Reader, identities []Identity) (*Opener, error) {
	header, err := age.ExtractHeader(src) // reads no further, since src is a bufio.Reader
	if err != nil {
		return nil, ageError(err)
	}
	u := &unwrapper{identities: identities}
	fileKey, err := u.unwrap(header)
	if err != nil {
		return nil, err
	}
	var nonce [ageNonceSize]byte
	if err := readAll(src, nonce[:]); err != nil {
		return nil, err
	}
	o := &Opener{reader: u.agent()}
	o.payload, err = newPayload(fileKey, nonce[:])
	return o, err
}

// openAgeSegment opens as much of a plain age file as makes a segment.
func (o *Opener) openAgeSegment(b *batch) error {
	err := sealedLayout.check(b.segment.ID.Index, b.segment.Final, len(b.in), nil)
	if err == nil {
		b.out, err = o.payload.open(b.outBuf[:0], b.in, b.segment.ID.Index, b.segment.Final)
	}
	return err
}

// openAge opens a plain age file, from its first byte.
func openAge(ctx context.Context, dst io.Writer, src *bufio.Reader, identities []Identity) (*Opener, error) {
	o, err := newAgeOpener(src, identities)
	if err != nil {
		return nil, err
	}
	input := &lookahead{src: src}
	p := pipeline{
		read: func(b *batch) error {
			var err error
			b.in, b.segment.Final, err = input.read(b.inBuf, MaxSegmentSize)
			return err
		},
		work: o.openAgeSegment,
		emit: func(b *batch) error {
			_, err := dst.Write(b.out)
			return err
		},
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

func errDeleted() error { return Errorf(NotFound, "the envelope was removed by its owner") }
