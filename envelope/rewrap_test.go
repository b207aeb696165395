package envelope

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
)

// A shared is an envelope at a ref, sealed by adam for eve and himself.
type shared struct {
	*stage
	sealed []byte
	plain  []byte
	header *Signed
	rest   []byte
	opts   SealOptions
}

func newShared(t *testing.T, owner Signer) shared {
	t.Helper()
	sh := shared{stage: newStage(t), plain: noise(SegmentPlainSize + 100)}
	sh.opts = SealOptions{Author: sh.adam, Owner: owner, Name: "course", Title: "Welding", FileName: "w.pdf", MediaType: "application/pdf",
		Readers: []Recipient{sh.eve.recipient(t), sh.adam.recipient(t)}}
	sh.sealed = sealWith(t, sh.plain, sh.opts)
	sh.header, sh.rest = split(t, sh.sealed)
	return sh
}

func (sh shared) opener(t *testing.T, p *player) *Opener {
	t.Helper()
	o, err := NewOpener(t.Context(), sh.header, sh.opens(p))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (sh shared) version() Version { return Version{1, sh.header.Hash()} }

// under returns the envelope's segments under another header.
func (sh shared) under(header *Signed) []byte { return append(appendHeader(nil, header), sh.rest...) }

func TestRewrap(t *testing.T) {
	t.Parallel()
	sh := newShared(t, nil)
	readers := append(slices.Clone(sh.opts.Readers), sh.mallory.recipient(t), sh.trainers.recipient(t))
	signed, err := sh.opener(t, sh.adam).Rewrap(RewrapOptions{Author: sh.adam, Parent: sh.version(), Readers: readers, Time: time.UnixMilli(7)})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*player{sh.eve, sh.adam, sh.mallory, sh.trainers} {
		got, o := opened(t, sh.under(signed), sh.opens(p))
		h, old := o.Header(), sh.opener(t, sh.adam).Header()
		if !bytes.Equal(got, sh.plain) || o.Reader() != p.Agent() || o.Author() != Verified {
			t.Errorf("%s doesn't open it as it was", p.Agent())
		}
		want := Particulars{Readers: agentsOf(readers), Title: "Welding", FileName: "w.pdf", MediaType: "application/pdf"}
		if q := o.Particulars(); !slices.Equal(q.Readers, want.Readers) || q.Title != want.Title || q.FileName != want.FileName || q.MediaType != want.MediaType || len(q.Readers) != 4 {
			t.Errorf("particulars are %+v", q)
		}
		if h.Version != 2 || h.Parent != sh.header.Hash() || h.Name != "course" || h.Time != 7 || h.Author != sh.adam.Agent() || h.Writer() != sh.adam.Agent() {
			t.Errorf("header is %+v", h)
		}
		if !bytes.Equal(h.SegmentKey, old.SegmentKey) || bytes.Equal(h.Particulars[:particularsSalt], old.Particulars[:particularsSalt]) {
			t.Error("it has other segments, or the salt was used again")
		}
	}
	refused(t, sh.under(signed), sh.opens(sh.learn), NotReader)
	refused(t, sh.sealed, sh.opens(sh.mallory), NotReader)
	opened(t, sh.sealed, sh.opens(sh.eve)) // the version before stays what it was
	var plainAge bytes.Buffer
	if err := Export(&plainAge, bytes.NewReader(sh.under(signed))); err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(&plainAge, sh.mallory.age)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, sh.plain) {
		t.Errorf("age opens something else: %v", err)
	}
}

// TestRewrapOfAFile keeps the size that the header states, and needs no place on the ring.
func TestRewrapOfAFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	signed, rest := split(t, s.sealed(t, []byte("a file"), s.carl))
	o, err := NewOpener(t.Context(), signed, s.opens(s.carl))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Rewrap(RewrapOptions{Author: s.carl, Readers: []Recipient{s.carl.recipient(t)}}); KindOf(err) != Denied {
		t.Errorf("a reader gave adam's file other readers: %v", err)
	}
	size := uint64(len("a file") + 16)
	o.header.Size = &size
	// Who reads it needn't be who wrote it: an agent may open as one of its groups.
	again, err := o.Rewrap(RewrapOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := o.Reframe(t.Context(), &out, bytes.NewReader(rest), again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), append(appendHeader(nil, again), rest...)) {
		t.Error("the segments are others")
	}
	for name, bad := range map[string][]byte{"cut": rest[:len(rest)-1], "more": append(bytes.Clone(rest), 0), "altered": append(bytes.Clone(rest[:len(rest)-1]), rest[len(rest)-1]^1)} {
		if err := o.Reframe(t.Context(), io.Discard, bytes.NewReader(bad), again); KindOf(err) != Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, o := opened(t, out.Bytes(), s.opens(s.eve))
	if string(got) != "a file" || *o.Header().Size != size || o.Header().Version != 0 {
		t.Errorf("header is %+v", o.Header())
	}
}

