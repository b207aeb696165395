package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// split parts an envelope into its header's outer form and what follows.
func split(t testing.TB, sealed []byte) (*Signed, []byte) {
	t.Helper()
	r := bytes.NewReader(sealed)
	s, err := ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	return s, sealed[len(sealed)-r.Len():]
}

// resign changes an envelope's header and has it signed anew.
func resign(t testing.TB, sealed []byte, change func(h *Header), signers ...Signer) []byte {
	t.Helper()
	s, rest := split(t, sealed)
	h, err := ParseHeader(s)
	if err != nil {
		t.Fatal(err)
	}
	change(h)
	body := mustEncode(h)
	forged := &Signed{Body: body}
	for _, signer := range signers {
		forged.Signatures = append(forged.Signatures, Sign(signer, DomainHeader, body))
	}
	return append(appendHeader(nil, forged), rest...)
}

// resigned changes the outer form of an envelope's header.
func resigned(t testing.TB, sealed []byte, change func(s *Signed)) []byte {
	t.Helper()
	s, rest := split(t, sealed)
	change(s)
	return append(appendHeader(nil, s), rest...)
}

func TestOpenRefusesOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealed := s.sealed(t, []byte("secret"), s.eve)
	if out := refused(t, sealed, s.opens(s.mallory), NotReader); len(out) != 0 {
		t.Error("something came out")
	}
	refused(t, sealed, s.opens(s.carl), NotReader)
	refused(t, sealed, OpenOptions{Documents: s.docs()}, NotReader)
	// An identity of nobody's opens plain age files only.
	refused(t, sealed, OpenOptions{Identities: []Identity{{Age: s.eve.age}}, Documents: s.docs()}, NotReader)
}

// TestNotAddressed: eve's recipient key was used for an agent that says it is
// mallory's, or mallory passes what she read on to eve.
func TestNotAddressed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	copied := Recipient{s.mallory.Agent(), s.eve.recipient(t).Age}
	sealed := sealWith(t, []byte("secret"), SealOptions{Author: s.adam, Readers: []Recipient{copied}})
	var buf bytes.Buffer
	_, err := Open(t.Context(), &buf, bytes.NewReader(sealed), s.opens(s.eve))
	if KindOf(err) != NotReader || !strings.Contains(err.Error(), "not addressed to") || buf.Len() != 0 {
		t.Fatalf("got %v", err)
	}
	// Another identity at hand may be one that it was meant for.
	both := s.opens(s.eve)
	both.Identities = append(both.Identities, Identity{s.learn.Agent(), s.learn.age}, Identity{s.mallory.Agent(), s.eve.age})
	if got, o := opened(t, sealed, both); string(got) != "secret" || o.Reader() != s.mallory.Agent() {
		t.Error("the second identity that matches did not open it")
	}
}

