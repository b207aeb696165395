package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/zeebo/blake3"
)

const (
	magic        = "l2p-envelope/v1\n"
	headerDomain = "l2p envelope header v1\n"
)

// An envelope is one under construction. A vector changes one field, or one
// step of the encoding, before it is encoded.
type envelope struct {
	fields     []pair
	signatures []func(body []byte) signature
	segments   []segment
	tail       []byte
}

// A segment is one of an envelope's segments.
type segment struct {
	index     uint64
	final     bool
	data      []byte
	length    uint32 // as written; 0: that of data
	signature []byte // nil: the right one
}

func (s segment) encode() []byte {
	n := uint32(len(s.data))
	if s.length != 0 {
		n = s.length
	}
	if s.final {
		n |= 1 << 31
	}
	sig := s.signature
	if sig == nil {
		sig = signSegment(s.index, s.final, s.data)
	}
	b := binary.BigEndian.AppendUint32(nil, n)
	return append(append(b, sig...), s.data...)
}

func signSegment(index uint64, final bool, data []byte) []byte {
	return sign(signingKey("segment"), "l2p segment v1\n", segmentMessage(index, final, data))
}

// segmentMessage is what a segment's signature covers behind the domain.
func segmentMessage(index uint64, final bool, data []byte) []byte {
	message := binary.BigEndian.AppendUint64(nil, index)
	if final {
		message = append(message, 1)
	} else {
		message = append(message, 0)
	}
	sum := blake3.Sum256(data)
	return append(message, sum[:]...)
}

func (e envelope) header() []byte {
	body := object(e.fields...)
	var sigs []signature
	for _, s := range e.signatures {
		sigs = append(sigs, s(body))
	}
	return signed(body, nil, sigs...)
}

func (e envelope) encode() []byte { return frame(e.header(), e.rest()) }

func (e envelope) rest() []byte {
	var b []byte
	for _, s := range e.segments {
		b = append(b, s.encode()...)
	}
	return append(b, e.tail...)
}

func frame(header, rest []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(header)))
	return append(append(b, header...), rest...)
}

func byAgent(a agent) func([]byte) signature {
	return func(body []byte) signature { return a.by(headerDomain, body) }
}

// Kinds of payload.
const (
	publicPayload = 1
	sealedPayload = 2
	paddedPayload = 3
)

// set returns e with one header field replaced or (nil) removed. The origin
// (key 13) goes along: it is for the owner, by the segment key, and says
// whether there is an age part.
func (e envelope) set(key uint64, value []byte) envelope {
	e.fields = with(e.fields, key, value)
	owner, kind, has := adam.id, byte(publicPayload), false
	for _, f := range e.fields {
		switch {
		case f.key == 2 && len(f.value) == 34:
			owner = f.value[2:]
		case f.key == 8 && f.value != nil:
			kind = sealedPayload
		case f.key == 13:
			has = f.value != nil
		}
	}
	switch {
	case has && (key == 2 && len(value) == 34 || key == 8):
		e.fields = with(e.fields, 13, origin(adam, owner, signingKey("segment"), kind))
	case key == 9 && value == nil:
		e.fields = with(e.fields, 13, nil)
	}
	return e
}

const originDomain = "l2p envelope origin v1\n"

// originMessage is what both signatures of an origin cover behind the domain.
func originMessage(writer agent, owner []byte, segmentKey ed25519.PrivateKey, kind byte) []byte {
	return slices.Concat(writer.id, owner, public(segmentKey), []byte{kind})
}

// origin says that the writer sealed the segments, for a place of the owner.
func origin(writer agent, owner []byte, segmentKey ed25519.PrivateKey, kind byte) []byte {
	m := originMessage(writer, owner, segmentKey, kind)
	return originOf(writer.by(originDomain, m), sign(segmentKey, originDomain, m), uint64(kind))
}

func originOf(writer signature, bySegmentKey []byte, kind uint64) []byte {
	return object(pair{1, writer.encode()}, pair{2, bin(bySegmentKey)}, pair{3, num(kind)})
}

var fileKey, nonce = seed("file key")[:16], seed("nonce")[:16]

// particulars seals what only readers see.
func particulars(plain []byte) []byte {
	salt := seed("particulars")[:16]
	return append(bytes.Clone(salt), aead(derive(fileKey, salt, "l2p particulars v1"), make([]byte, 12), plain)...)
}

func readersOnly(readers ...agent) []byte { return object(pair{1, bins(ids(readers)...)}) }

// ageFor makes the age part for recipients' keys, with a commitment to author and readers.
func ageFor(keys []ageKey, author agent, readers ...agent) []byte {
	var stanzas []string
	for i, k := range keys {
		stanzas = append(stanzas, x25519(fileKey, k, "recipient "+strconv.Itoa(i)))
	}
	c := audience(fileKey, author.id, public(signingKey("segment")), ids(readers)...)
	return ageHeader(fileKey, nonce, append(stanzas, stanza(c, "l2p.audience-v1"))...)
}

