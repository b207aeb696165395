package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

const chunkSize = 64 << 10

// chunk seals one chunk of an age payload.
func chunk(n uint64, last bool, plain []byte) []byte {
	var nonce12 [12]byte
	binary.BigEndian.PutUint64(nonce12[3:], n)
	if last {
		nonce12[11] = 1
	}
	return aead(derive(fileKey, nonce, "payload"), nonce12[:], plain)
}

// quiet returns a plaintext of n bytes whose chunk n consists of zeros, but for
// the tag: so a vector of a mebibyte has some hundred bytes when compressed.
func quiet(index uint64, last bool, n int) []byte {
	return chunk(index, last, make([]byte, n))[:n]
}

// chunks is a payload of full chunks and one of n bytes, with its plaintext.
func chunks(full int, n int) (plain, data [][]byte) {
	for i := range uint64(full) {
		plain = append(plain, quiet(i, false, chunkSize))
	}
	plain = append(plain, quiet(uint64(full), true, n))
	for i, p := range plain {
		data = append(data, chunk(uint64(i), i == full, p))
	}
	return plain, data
}

// inSegments puts chunks into Adam's envelope for Eve, 16 to a segment.
func inSegments(data [][]byte) envelope {
	e := sealed("")
	e.segments = nil
	for i, parts := range slices.Collect(slices.Chunk(data, 16)) {
		e.segments = append(e.segments, segment{index: uint64(i), final: (i+1)*16 >= len(data), data: slices.Concat(parts...)})
	}
	return e
}

// writePayloadChunks writes the vectors about chunks: all segments are rightly
// signed, as only the author could, and what is in them is right or not.
func writePayloadChunks(w envelopeWriter) {
	plain, data := chunks(1, 7)
	w.good("ok_two_chunks", "two chunks", string(slices.Concat(plain...)), inSegments(data).encode())
	w.bad("chunk_swapped", "two chunks in each other's place", inSegments([][]byte{chunk(1, false, quiet(1, false, chunkSize)), chunk(0, true, plain[1])}))
	w.bad("chunk_not_last", "the last chunk isn't sealed as the last", inSegments([][]byte{data[0], chunk(1, false, plain[1])}))
	w.bad("chunk_last_early", "a chunk before the last is sealed as the last", inSegments([][]byte{chunk(0, true, quiet(0, true, chunkSize)), data[1]}))
	w.bad("chunk_last_empty", "a last chunk of no bytes behind a full one", inSegments([][]byte{data[0], chunk(1, true, nil)}))
	w.bad("chunk_last_cut", "the last chunk is shorter than a tag", inSegments([][]byte{data[0], data[1][:15]}))
	w.bad("chunk_dropped", "cut after a whole chunk", inSegments(data[:1]))
	w.bad("chunk_other_key", "sealed under another payload key", inSegments([][]byte{aead(seed("x"), append(make([]byte, 11), 1), []byte(hello))}))

	plain, data = chunks(16, 7)
	w.good("ok_sealed_segments", "two sealed segments", string(slices.Concat(plain...)), inSegments(data).encode())
	plain, data = chunks(15, chunkSize)
	w.good("ok_sealed_full_segment", "one full sealed segment", string(slices.Concat(plain...)), inSegments(data).encode())
	w.good("ok_sealed_full_size", "one full sealed segment, and the header tells the size", string(slices.Concat(plain...)),
		inSegments(data).set(11, num(16*(chunkSize+16))).encode())
	_, data = chunks(16, 7)
	w.bad("chunk_count_restarts", "the second segment's chunks are counted from 0", inSegments(append(slices.Clone(data[:16]), chunk(0, true, []byte("x")))))
	long := inSegments(data)
	long.segments[0].data = append(bytes.Clone(long.segments[0].data), 0)
	w.bad("segment_long", "a full segment and a byte", long)
	w.bad("public_segment_long", "a public segment a byte over its limit", open(make([]byte, 1<<20+1)))
	w.bad("public_of_sealed_size", "a public segment as long as a sealed one", open(make([]byte, 1<<20+256), []byte(hello)))

	one := func(name, why string, change func(*segment)) {
		e := sealed(hello)
		change(&e.segments[0])
		w.bad(name, why, e)
	}
	one("segment_domain", "the segment was signed in another domain", func(s *segment) {
		s.signature = sign(signingKey("segment"), headerDomain, s.data)
	})
	one("segment_other_key", "the segment was signed by its author, not by the segment key", func(s *segment) {
		s.signature = sign(signingKey(adam.name), "l2p segment v1\n", segmentMessage(0, true, s.data))
	})
	one("segment_not_reduced", "a second form of the right signature: the group's order added to S", func(s *segment) {
		s.signature = notReduced(signSegment(0, true, s.data))
	})
	whole := sealed(hello).encode()
	header := len(frame(sealed(hello).header(), nil))
	w.raw("segment_header_cut", "corrupt", "cut before a segment's data", whole[:header+30])
	w.raw("envelope_twice", "corrupt", "an envelope behind the envelope", append(bytes.Clone(whole), whole...))
	w.raw("empty", "corrupt", "nothing at all", nil)
}