func TestOpenRefusesForgedAuthorship(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealed := s.sealed(t, []byte("by adam"), s.eve)
	public := s.sealed(t, []byte("by adam"))
	owned := sealWith(t, []byte("by adam, of the trainers"), SealOptions{Author: s.adam, Owner: s.trainers, Readers: []Recipient{s.eve.recipient(t)}})
	asMallory := func(h *Header) { h.Author, h.Owner = s.mallory.Agent(), s.mallory.Agent() }
	withOwnKey := func(h *Header) {
		asMallory(h)
		key := seedOf("mallory's segments")
		h.SegmentKey, h.Origin = key.Public().(ed25519.PublicKey), newOrigin(s.mallory, h.Owner, key, PayloadSealed)
	}
	nothing := func(*Header) {}
	for name, forged := range map[string][]byte{
		"a stranger claims authorship":            resign(t, sealed, asMallory, s.mallory),
		"a stranger claims it with a new key":     resign(t, sealed, withOwnKey, s.mallory),
		"author stays, signed by a stranger":      resign(t, sealed, nothing, s.mallory),
		"author stays, two signatures":            resign(t, sealed, nothing, s.adam, s.mallory),
		"author's signature twice":                resign(t, sealed, nothing, s.adam, s.adam),
		"no author, owner stays":                  resign(t, sealed, func(h *Header) { h.Author = AgentID{} }, s.mallory),
		"another owner":                           resign(t, sealed, func(h *Header) { h.Owner = s.trainers.Agent() }, s.adam, s.trainers),
		"the owner didn't sign":                   resign(t, owned, nothing, s.adam),
		"the author signed in its place":          resign(t, owned, nothing, s.adam, s.adam),
		"signatures in wrong order":               resign(t, owned, nothing, s.trainers, s.adam),
		"a group is the author":                   resign(t, sealed, func(h *Header) { h.Author, h.Owner = s.trainers.Agent(), s.trainers.Agent() }, s.trainers),
		"a box is the owner":                      resign(t, sealed, func(h *Header) { h.Owner = s.box.Agent() }, s.adam, s.box),
		"a box is the author, public":             resign(t, public, func(h *Header) { h.Author, h.Owner = s.box.Agent(), s.box.Agent() }, s.box),
		"another time, old signature":             resigned(t, sealed, func(g *Signed) { g.Body = resignBody(t, g, func(h *Header) { h.Time++ }) }),
		"signature of a version that is 0":        resigned(t, sealed, func(g *Signed) { g.Signatures[0].Version = 0 }),
		"signature of another structure":          resigned(t, sealed, func(g *Signed) { g.Signatures[0] = Sign(s.adam, DomainDocument, g.Body) }),
		"attachments":                             resigned(t, sealed, func(g *Signed) { g.Attachments = [][]byte{{1}} }),
		"signature in an algorithm that is 0":     resigned(t, sealed, func(g *Signed) { g.Signatures = append(g.Signatures, Signature{Bytes: []byte{1}}) }),
		"reader re-labels particulars to nothing": resign(t, sealed, func(h *Header) { h.Particulars = h.Particulars[:len(h.Particulars)-1] }, s.adam),
		"sealed as public":                        resign(t, sealed, func(h *Header) { h.Age = nil }, s.adam),
		"age header with a byte too many":         resign(t, sealed, func(h *Header) { h.Age = append(h.Age, 0) }, s.adam),
		"age header that isn't one":               resign(t, sealed, func(h *Header) { h.Age = append([]byte(ageIntro), h.Age...) }, s.adam),
		"size of another payload":                 resign(t, sealed, func(h *Header) { n := uint64(24); h.Size = &n }, s.adam),
		"size that none has":                      resign(t, sealed, func(h *Header) { n := uint64(17 + ChunkSize); h.Size = &n }, s.adam),
		"size of a public one":                    resign(t, public, func(h *Header) { n := uint64(8); h.Size = &n }, s.adam),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := refused(t, forged, s.opens(s.eve), Corrupt); len(out) != 0 {
				t.Error("something came out")
			}
		})
	}
	// What the forgeries are made with makes an envelope that is right, too.
	opened(t, resign(t, sealed, nothing, s.adam), s.opens(s.eve))
	opened(t, owned, s.opens(s.eve))
	// An algorithm to come may sign beside ours.
	opened(t, resigned(t, sealed, func(g *Signed) { g.Signatures = append(g.Signatures, Signature{Algorithm: 9, Bytes: []byte{1}}) }), s.opens(s.eve))
}

func resignBody(t testing.TB, s *Signed, change func(h *Header)) []byte {
	t.Helper()
	h, err := ParseHeader(s)
	if err != nil {
		t.Fatal(err)
	}
	change(h)
	return mustEncode(h)
}