// sealed is Adam's envelope for Eve: the right one, which each vector changes.
func sealed(plain string) envelope {
	return envelope{
		fields: []pair{
			{1, num(1)}, {2, bin(adam.id)}, {3, bin(adam.id)}, {7, num(someTime)},
			{8, bin(ageFor([]ageKey{eve.age}, adam, eve))},
			{9, bin(public(signingKey("segment")))},
			{10, bin(particulars(readersOnly(eve)))},
			{13, origin(adam, adam.id, signingKey("segment"), sealedPayload)},
		},
		signatures: []func([]byte) signature{byAgent(adam)},
		segments:   []segment{{final: true, data: agePayload(fileKey, nonce, []byte(plain))}},
	}
}

// open is Adam's public envelope, in segments of the given plaintexts.
func open(plain ...[]byte) envelope {
	e := sealed("").set(8, nil).set(10, bin(object(pair{1, array()})))
	e.segments = nil
	for i, p := range plain {
		e.segments = append(e.segments, segment{index: uint64(i), final: i == len(plain)-1, data: p})
	}
	return e
}

func named(e envelope, name string, version uint64) envelope {
	e = e.set(4, text(name)).set(5, num(version))
	if version > 1 {
		e = e.set(6, bin(seed("parent")))
	}
	return e
}

func armored(data []byte) []byte {
	enc := base64.StdEncoding.EncodeToString(data)
	var b bytes.Buffer
	b.WriteString("-----BEGIN L2P ENVELOPE-----\n")
	for len(enc) > 64 {
		b.WriteString(enc[:64] + "\n")
		enc = enc[64:]
	}
	b.WriteString(enc + "\n-----END L2P ENVELOPE-----\n")
	return b.Bytes()
}

const hello = "Introduction to Go: every program starts in package main.\n"

// An envelopeWriter writes vectors of envelopes, for Eve to open.
type envelopeWriter struct {
	raw  func(name, expect, why string, data []byte)
	good func(name, why, plain string, data []byte)
	bad  func(name, why string, e envelope)
}

func writeEnvelopes(w *writer) {
	raw := func(name, expect, why string, data []byte) {
		w.vector("envelope", name, expect, why, data,
			line{"identity", eve.age.identity()}, line{"reader", "eve"})
	}
	good := func(name, why, plain string, data []byte) {
		sum := blake3.Sum256([]byte(plain))
		w.vector("envelope", name, "ok", why, data,
			line{"identity", eve.age.identity()}, line{"reader", "eve"}, line{"blake3", b64.EncodeToString(sum[:])})
	}
	bad := func(name, why string, e envelope) { raw(name, "corrupt", why, e.encode()) }

	size := uint64(len(hello) + 16)
	mib := make([]byte, 1<<20)
	good("ok_sealed", "a sealed file", hello, sealed(hello).encode())
	good("ok_empty", "a sealed empty file", "", sealed("").encode())
	good("ok_size", "the header tells the size", hello, sealed(hello).set(11, num(size)).encode())
	good("ok_named", "the first version at a ref", hello, named(sealed(hello), "courses/go intro", 1).encode())
	good("ok_second", "a second version", hello, named(sealed(hello), "course", 2).encode())
	good("ok_public", "a public file", hello, open([]byte(hello)).encode())
	good("ok_public_empty", "a public empty file", "", open(nil).encode())
	good("ok_two_segments", "two segments", string(mib)+hello, open(mib, []byte(hello)).encode())
	good("ok_full_segment", "exactly one full segment", string(mib), open(mib).encode())
	good("ok_armor", "as text", hello, armored(sealed(hello).encode()))
	teamOwns := sealed(hello).set(2, bin(team.id))
	teamOwns.signatures = append(teamOwns.signatures, byAgent(team))
	good("ok_group_owner", "a group owns it, a member wrote it; both sign", hello, named(teamOwns, "course", 1).encode())

	writeBadFrames(raw)
	writeBadHeaders(raw, bad)
	writeBadPayloads(raw, bad, mib)
	ew := envelopeWriter{raw, good, bad}
	writeBadRecords(ew)
	writeBadFields(ew)
	writeBadParticulars(ew)
	writePayloadChunks(ew)
	writeArmors(ew)
	writeOrigins(ew)
	writePaddings(ew)
}

func writeBadFrames(raw func(name, expect, why string, data []byte)) {
	whole := sealed(hello).encode()
	header, rest := sealed(hello).header(), sealed(hello).rest()
	raw("magic_other", "corrupt", "version 2 of the format", append([]byte("l2p-envelope/v2\n"), whole[16:]...))
	raw("magic_short", "corrupt", "cut within the magic", whole[:10])
	raw("header_length_0", "corrupt", "a header record of no bytes", frame(nil, rest))
	long := bytes.Clone(whole)
	binary.BigEndian.PutUint32(long[16:], 3<<20+1)
	raw("header_length_over", "corrupt", "a header record over the limit", long)
	binary.BigEndian.PutUint32(long[16:], 0xffffffff)
	raw("header_length_max", "corrupt", "a header record of 4 GiB", long)
	raw("header_cut", "corrupt", "cut within the header record", whole[:16+4+100])
	raw("header_trailing", "corrupt", "a byte behind the CBOR value", frame(append(bytes.Clone(header), 0), rest))
	raw("no_segment", "corrupt", "no segment at all", frame(header, nil))
	raw("segment_cut", "corrupt", "cut within the segment", whole[:len(whole)-1])
	raw("trailing_byte", "corrupt", "a byte behind the final segment", append(bytes.Clone(whole), 0))
	text := armored(whole)
	raw("armor_no_end", "corrupt", "armor without its end", text[:len(text)-28])
	raw("armor_trailing", "corrupt", "text behind the armor", append(bytes.Clone(text), "x\n"...))
}