// writeArmors writes the vectors about armor.
func writeArmors(w envelopeWriter) {
	whole := sealed(hello).encode()
	ok := string(armored(whole))
	first, rest, _ := strings.Cut(ok, "\n")
	lines := strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	last := len(lines) - 2 // of the base64
	armor := func(name, why, text string) { w.raw(name, "corrupt", why, []byte(text)) }
	changed := func(change func(lines []string) []string) string {
		return first + "\n" + strings.Join(change(slices.Clone(lines)), "\n") + "\n"
	}
	w.good("ok_armor_crlf", "lines that end in CR and LF", hello, []byte(strings.ReplaceAll(ok, "\n", "\r\n")))
	w.good("ok_armor_space", "1,023 characters of white space before and behind", hello, []byte(strings.Repeat(" \n\t", 341)+ok+strings.Repeat("\r", 1023)))
	w.good("ok_armor_no_newline", "no newline behind the last line", hello, []byte(strings.TrimSuffix(ok, "\n")))
	armor("armor_space_over", "1,025 characters of white space before", strings.Repeat(" ", 1025)+ok)
	armor("armor_other_label", "another label in the first line", strings.Replace(ok, "BEGIN L2P ENVELOPE", "BEGIN L2P-ENVELOPE", 1))
	armor("armor_age_label", "an envelope in age's armor", strings.ReplaceAll(ok, "L2P ENVELOPE", "AGE ENCRYPTED FILE"))
	armor("armor_line_space", "a space at the end of a line", changed(func(l []string) []string { l[0] += " "; return l }))
	armor("armor_long_line", "a line of 68 characters", changed(func(l []string) []string {
		l[0], l[1] = l[0]+l[1][:4], l[1][4:]
		return l
	}))
	armor("armor_short_line", "a short line before the last", changed(func(l []string) []string {
		return append([]string{l[0][:60], l[0][60:] + l[1][:60], l[1][60:]}, l[2:]...)
	}))
	armor("armor_empty_line", "an empty line", changed(func(l []string) []string { return slices.Insert(l, 1, "") }))
	armor("armor_cr", "a CR within a line", changed(func(l []string) []string { l[0] = l[0][:10] + "\r" + l[0][10:]; return l }))
	armor("armor_character", "a character that isn't base64's", changed(func(l []string) []string { l[0] = "*" + l[0][1:]; return l }))
	armor("armor_twice", "two armors", ok+ok)
	// A length that leaves two bytes for the last group: one of padding.
	e := sealed(hello)
	for n := 0; len(e.encode())%3 != 2; n++ {
		e = named(e, "course"+strings.Repeat("s", n), 1)
	}
	padded := string(armored(e.encode()))
	w.good("ok_armor_padded", "as text that ends in padding", hello, []byte(padded))
	armor("armor_no_padding", "no padding", strings.Replace(padded, "=\n", "\n", 1))
	i := strings.Index(padded, "=\n") - 1
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	armor("armor_not_canonical", "bits behind the last byte that aren't zero", padded[:i]+string(alphabet[strings.IndexByte(alphabet, padded[i])|1])+padded[i+1:])
	armor("armor_cut_line", "the last line of base64 is missing", changed(func(l []string) []string { return slices.Delete(l, last, last+1) }))
}
