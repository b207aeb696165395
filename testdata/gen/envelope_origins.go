package main

import "bytes"

// writeOrigins writes the vectors of who wrote a payload, whoever made its header.
func writeOrigins(w envelopeWriter) {
	e := sealed(hello)
	segments := signingKey("segment")
	// by gives the header to another author and owner, who sign it.
	by := func(author, owner agent) envelope {
		f := named(e.set(2, bin(owner.id)), "course", 2).set(3, bin(author.id)).set(8, bin(ageFor([]ageKey{eve.age}, author, eve)))
		f.signatures = []func([]byte) signature{byAgent(author)}
		if author.name != owner.name {
			f.signatures = append(f.signatures, byAgent(owner))
		}
		return f
	}
	shared := by(eve, team)
	w.good("ok_shared", "adam wrote it for the team, and eve of the team gave it other readers", hello, shared.encode())
	message := originMessage(adam, adam.id, segments, sealedPayload)
	right := adam.by(originDomain, message)
	bySegments := sign(segments, originDomain, message)

	w.bad("origin_none", "nobody says who wrote the payload", e.set(13, nil))
	w.bad("origin_of_other_owner", "adam wrote the payload as his own, and it is the team's", shared.set(13, origin(adam, adam.id, segments, sealedPayload)))
	w.bad("origin_taken", "a reader publishes adam's payload as hers", by(eve, eve).set(13, origin(adam, adam.id, segments, sealedPayload)))
	w.bad("origin_claimed", "a reader says that the payload is hers, and the segment key doesn't",
		by(eve, eve).set(13, originOf(eve.by(originDomain, originMessage(eve, eve.id, segments, sealedPayload)), bySegments, sealedPayload)))
	w.bad("origin_other_segment_key", "another segment key says that the payload is hers", by(eve, eve).set(13, origin(eve, eve.id, signingKey("other segment"), sealedPayload)))
	teams := originMessage(adam, team.id, segments, sealedPayload)
	w.bad("origin_forged", "a reader says with a segment key of hers that adam wrote it",
		shared.set(13, originOf(signature{1, adam.id, 1, sign(signingKey(eve.name), originDomain, teams)}, sign(segments, originDomain, teams), sealedPayload)))
	w.raw("origin_unknown", "not-found", "written by somebody whom nobody knows", shared.set(13, origin(newAgent("mallory@d-fake", 1), team.id, segments, sealedPayload)).encode())
	w.bad("origin_group", "written by a group", shared.set(13, origin(team, team.id, segments, sealedPayload)))
	w.bad("origin_domain", "the writer signed in another domain", e.set(13, originOf(adam.by(headerDomain, message), bySegments, sealedPayload)))
	w.bad("origin_segment_domain", "the segment key signed in another domain", e.set(13, originOf(right, sign(segments, "l2p segment v1\n", message), sealedPayload)))
	form := func(name, why string, change func(*signature)) {
		s := right
		s.bytes = bytes.Clone(s.bytes)
		change(&s)
		w.bad(name, why, e.set(13, originOf(s, bySegments, sealedPayload)))
	}
	form("origin_signature_bit", "a bit of the writer's signature is flipped", func(s *signature) { s.bytes[5] ^= 1 })
	form("origin_signature_short", "a writer's signature of 63 bytes", func(s *signature) { s.bytes = s.bytes[:63] })
	form("origin_algorithm", "a writer's signature of an algorithm that isn't known", func(s *signature) { s.algorithm = 2 })
	form("origin_no_signer", "a writer's signature that doesn't say whose it is", func(s *signature) { s.signer = nil })
	form("origin_version_0", "a writer's signature that doesn't say which document has the key", func(s *signature) { s.version = 0 })
	w.bad("origin_segment_short", "a segment key's signature of 63 bytes", e.set(13, originOf(right, bySegments[:63], sealedPayload)))
	w.bad("origin_segment_none", "no segment key's signature", e.set(13, object(pair{1, right.encode()}, pair{3, num(sealedPayload)})))
	w.bad("origin_unknown_key", "a key that isn't known in the origin", e.set(13, object(pair{1, right.encode()}, pair{2, bin(bySegments)}, pair{3, num(sealedPayload)}, pair{4, num(1)})))
	w.bad("origin_kind_none", "no kind of payload", e.set(13, object(pair{1, right.encode()}, pair{2, bin(bySegments)})))
	w.bad("origin_kind_0", "a kind of payload that there isn't", e.set(13, origin(adam, adam.id, segments, 0)))
	w.bad("origin_kind_4", "a kind of payload that isn't known", e.set(13, origin(adam, adam.id, segments, 4)))
	w.bad("origin_kind_changed", "a member of the team says that the payload is padded", shared.set(13, originOf(adam.by(originDomain, teams), sign(segments, originDomain, teams), paddedPayload)))
	w.bad("origin_public", "a public payload in an age file", e.set(13, origin(adam, adam.id, segments, publicPayload)))
	w.bad("origin_sealed", "a sealed payload for everybody", open([]byte(hello)).set(13, origin(adam, adam.id, segments, sealedPayload)))
	w.bad("origin_padded", "a padded payload for everybody", open([]byte(hello+"\x80\x00")).set(13, origin(adam, adam.id, segments, paddedPayload)))
	dead := named(e, "course", 2).set(8, nil).set(9, nil).set(10, nil).set(12, boolean(true))
	dead.segments = nil
	w.bad("tombstone_origin", "deleted, but with an origin", dead.set(13, origin(adam, adam.id, segments, publicPayload)))
}

// writePaddings writes the vectors of contents with padding.
func writePaddings(w envelopeWriter) {
	padded := func(plain string) envelope {
		return sealed(plain).set(13, origin(adam, adam.id, signingKey("segment"), paddedPayload))
	}
	const mark = "\x80"
	zeros := func(n int) string { return string(make([]byte, n)) }
	w.good("ok_padded", "58 bytes, padded to 60", hello, padded(hello+mark+zeros(1)).encode())
	w.good("ok_padded_empty", "nothing, padded to a byte", "", padded(mark).encode())
	w.good("ok_padded_7", "7 bytes, padded to 8", "7 bytes", padded("7 bytes"+mark).encode())
	w.good("ok_padded_8", "8 bytes, padded to 10", "8 bytes.", padded("8 bytes."+mark+zeros(1)).encode())
	w.good("ok_padded_1000", "1,000 bytes, padded to 1,024", string(bytes.Repeat([]byte("x"), 1000)), padded(string(bytes.Repeat([]byte("x"), 1000))+mark+zeros(23)).encode())
	w.good("ok_padded_mark", "a content that itself ends like padding", hello+mark+zeros(1), padded(hello+mark+zeros(1)+mark+zeros(1)+zeros(2)).encode())
	w.bad("padding_none", "nothing behind the content", padded(hello))
	w.bad("padding_empty", "no byte at all", padded(""))
	w.bad("padding_zeros", "only zeros", padded(zeros(64)))
	w.bad("padding_short", "a zero too few", padded(hello+mark))
	w.bad("padding_long", "four zeros too many, which makes a length of Padmé's, too", padded(hello+mark+zeros(5)))
	w.bad("padding_mark", "another byte than 0x80", padded(hello+"\x81"+zeros(1)))
	w.bad("padding_not_zero", "another byte than zero behind the mark", padded(hello+mark+"\x01"))
}