// TestRewrapByMember: a member of the owning group shares what adam wrote.
func TestRewrapByMember(t *testing.T) {
	t.Parallel()
	sh := newShared(t, newStage(t).trainers)
	opts := RewrapOptions{Author: sh.eve, Owner: sh.trainers, Parent: sh.version(), Readers: []Recipient{sh.mallory.recipient(t)}}
	signed, err := sh.opener(t, sh.eve).Rewrap(opts)
	if err != nil {
		t.Fatal(err)
	}
	got, o := opened(t, sh.under(signed), sh.opens(sh.mallory))
	if !bytes.Equal(got, sh.plain) || o.Header().Author != sh.eve.Agent() || o.Header().Writer() != sh.adam.Agent() {
		t.Error("it isn't adam's, shared by eve")
	}
	// And once more, by another.
	sh.header = signed
	opts = RewrapOptions{Author: sh.learn, Owner: sh.trainers, Parent: Version{2, signed.Hash()}, Readers: []Recipient{sh.learn.recipient(t)}}
	if signed, err = sh.opener(t, sh.mallory).Rewrap(opts); err != nil {
		t.Fatal(err)
	}
	if _, o = opened(t, sh.under(signed), sh.opens(sh.learn)); o.Header().Writer() != sh.adam.Agent() {
		t.Error("the second time it is somebody else's")
	}
	// Who doesn't know adam can't know that it is his.
	others := OpenOptions{Identities: []Identity{sh.learn.identity()}, Documents: knows(sh.learn, sh.trainers)}
	refused(t, sh.under(signed), others, NotFound)
	others.AllowUnknownAuthor = true
	if _, o = opened(t, sh.under(signed), others); o.Author() != Unknown {
		t.Error("an unknown writer counts as verified")
	}
}

