package main

import (
	"bytes"
	"math/big"
	"slices"
	"strings"
)

// writeBadRecords writes the vectors whose header record is wrong around its
// body: who signed, how, and what else is there.
func writeBadRecords(w envelopeWriter) {
	e := sealed(hello)
	body := object(e.fields...)
	right := adam.by(headerDomain, body)
	record := func(name, why string, pairs ...pair) {
		w.raw(name, "corrupt", why, frame(object(pairs...), e.rest()))
	}
	one := pair{1, bin(body)}
	record("record_attachment", "a header with an attachment", one, pair{2, array(right.encode())}, pair{3, bins([]byte("x"))})
	record("record_no_attachments", "an empty list that should be absent", one, pair{2, array(right.encode())}, pair{3, array()})
	record("record_unknown_key", "a key that isn't known around the body", one, pair{2, array(right.encode())}, pair{4, num(1)})
	record("record_no_body", "no body", pair{2, array(right.encode())})
	record("record_body_text", "a body that is text", pair{1, text("x")}, pair{2, array(right.encode())})
	record("record_tagged", "a tag around the body", pair{1, append([]byte{0xd8, 24}, bin(body)...)}, pair{2, array(right.encode())})
	deep := append(bytes.Repeat([]byte{0x81}, 17), 0)
	w.raw("cbor_deep", "corrupt", "17 lists in each other", frame(deep, e.rest()))

	signatures := func(name, expect, why string, sigs ...func([]byte) signature) {
		f := e
		f.signatures = sigs
		w.raw(name, expect, why, f.encode())
	}
	by := func(change func(*signature)) func([]byte) signature {
		return func(body []byte) signature {
			s := adam.by(headerDomain, body)
			change(&s)
			return s
		}
	}
	other := func([]byte) signature { return signature{9, nil, 0, []byte("another algorithm's")} }
	signatures("signature_twice", "corrupt", "Adam signed twice", byAgent(adam), byAgent(adam))
	signatures("signature_uncalled", "corrupt", "Eve signed, too, who is neither author nor owner", byAgent(adam), byAgent(eve))
	signatures("signature_other_algorithm", "corrupt", "only signed with an algorithm that isn't known", other)
	signatures("signature_algorithm_0", "corrupt", "an algorithm without a number", byAgent(adam), by(func(s *signature) { s.algorithm = 0 }))
	signatures("signature_version_0", "corrupt", "a signature that doesn't say which document has the key", by(func(s *signature) { s.version = 0 }))
	signatures("signature_no_signer", "corrupt", "a signature that doesn't say whose it is", by(func(s *signature) { s.signer = nil }))
	signatures("signature_short", "corrupt", "a signature of 63 bytes", by(func(s *signature) { s.bytes = s.bytes[:63] }))
	signatures("signature_not_reduced", "corrupt", "a second form of the right signature: the group's order added to S",
		by(func(s *signature) { s.bytes = notReduced(s.bytes) }))
	signatures("signature_stranger", "corrupt", "signed by somebody whom nobody knows", byAgent(newAgent("mallory@d-fake", 1)))
	w.good("ok_other_algorithm", "a signature of an algorithm that isn't known, beside Adam's", hello, func() []byte {
		f := e
		f.signatures = []func([]byte) signature{byAgent(adam), other}
		return f.encode()
	}())

	owned := named(e.set(2, bin(team.id)), "course", 1)
	owned.signatures = []func([]byte) signature{byAgent(team), byAgent(adam)}
	w.bad("signature_order", "the owner signed before the author", owned)
	owned.signatures = []func([]byte) signature{byAgent(adam), byAgent(adam)}
	w.bad("owner_forged", "the author signed where the owner belongs", owned)
	owned.signatures = []func([]byte) signature{byAgent(adam), func(body []byte) signature {
		return signature{1, team.id, 1, sign(signingKey(adam.name), headerDomain, body)}
	}}
	w.bad("owner_other_key", "the author signed in the owner's name", owned)

	written := func(name, why string, author, owner agent) {
		f := named(e.set(2, bin(owner.id)).set(3, bin(author.id)).set(8, bin(ageFor([]ageKey{eve.age}, author, eve))), "course", 1)
		f.signatures = []func([]byte) signature{byAgent(author)}
		if owner.name != author.name {
			f.signatures = append(f.signatures, byAgent(owner))
		}
		w.bad(name, why, f)
	}
	written("author_group", "a group as author", team, team)
	written("author_box", "a box as author", aTech, aTech)
	written("owner_box", "a box as owner", adam, aTech)
}