// TestReaderWithFileKeyForges plays a reader who knows the file key: age's MAC
// is no obstacle, so author, readers and segments must be bound otherwise.
func TestReaderWithFileKeyForges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealed := s.sealed(t, []byte("for mallory and eve"), s.mallory, s.eve)
	signed, rest := split(t, sealed)
	h, err := ParseHeader(signed)
	if err != nil {
		t.Fatal(err)
	}
	fileKey, err := age.DecryptHeader(h.Age[:len(h.Age)-ageNonceSize], s.mallory.age)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPayload(fileKey, h.Age[len(h.Age)-ageNonceSize:])
	if err != nil {
		t.Fatal(err)
	}
	// Another content under the right keys lacks the segment key's signature.
	forged := Segment{ID: SegmentID{Key: [32]byte(h.SegmentKey)}, Final: true, Signature: [64]byte(rest[4:])}
	forged.Data = p.seal(nil, []byte("for mallory and adam"), 0, true)
	refused(t, append(appendHeader(nil, signed), forged.AppendFrame(nil)...), s.opens(s.eve), Corrupt)
	// Her own segment key under adam's header lacks his signature.
	forged.sign(s.mallory.key)
	refused(t, append(appendHeader(nil, signed), forged.AppendFrame(nil)...), s.opens(s.eve), Corrupt)
	// Other readers lack the commitment.
	wider := *h
	wider.Particulars, err = sealParticulars(&Particulars{Readers: []AgentID{s.eve.Agent()}}, fileKey, noise(particularsSalt))
	if err != nil {
		t.Fatal(err)
	}
	body := mustEncode(&wider)
	rewritten := &Signed{Body: body, Signatures: []Signature{Sign(s.adam, DomainHeader, body)}}
	refused(t, append(appendHeader(nil, rewritten), rest...), s.opens(s.eve), Corrupt)
}

// audienceOf finds the audience stanza in an age header.
func TestCommitmentIsAsDocumented(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	signed, _ := split(t, s.sealed(t, []byte("x"), s.eve, s.mallory))
	h, err := ParseHeader(signed)
	if err != nil {
		t.Fatal(err)
	}
	fileKey, err := age.DecryptHeader(h.Age[:len(h.Age)-16], s.eve.age)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, fileKey, nil, "l2p audience v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	readers := []AgentID{s.eve.Agent(), s.mallory.Agent()}
	slices.SortFunc(readers, compareAgents)
	mac := hmac.New(sha256.New, key)
	mac.Write(slices.Concat(h.Author[:], h.SegmentKey, readers[0][:], readers[1][:]))
	want := "-> l2p.audience-v1\n" + base64.RawStdEncoding.EncodeToString(mac.Sum(nil)) + "\n--- "
	if !strings.Contains(string(h.Age), want) {
		t.Error("the age header has no such audience stanza")
	}
}

func TestUnknownAuthor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	opts := SealOptions{Author: s.adam, Owner: s.trainers, Name: "x", Readers: []Recipient{s.eve.recipient(t)}}
	sealed := sealWith(t, []byte("by whom?"), opts)
	for name, docs := range map[string]Documents{"none": nil, "author only": knows(s.adam), "owner only": knows(s.trainers)} {
		o := OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: docs}
		if out := refused(t, sealed, o, NotFound); len(out) != 0 {
			t.Errorf("%s known: something came out", name)
		}
		o.AllowUnknownAuthor = true
		if got, opener := opened(t, sealed, o); string(got) != "by whom?" || opener.Author() != Unknown {
			t.Errorf("%s known: %v", name, opener.Author())
		}
	}
	// That an author isn't known excuses nothing else.
	forged := resign(t, sealed, func(h *Header) { h.Author = s.mallory.Agent() }, s.mallory, s.trainers)
	refused(t, forged, OpenOptions{Identities: []Identity{s.eve.identity()}, AllowUnknownAuthor: true}, Corrupt)
}

