package envelope

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"slices"
	"time"

	"filippo.io/age"
)

// RewrapOptions say who gives an envelope's payload other readers, and whom.
type RewrapOptions struct {
	Author Signer // a user or service
	// Owner signs for the place on the ring; nil: the author. It is the owner
	// that the envelope has: a payload doesn't change hands.
	Owner Signer
	// Parent is the version that o's header is, which the new one follows;
	// zero for a mere file.
	Parent Version
	// Readers are who can open it from now on.
	Readers []Recipient
	Time    time.Time // zero: now
}

// Rewrap returns a new header for the payload of the envelope that o opens:
// other readers, and the same file key, segments, size, title, file name and
// media type. So no payload has to be sealed or moved.
//
// A reader who is left out still knows the file key, and whoever keeps the
// segments may hand them over: to take readers away, seal anew. Errors are of
// kind Usage, or Denied where the owner is another than the envelope's.
func (o *Opener) Rewrap(opts RewrapOptions) (*Signed, error) {
	old := o.header
	if old == nil || old.Public() {
		return nil, Errorf(Usage, "only a sealed envelope can be shared with more readers")
	}
	s, err := newSealer(opts.Author, opts.Owner, old.Name, opts.Parent, opts.Time)
	if err != nil {
		return nil, err
	}
	if s.header.Owner != old.Owner {
		return nil, Errorf(Denied, "the envelope belongs to %s, and only they can give it other readers", old.Owner)
	}
	if opts.Parent.N != old.Version {
		return nil, Errorf(Usage, "version %d does not follow version %d", s.header.Version, old.Version)
	}
	readers, err := checkReaders(opts.Readers, false)
	if err != nil {
		return nil, err
	}
	particulars := *o.particulars
	particulars.Readers = agentsOf(readers)
	s.header.SegmentKey, s.header.Origin = old.SegmentKey, old.Origin
	w := &wrapper{readers: readers, audience: audience{s.header.Author, s.header.SegmentKey, particulars.Readers}}
	stanzas, _, err := w.WrapWithLabels(o.fileKey)
	if err != nil {
		return nil, Errorf(KindOf(err), "can't seal: %w", err)
	}
	clear(w.fileKey)
	nonce := old.Age[len(old.Age)-ageNonceSize:]
	if s.header.Age, err = ageHeader(stanzas, o.fileKey, nonce); err != nil {
		return nil, err
	}
	salt := make([]byte, particularsSalt)
	rand.Read(salt)
	if s.header.Particulars, err = sealParticulars(&particulars, o.fileKey, salt); err != nil {
		return nil, err
	}
	return s.Header(old.Size)
}

// Reframe writes the envelope that o opens to dst with another header, such as
// one that Rewrap made. src holds the segments' frames, up to its end; each is
// checked before it is written. Errors are those of [Opener.Segments].
func (o *Opener) Reframe(ctx context.Context, dst io.Writer, src io.Reader, header *Signed) error {
	if _, err := dst.Write(appendHeader(nil, header)); err != nil {
		return err
	}
	p := pipeline{
		key:  [32]byte(o.header.SegmentKey),
		read: func(b *batch) error { return readFrame(b, src, o.header) },
		work: func(b *batch) error {
			b.out = b.segment.AppendFrame(b.outBuf[:0])
			return b.segment.Verify()
		},
		emit: func(b *batch) error {
			_, err := dst.Write(b.out)
			return err
		},
	}
	return p.run(ctx)
}

// agentsOf returns the agents of readers, ascending.
func agentsOf(readers []Recipient) []AgentID {
	agents := make([]AgentID, 0, len(readers))
	for _, r := range readers {
		agents = append(agents, r.Agent)
	}
	slices.SortFunc(agents, compareAgents)
	return agents
}

// ageHeader returns an age file up to its first chunk: the header, whose format
// is that of age-encryption.org/v1 ("Header"), and the payload's nonce. Package
// age writes headers for file keys of its own only.
func ageHeader(stanzas []*age.Stanza, fileKey, nonce []byte) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(ageIntro)
	for _, s := range stanzas {
		b.WriteString("->")
		for _, arg := range append([]string{s.Type}, s.Args...) {
			b.WriteString(" " + arg)
		}
		b.WriteByte('\n')
		// Lines of 64 columns, of which the last is shorter, and may be empty.
		body := base64.RawStdEncoding.EncodeToString(s.Body)
		for ; len(body) >= 64; body = body[64:] {
			b.WriteString(body[:64] + "\n")
		}
		b.WriteString(body + "\n")
	}
	b.WriteString("---")
	key, err := hkdf.Key(sha256.New, fileKey, nil, "header", sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b.Bytes())
	b.WriteString(" " + base64.RawStdEncoding.EncodeToString(mac.Sum(nil)) + "\n")
	b.Write(nonce)
	return b.Bytes(), checkAgeSize(b.Bytes())
}
