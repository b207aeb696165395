package main

import "bytes"

// writeBadPayloads writes the vectors whose header record is as it should be
// in form, and whose age part, particulars or segments are not.
func writeBadPayloads(raw func(name, expect, why string, data []byte), bad func(name, why string, e envelope), mib []byte) {
	e := sealed(hello)
	age := ageFor([]ageKey{eve.age}, adam, eve)
	mac := bytes.Index(age, []byte("--- ")) + 4
	broken := bytes.Clone(age)
	broken[mac] = 'A' + (broken[mac]-'A'+1)%26
	bad("age_mac", "the age header's MAC is wrong", e.set(8, bin(broken)))
	bad("age_no_nonce", "the age part ends before the nonce", e.set(8, bin(age[:len(age)-16])))
	bad("age_trailing", "the age part has a byte too many", e.set(8, bin(append(bytes.Clone(age), 0))))
	wrapped := x25519(fileKey, eve.age, "recipient 0")
	bad("audience_none", "no commitment to author and readers", e.set(8, bin(ageHeader(fileKey, nonce, wrapped))))
	bad("audience_other", "the commitment is to other readers", e.set(8, bin(ageFor([]ageKey{eve.age}, adam, eve, carol))))
	c := stanza(audience(fileKey, adam.id, public(signingKey("segment")), eve.id), "l2p.audience-v1")
	bad("audience_twice", "two commitments", e.set(8, bin(ageHeader(fileKey, nonce, wrapped, c, c))))

	other := e.set(8, bin(ageFor([]ageKey{eve.age}, adam, carol))).set(10, bin(particulars(readersOnly(carol))))
	raw("not_addressed", "not-reader", "sealed to Eve's recipient, but addressed to Carol", other.encode())
	carols := e.set(8, bin(ageFor([]ageKey{carol.age}, adam, carol))).set(10, bin(particulars(readersOnly(carol))))
	raw("not_reader", "not-reader", "sealed for Carol", carols.encode())

	bad("particulars_tag", "the particulars' tag is wrong", e.set(10, bin(flip(particulars(readersOnly(eve)), 20))))
	bad("particulars_short", "particulars shorter than salt and tag", e.set(10, bin(make([]byte, 31))))
	bad("particulars_none", "no particulars", e.set(10, nil))
	two := [][]byte{bin(ids([]agent{eve, carol})[1]), bin(ids([]agent{eve, carol})[0])}
	bad("readers_order", "readers out of order", e.set(10, bin(particulars(object(pair{1, array(two...)})))))
	bad("readers_of_public", "a public envelope that names a reader", open([]byte(hello)).set(10, bin(readersOnly(eve))))

	change := func(name, why string, f func(*segment)) {
		g := sealed(hello)
		f(&g.segments[0])
		bad(name, why, g)
	}
	change("segment_signature", "a bit of the segment's signature is flipped", func(s *segment) {
		s.signature = flip(signSegment(0, true, s.data), 3)
	})
	change("segment_index", "the segment was signed as number 1", func(s *segment) { s.signature = signSegment(1, true, s.data) })
	change("segment_not_final", "the last segment isn't flagged", func(s *segment) { s.final = false })
	change("segment_flag_forged", "the final flag was set by another", func(s *segment) { s.signature = signSegment(0, false, s.data) })
	change("segment_bit", "a bit of the data is flipped", func(s *segment) {
		s.signature = signSegment(0, true, s.data)
		s.data = flip(s.data, 0)
	})
	change("chunk_tag", "rightly signed, but the chunk's tag is wrong", func(s *segment) { s.data = flip(s.data, 0) })
	change("chunk_empty", "rightly signed, but no chunk in it", func(s *segment) { s.data = nil })
	change("segment_length_over", "a segment over the limit", func(s *segment) { s.length = 1<<20 + 16*16 + 1 })
	change("segment_length_max", "a segment of 2 GiB", func(s *segment) { s.length = 0x7fffffff })

	small := []byte(hello)
	long := open(mib, small)
	dropped := long
	dropped.segments = long.segments[:1]
	bad("segments_dropped", "cut after a whole segment", dropped)
	swapped := open(mib, mib, small)
	swapped.segments[0], swapped.segments[1] = swapped.segments[1], swapped.segments[0]
	bad("segments_swapped", "two segments in each other's place", swapped)
	repeated := long
	repeated.segments = []segment{long.segments[0], long.segments[0], long.segments[1]}
	bad("segments_repeated", "a segment twice", repeated)
	early := open(small, small)
	bad("segment_short", "a segment before the last that isn't full", early)
	bad("segment_empty_last", "an empty segment behind a full one", open(mib, nil))
	behind := long
	behind.segments = append([]segment{}, long.segments...)
	behind.segments = append(behind.segments, segment{index: 2, final: true, data: small})
	bad("segment_behind_final", "a segment behind the final one", behind)
	bad("size_over", "the header promises a byte more", e.set(11, num(uint64(len(hello)+17))))
	bad("size_under", "the header promises a byte less", e.set(11, num(uint64(len(hello)+15))))
}