func TestOldKeyOfAuthorStillProves(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealed := s.sealed(t, []byte("before"), s.eve)
	next := s.adam.rotate(t)
	both := OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: knows(s.adam, next)}
	opened(t, sealed, both)
	after := sealWith(t, []byte("after"), SealOptions{Author: next, Readers: []Recipient{s.eve.recipient(t)}})
	opened(t, after, both)
	refused(t, after, OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: knows(s.adam)}, NotFound)
	// The old key doesn't sign for the new version.
	forged := resigned(t, after, func(g *Signed) {
		g.Signatures[0].Bytes = SignBytes(s.adam.key, DomainHeader, g.Body)
	})
	refused(t, forged, both, Corrupt)
}

func TestTombstone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	parent := Version{N: 4, Hash: Hash{4}}
	signed, err := Tombstone(s.adam, s.trainers, "courses/welding", parent, time.UnixMilli(5))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRecord(KindEnvelope, signed.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyRecord(t.Context(), r, s.docs()); err != nil {
		t.Fatal(err)
	}
	if !r.Header.Deleted || r.Header.Public() || r.Version.N != 5 || r.Parent != parent.Hash || r.Ref != (Ref{KindEnvelope, s.trainers.Agent(), "courses/welding"}) {
		t.Errorf("record is %+v", r)
	}
	refused(t, appendHeader(nil, signed), s.opens(s.eve), NotFound)
	if err := Export(&bytes.Buffer{}, bytes.NewReader(appendHeader(nil, signed))); KindOf(err) != NotFound {
		t.Errorf("exported a tombstone: %v", err)
	}
	for _, parent := range []Version{{}, {N: 1}, {Hash: Hash{1}}} {
		if _, err := Tombstone(s.adam, nil, "x", parent, time.Time{}); KindOf(err) != Usage {
			t.Errorf("tombstone after %v: %v", parent, err)
		}
	}
	if _, err := Tombstone(s.adam, nil, "", parent, time.Time{}); KindOf(err) != Usage {
		t.Errorf("tombstone without a name: %v", err)
	}
}

// TestSegmentsInAnyOrder seals as a put does (segments first, then the header
// with their size) and opens as a get does (segments as they come).
func TestSegmentsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := noise(5*SegmentPlainSize + 9)
	for _, readers := range [][]Recipient{{s.eve.recipient(t)}, nil} {
		sealer, err := NewSealer(SealOptions{Author: s.adam, Readers: readers, Public: readers == nil, Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		var frames [][]byte
		size, err := sealer.Segments(t.Context(), bytes.NewReader(plain), func(g *Segment) error {
			if g.ID != (SegmentID{sealer.SegmentKey(), uint64(len(frames))}) {
				return fmt.Errorf("segment %+v", g.ID)
			}
			frames = append(frames, g.AppendFrame(nil))
			return g.Verify()
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := sealer.Header(&size)
		if err != nil {
			t.Fatal(err)
		}
		o, err := NewOpener(t.Context(), signed, s.opens(s.eve))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{5, 0, 3, 1, 4, 2, 2} {
			g, err := ParseSegment(SegmentID{sealer.SegmentKey(), uint64(i)}, frames[i])
			if err != nil {
				t.Fatal(err)
			}
			got, err := o.Segment(nil, g)
			if err != nil {
				t.Fatal(err)
			}
			if want := plain[i*SegmentPlainSize : min((i+1)*SegmentPlainSize, len(plain))]; !bytes.Equal(got, want) {
				t.Errorf("segment %d changed", i)
			}
		}
		// A frame is refused under any other id.
		for _, id := range []SegmentID{{sealer.SegmentKey(), 1}, {sealer.SegmentKey(), 5}, {Index: 0}, {Key: sealer.SegmentKey(), Index: 1 << 60}} {
			if g, err := ParseSegment(id, frames[0]); err == nil {
				if _, err := o.Segment(nil, g); KindOf(err) != Corrupt {
					t.Errorf("segment 0 as %d opened: %v", id.Index, err)
				}
			}
		}
	}
}