// TestReaderTakesThePayload plays readers who republish what adam sealed as
// theirs, or theirs as adam's. They have the file key and their own keys.
func TestReaderTakesThePayload(t *testing.T) {
	t.Parallel()
	sh := newShared(t, newStage(t).trainers)
	o := sh.opener(t, sh.eve)
	old := o.Header()
	own := seedOf("eve's segments")
	// take makes a header that is right but for what change does to it.
	take := func(author, owner Signer, change func(h *Header)) *Signed {
		h := *old
		h.Author, h.Owner = author.Agent(), owner.Agent()
		change(&h)
		particulars := *o.particulars
		w := &wrapper{readers: sh.opts.Readers, audience: audience{h.Author, h.SegmentKey, particulars.Readers}}
		stanzas, _, err := w.WrapWithLabels(o.fileKey)
		if err != nil {
			t.Fatal(err)
		}
		if h.Age, err = ageHeader(stanzas, o.fileKey, old.Age[len(old.Age)-ageNonceSize:]); err != nil {
			t.Fatal(err)
		}
		s := &Sealer{author: author, header: h}
		if owner.Agent() != author.Agent() {
			s.owner = owner
		}
		signed, err := s.Header(old.Size)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	writer := func(by Signer, owner AgentID, key ed25519.PublicKey) Signature {
		return Sign(by, DomainOrigin, originBody(by.Agent(), owner, key, PayloadSealed))
	}
	eve, trainers := sh.eve.Agent(), sh.trainers.Agent()
	ownKey := own.Public().(ed25519.PublicKey)
	for name, signed := range map[string]*Signed{
		"as hers, with adam's origin": take(sh.eve, sh.eve, func(*Header) {}),
		"as hers, by her word": take(sh.eve, sh.eve, func(h *Header) {
			h.Origin = &Origin{writer(sh.eve, eve, old.SegmentKey), old.Origin.Segments, PayloadSealed}
		}),
		"as written by her, in the group": take(sh.eve, sh.trainers, func(h *Header) {
			h.Origin = &Origin{writer(sh.eve, trainers, old.SegmentKey), old.Origin.Segments, PayloadSealed}
		}),
		"by her word and another segment key's": take(sh.eve, sh.eve, func(h *Header) { h.Origin = newOrigin(sh.eve, eve, own, PayloadSealed) }),
		"hers as adam's": take(sh.eve, sh.trainers, func(h *Header) {
			h.SegmentKey = ownKey
			body := originBody(sh.adam.Agent(), trainers, ownKey, PayloadSealed)
			h.Origin = &Origin{Signature{Ed25519, sh.adam.Agent(), 1, SignBytes(sh.eve.key, DomainOrigin, body)}, SignBytes(own, DomainOrigin, body), PayloadSealed}
		}),
		"hers as adam's, with adam's signature of his": take(sh.eve, sh.trainers, func(h *Header) {
			h.SegmentKey = ownKey
			h.Origin = &Origin{old.Origin.Writer, SignBytes(own, DomainOrigin, originBody(sh.adam.Agent(), trainers, ownKey, PayloadSealed)), PayloadSealed}
		}),
		"a signature of adam's over something else": take(sh.eve, sh.trainers, func(h *Header) {
			h.Origin = &Origin{Sign(sh.adam, DomainHeader, originBody(sh.adam.Agent(), trainers, old.SegmentKey, PayloadSealed)), old.Origin.Segments, PayloadSealed}
		}),
		"as padded": take(sh.eve, sh.trainers, func(h *Header) {
			h.Origin = &Origin{old.Origin.Writer, old.Origin.Segments, PayloadPadded}
		}),
		"as padded, by her word": take(sh.eve, sh.trainers, func(h *Header) {
			body := originBody(sh.adam.Agent(), trainers, old.SegmentKey, PayloadPadded)
			h.Origin = &Origin{Signature{Ed25519, sh.adam.Agent(), 1, SignBytes(sh.eve.key, DomainOrigin, body)}, SignBytes(own, DomainOrigin, body), PayloadPadded}
		}),
		"the group as writer": take(sh.eve, sh.trainers, func(h *Header) {
			h.SegmentKey, h.Origin = ownKey, newOrigin(sh.trainers, trainers, own, PayloadSealed)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, sh.under(signed), sh.opens(sh.eve), Corrupt)
			r, err := NewRecord(KindEnvelope, signed)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyRecord(t.Context(), r, sh.docs()); KindOf(err) != Corrupt {
				t.Errorf("a node would keep it: %v", err)
			}
		})
	}
	// With a segment key of her own all of the header is right, and adam's
	// segments aren't hers.
	signed := take(sh.eve, sh.eve, func(h *Header) { h.SegmentKey, h.Origin = ownKey, newOrigin(sh.eve, eve, own, PayloadSealed) })
	if out := refused(t, sh.under(signed), sh.opens(sh.eve), Corrupt); len(out) != 0 {
		t.Error("something came out")
	}
	// Nothing is wrong with how the attacks are made.
	opened(t, sh.under(take(sh.eve, sh.trainers, func(*Header) {})), sh.opens(sh.eve))
}

func TestOriginForm(t *testing.T) {
	t.Parallel()
	sh := newShared(t, nil)
	change := func(change func(o *Origin)) []byte {
		return resign(t, sh.sealed, func(h *Header) {
			o := *h.Origin
			change(&o)
			h.Origin = &o
		}, sh.adam)
	}
	for name, sealed := range map[string][]byte{
		"none":                 resign(t, sh.sealed, func(h *Header) { h.Origin = nil }, sh.adam),
		"other algorithm":      change(func(o *Origin) { o.Writer.Algorithm = 2 }),
		"short signature":      change(func(o *Origin) { o.Writer.Bytes = o.Writer.Bytes[1:] }),
		"nobody's":             change(func(o *Origin) { o.Writer.Signer = AgentID{} }),
		"short segment key's":  change(func(o *Origin) { o.Segments = o.Segments[1:] }),
		"of no kind":           change(func(o *Origin) { o.Payload = 0 }),
		"of kind 4":            change(func(o *Origin) { o.Payload = 4 }),
		"public":               change(func(o *Origin) { o.Payload = PayloadPublic }),
		"as public":            resign(t, sh.sealed, func(h *Header) { h.Age, h.Particulars = nil, mustEncode(&Particulars{}) }, sh.adam),
		"of no version":        change(func(o *Origin) { o.Writer.Version = 0 }),
		"segment key's broken": change(func(o *Origin) { o.Segments = bytes.Clone(o.Segments); o.Segments[3] ^= 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, sealed, sh.opens(sh.eve), Corrupt)
		})
	}
}