// notReduced adds the order of Ed25519's group to the second half of a
// signature (RFC 8032 §5.1.7 demands that it is smaller).
func notReduced(sig []byte) []byte {
	order, ok := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	if !ok {
		panic("order")
	}
	s := bytes.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(bytes.Clone(sig[:32]), sum...)
}

// writeBadFields writes the vectors whose header has one wrong field.
func writeBadFields(w envelopeWriter) {
	e := sealed(hello)
	course := named(e, "course", 1)
	w.bad("owner_none", "no owner", e.set(2, nil))
	w.bad("owner_zero", "an owner of zeros", e.set(2, bin(make([]byte, 32))))
	w.bad("author_none", "no author", e.set(3, nil))
	w.bad("time_none", "no time", e.set(7, nil))
	w.bad("time_float", "a time with a fraction", e.set(7, []byte{0xf9, 0x3e, 0x00}))
	w.bad("cbor_infinity", "an infinite time", e.set(7, []byte{0xf9, 0x7c, 0x00}))
	w.bad("cbor_null", "a null that should be absent", e.set(11, []byte{0xf6}))
	w.bad("name_empty", "an empty name that should be absent", e.set(4, text("")))
	w.bad("name_bytes", "a name that isn't text", course.set(4, bin([]byte("course"))))
	w.bad("name_trailing_slash", "a slash at the end of a name", named(e, "course/", 1))
	w.bad("name_dot", "a part of a name that is a dot", named(e, "a/./b", 1))
	w.bad("name_no_break_space", "a space that isn't plain", named(e, "a\u00a0b", 1))
	w.bad("name_private", "a character for private use", named(e, "a\ue000b", 1))
	w.bad("version_zero", "a version 0 that should be absent", e.set(5, num(0)))
	w.bad("parent_zero", "a parent of zeros that should be absent", course.set(6, bin(make([]byte, 32))))
	w.bad("parent_short", "a parent of 31 bytes", named(e, "course", 2).set(6, bin(seed("parent")[:31])))
	w.bad("deleted_false", "a false that should be absent", e.set(12, boolean(false)))
	w.bad("segment_key_long", "a segment key of 33 bytes", e.set(9, bin(make([]byte, 33))))
	for _, s := range []struct {
		vector, why string
		size        uint64
	}{
		{"size_0", "a size too small for any sealed payload", 0},
		{"size_tag", "a size that leaves no byte for the last chunk", 65552 + 16},
		{"size_huge", "a size of more than 2^40 segments", 1<<63 + 17},
	} {
		w.bad(s.vector, s.why, e.set(11, num(s.size)))
	}
	dead := course.set(8, nil).set(9, nil).set(10, nil).set(12, boolean(true))
	dead.segments = nil
	w.raw("tombstone", "not-found", "the owner removed it", dead.encode())
	w.bad("tombstone_without_name", "nothing that could have been removed", dead.set(4, nil).set(5, nil))
	w.bad("tombstone_size", "deleted, but with a size", dead.set(11, num(16)))
	w.bad("tombstone_age", "deleted, but with an age header", dead.set(8, bin(ageFor([]ageKey{eve.age}, adam, eve))))

	w.bad("age_gone", "the age header taken away, as if it were public", e.set(8, nil))
	w.bad("age_empty", "an empty age header that should be absent", open([]byte(hello)).set(8, bin(nil)))
	w.bad("public_particulars_none", "a public envelope without particulars", open([]byte(hello)).set(10, nil))
	w.good("ok_time_before_1970", "a clock that was far off: time orders nothing", hello, e.set(7, []byte{0x20}).encode())
	w.good("ok_name_unicode", "a name in several scripts", hello, named(e, "Schweißen/焊接 2", 1).encode())
	w.good("ok_name_long", "a name of 255 bytes", hello, named(e, strings.Repeat("x", 255), 1).encode())
}