func writeBadHeaders(raw func(name, expect, why string, data []byte), bad func(name, why string, e envelope)) {
	e := sealed(hello)
	plain := object(e.fields...)
	sigOf := func(body []byte) signature { return adam.by(headerDomain, body) }
	encoding := func(name, why string, body []byte) {
		raw(name, "corrupt", why, frame(signed(body, nil, sigOf(body)), e.rest()))
	}
	encoding("cbor_order", "keys out of order", unsorted(append([]pair{{2, bin(adam.id)}}, with(e.fields, 2, nil)[:len(e.fields)-1]...)...))
	encoding("cbor_long_int", "an integer in more bytes than it needs", append([]byte{plain[0], plain[1], 0x18, 1}, plain[3:]...))
	encoding("cbor_duplicate", "a key twice", unsorted(append([]pair{{1, num(1)}}, e.fields...)...))
	indefinite := append([]byte{0xbf}, plain[1:]...)
	encoding("cbor_indefinite", "a map of indefinite length", append(indefinite, 0xff))
	encoding("cbor_unknown_key", "a key that isn't known", object(with(e.fields, 99, num(1))...))
	encoding("cbor_tag", "a tag", object(with(e.fields, 7, append([]byte{0xc1}, num(someTime)...))...))
	encoding("cbor_nan", "NaN as time", object(with(e.fields, 7, []byte{0xf9, 0x7e, 0x00})...))
	encoding("cbor_id_short", "an id of 31 bytes", object(with(e.fields, 2, bin(adam.id[:31]))...))

	bad("format_2", "a format that isn't known", e.set(1, num(2)))
	unsigned := e
	unsigned.signatures = nil
	bad("signature_none", "not signed", unsigned)
	forge := func(name, why string, sigs ...func([]byte) signature) {
		f := e
		f.signatures = sigs
		bad(name, why, f)
	}
	forge("signature_bad", "a bit of the signature is flipped", func(body []byte) signature {
		s := sigOf(body)
		s.bytes = flip(s.bytes, 5)
		return s
	})
	forge("signature_domain", "signed in another domain", func(body []byte) signature { return adam.by(documentDomain, body) })
	forge("signature_other_key", "signed by Eve in Adam's name", func(body []byte) signature {
		return signature{1, adam.id, 1, sign(signingKey(eve.name), headerDomain, body)}
	})
	forge("signature_other_agent", "signed by Eve as Eve", byAgent(eve))
	later := e
	later.signatures = []func([]byte) signature{func(body []byte) signature {
		s := sigOf(body)
		s.version = 2
		return s
	}}
	raw("signature_no_such_version", "not-found", "signed by a version of Adam's document that nobody has seen", later.encode())
	bad("owner_silent", "the owner is a group and hasn't signed", named(e.set(2, bin(team.id)), "course", 1))
	bad("author_lied", "the author in the header is not who committed to the audience", func() envelope {
		f := e.set(2, bin(carol.id)).set(3, bin(carol.id))
		f.signatures = []func([]byte) signature{byAgent(carol)}
		return f
	}())

	bad("name_without_version", "a name without a version", e.set(4, text("course")))
	bad("version_without_name", "a version without a name", e.set(5, num(1)))
	bad("first_with_parent", "version 1 with a parent", named(e, "course", 1).set(6, bin(seed("parent"))))
	bad("second_without_parent", "version 2 without a parent", named(e, "course", 2).set(6, nil))
	for _, n := range []struct{ vector, name, why string }{
		{"name_control", "cour\x1b[2Jse", "an escape sequence in a name"},
		{"name_newline", "course\n", "a new line in a name"},
		{"name_bidi", "cours\u202ee", "a direction override in a name"},
		{"name_zero_width", "cours\u200be", "a zero-width space in a name"},
		{"name_dotdot", "a/../b", "a path that climbs"},
		{"name_absolute", "/etc/passwd", "a leading slash"},
		{"name_empty_part", "a//b", "an empty segment"},
		{"name_space", " course", "a leading space"},
		{"name_long", string(bytes.Repeat([]byte("x"), 256)), "256 bytes"},
	} {
		bad(n.vector, n.why, named(e, n.name, 1))
	}
	bad("name_not_utf8", "a name that isn't UTF-8", named(e, "\xff\xfe", 1))
	bad("tombstone_with_content", "deleted, but with content", named(e, "course", 1).set(12, boolean(true)))
	bad("segment_key_short", "a segment key of 31 bytes", e.set(9, bin(make([]byte, 31))))
	bad("segment_key_none", "no segment key", e.set(9, nil))
}