func TestRewrapRefuses(t *testing.T) {
	t.Parallel()
	sh := newShared(t, nil)
	o := sh.opener(t, sh.adam)
	many := make([]Recipient, MaxReaders+1)
	for i := range many {
		many[i] = Recipient{AgentID{1, byte(i), byte(i >> 8)}, sh.eve.recipient(t).Age}
	}
	right := RewrapOptions{Author: sh.adam, Parent: sh.version(), Readers: []Recipient{sh.eve.recipient(t)}}
	with := func(change func(*RewrapOptions)) RewrapOptions {
		opts := right
		change(&opts)
		return opts
	}
	for name, c := range map[string]struct {
		opts RewrapOptions
		kind ErrorKind
	}{
		"no readers":       {with(func(o *RewrapOptions) { o.Readers = nil }), Usage},
		"mixed readers":    {with(func(o *RewrapOptions) { o.Readers = append(o.Readers, sh.carl.recipient(t)) }), Usage},
		"no author":        {with(func(o *RewrapOptions) { o.Author = nil }), Usage},
		"no parent":        {with(func(o *RewrapOptions) { o.Parent = Version{} }), Usage},
		"a later parent":   {with(func(o *RewrapOptions) { o.Parent.N = 2 }), Usage},
		"another author":   {with(func(o *RewrapOptions) { o.Author = sh.eve }), Denied},
		"another's place":  {with(func(o *RewrapOptions) { o.Owner = sh.trainers }), Denied},
		"too many readers": {with(func(o *RewrapOptions) { o.Readers = many }), Usage},
	} {
		if _, err := o.Rewrap(c.opts); KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	public, _ := split(t, sh.stage.sealed(t, []byte("for all")))
	po, err := NewOpener(t.Context(), public, sh.opens(sh.eve))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*Opener{"public": po, "a plain age file": {}} {
		if _, err := o.Rewrap(RewrapOptions{Author: sh.adam, Readers: right.Readers}); KindOf(err) != Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A listener is an age recipient and identity that keeps what age shows it.
type listener struct {
	write, read []*age.Stanza
	fileKey     []byte
}

func (l *listener) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	l.fileKey = bytes.Clone(fileKey)
	return l.write, nil
}

func (l *listener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	l.read = stanzas
	return nil, errors.New("enough")
}

func TestAgeHeaderIsAges(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 47, 48, 49, 95, 96, 1000} {
		l := &listener{write: []*age.Stanza{{Type: "first", Args: []string{"a", "b"}, Body: noise(n)}, {Type: "second", Body: noise(32)}}}
		var buf bytes.Buffer
		if _, err := age.Encrypt(&buf, l); err != nil {
			t.Fatal(err)
		}
		want := buf.Bytes()
		got, err := ageHeader(l.write, l.fileKey, want[len(want)-ageNonceSize:])
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of body: %v, %q is not age's %q", n, err, got, want)
		}
	}
}

// TestSameFileKey seals nothing anew, so the payload key is the same, and only
// who has the old segment key could sign another segment for it.
func TestSameFileKey(t *testing.T) {
	t.Parallel()
	sh := newShared(t, nil)
	o := sh.opener(t, sh.adam)
	g := Segment{ID: SegmentID{Key: [32]byte(o.Header().SegmentKey)}, Final: true}
	g.Data = o.payload.seal(nil, []byte("another content"), 0, true)
	g.sign(sh.adam.key)
	signed, err := o.Rewrap(RewrapOptions{Author: sh.adam, Parent: sh.version(), Readers: sh.opts.Readers})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, append(appendHeader(nil, signed), g.AppendFrame(nil)...), sh.opens(sh.eve), Corrupt)
}

// TestRevokedWriter: what a thief wrote with adam's key is in doubt also when
// somebody else has shared it since.
func TestRevokedWriter(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam, key := withPaper(t, s.adam, newborn{s.adam.key})
	sealed := sealWith(t, []byte("by adam?"), SealOptions{Author: adam, Owner: s.trainers, Name: "x", Readers: []Recipient{s.eve.recipient(t)}})
	header, rest := split(t, sealed)
	opts := OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: knows(adam, s.eve, s.trainers)}
	o, err := NewOpener(t.Context(), header, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := o.Rewrap(RewrapOptions{Author: s.eve, Owner: s.trainers, Parent: Version{1, header.Hash()}, Readers: []Recipient{s.eve.recipient(t)}})
	if err != nil {
		t.Fatal(err)
	}
	shared := append(appendHeader(nil, signed), rest...)
	if _, o := opened(t, shared, opts); o.Author() != Verified || o.RevokedBy() != nil {
		t.Errorf("before: %v", o.Author())
	}
	fresh := newPlayer(t, "fresh", User, true)
	after := recovered(t, recovery(adam, fresh), key, fresh)
	opts.Documents = knows(adam, after, s.eve, s.trainers)
	if _, o := opened(t, shared, opts); o.Author() != Revoked || o.RevokedBy() != after.doc {
		t.Errorf("after: %v, by %v", o.Author(), o.RevokedBy())
	}
}