// writeBadParticulars writes the vectors whose particulars open and are wrong.
func writeBadParticulars(w envelopeWriter) {
	e := sealed(hello)
	with := func(plain []byte) envelope { return e.set(10, bin(particulars(plain))) }
	readers := pair{1, bins(eve.id)}
	for _, p := range []struct {
		vector, why string
		plain       []byte
	}{
		{"readers_none", "a sealed envelope without a reader", object(pair{1, array()})},
		{"readers_absent", "no list of readers", object(pair{2, text("t")})},
		{"readers_twice", "a reader twice", object(pair{1, bins(eve.id, eve.id)})},
		{"readers_zero", "a reader of zeros", object(pair{1, bins(make([]byte, 32), eve.id)})},
		{"title_long", "a title of 1,025 bytes", object(readers, pair{2, text(strings.Repeat("t", 1025))})},
		{"title_empty", "an empty title that should be absent", object(readers, pair{2, text("")})},
		{"title_not_utf8", "a title that isn't UTF-8", object(readers, pair{2, text("\xff")})},
		{"file_name_slash", "a file name that is a path", object(readers, pair{3, text("../x")})},
		{"file_name_backslash", "a file name with a backslash", object(readers, pair{3, text(`a\b`)})},
		{"file_name_dotdot", "a file name that is the folder above", object(readers, pair{3, text("..")})},
		{"file_name_zero", "a zero byte in a file name", object(readers, pair{3, text("a\x00b")})},
		{"file_name_long", "a file name of 256 bytes", object(readers, pair{3, text(strings.Repeat("f", 256))})},
		{"media_type_long", "a media type of 256 bytes", object(readers, pair{4, text(strings.Repeat("m", 256))})},
		{"particulars_unknown_key", "a key that isn't known in the particulars", object(readers, pair{99, num(1)})},
		{"particulars_trailing", "a byte behind the particulars", append(object(readers), 0)},
	} {
		w.bad(p.vector, p.why, with(p.plain))
	}
	w.good("ok_particulars", "all particulars, each as long as it may be", hello, with(object(readers, pair{2, text(strings.Repeat("t", 1024))},
		pair{3, text(strings.Repeat("f", 255))}, pair{4, text(strings.Repeat("m", 255))})).encode())
	wide := e.set(8, bin(ageFor([]ageKey{carol.age, eve.age}, adam, eve, carol))).set(10, bin(particulars(readersOnly(eve, carol))))
	w.good("ok_two_readers", "for Carol and Eve", hello, wide.encode())

	key := public(signingKey("segment"))
	wrapped := x25519(fileKey, eve.age, "recipient 0")
	commitment := audience(fileKey, adam.id, key, eve.id)
	committed := func(name, why string, stanzas ...string) {
		w.bad(name, why, e.set(8, bin(ageHeader(fileKey, nonce, append([]string{wrapped}, stanzas...)...))))
	}
	committed("audience_author", "the commitment is to another author", stanza(audience(fileKey, carol.id, key, eve.id), "l2p.audience-v1"))
	committed("audience_segment_key", "the commitment is to another segment key", stanza(audience(fileKey, adam.id, seed("x"), eve.id), "l2p.audience-v1"))
	committed("audience_short", "a commitment of 31 bytes", stanza(commitment[:31], "l2p.audience-v1"))
	committed("audience_argument", "a commitment with an argument", stanza(commitment, "l2p.audience-v1", "x"))
	committed("audience_file_key", "a commitment under another file key", stanza(audience(seed("x")[:16], adam.id, key, eve.id), "l2p.audience-v1"))
	age := ageFor([]ageKey{eve.age}, adam, eve)
	w.bad("age_version", "version 2 of age", e.set(8, bin(bytes.Replace(age, []byte("org/v1"), []byte("org/v2"), 1))))
	c := stanza(commitment, "l2p.audience-v1")
	filler := strings.Repeat(stanza(make([]byte, 48*60), "filler"), 540)
	w.bad("age_over", "an age header of more than 2 MiB", e.set(8, bin(ageHeader(fileKey, nonce, wrapped, c, filler))))
	w.good("ok_age_grease", "a stanza of a type that isn't known", hello, e.set(8, bin(ageHeader(fileKey, nonce, wrapped, stanza([]byte("x"), "grease"), c))).encode())
}
