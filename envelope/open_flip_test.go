package envelope

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// smallEnvelopes are envelopes of one small segment, of every sort.
func (s *stage) smallEnvelopes(t testing.TB) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"hybrid":  s.sealed(t, []byte("for eve"), s.eve),
		"classic": s.sealed(t, []byte("for carl"), s.carl),
		"public":  s.sealed(t, []byte("for all")),
		"empty":   s.sealed(t, nil),
		"padded":  sealWith(t, []byte("8 bytes."), SealOptions{Author: s.adam, Pad: true, Readers: []Recipient{s.carl.recipient(t)}}),
		"owned": sealWith(t, []byte("x"), SealOptions{Author: s.adam, Owner: s.trainers, Name: "a/b", Title: "T",
			Parent: Version{1, Hash{1}}, Readers: []Recipient{s.carl.recipient(t)}}),
	}
}

// all returns the options of somebody who is both eve and carl.
func (s *stage) all() OpenOptions {
	return OpenOptions{Identities: []Identity{s.carl.identity(), s.eve.identity()}, Documents: s.docs()}
}

// TestEveryFlippedByteIsRefused flips bits in each byte of an envelope.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, sealed := range s.smallEnvelopes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened(t, sealed, s.all())
			masks := []byte{0x01, 0x80, 0xff}
			if testing.Short() {
				masks = masks[:1]
			}
			for i := range sealed {
				for _, mask := range masks {
					flipped := slices.Clone(sealed)
					flipped[i] ^= mask
					var buf bytes.Buffer
					if _, err := Open(t.Context(), &buf, bytes.NewReader(flipped), s.all()); err == nil || buf.Len() != 0 {
						t.Fatalf("byte %d flipped with %#x: %v, %d bytes came out", i, mask, err, buf.Len())
					}
				}
			}
		})
	}
}

// TestEveryTruncationIsRefused cuts an envelope after each byte, and adds one.
func TestEveryTruncationIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, sealed := range s.smallEnvelopes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range len(sealed) {
				if out := refused(t, sealed[:n], s.all(), Corrupt); len(out) != 0 {
					t.Fatalf("something came out of the first %d bytes", n)
				}
			}
			for _, more := range [][]byte{{0}, sealed, make([]byte, SegmentFrameHeader)} {
				if out := refused(t, append(slices.Clone(sealed), more...), s.all(), Corrupt); len(out) != 0 {
					t.Fatal("something came out of an extended envelope")
				}
			}
		})
	}
}

// TestSegmentsOutOfPlace drops, repeats, swaps and replaces segments. What
// comes out before it is noticed must be the true beginning.
func TestSegmentsOutOfPlace(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := noise(4*SegmentPlainSize + 11)
	for _, readers := range [][]*player{{s.eve}, nil} {
		sealed := s.sealed(t, plain, readers...)
		other := s.sealed(t, plain, readers...)
		seg, foreign := frames(t, sealed), frames(t, other)
		signed, _ := split(t, sealed)
		for name, order := range map[string][][]byte{
			"first dropped":           {seg[1], seg[2], seg[3], seg[4]},
			"middle dropped":          {seg[0], seg[2], seg[3], seg[4]},
			"last dropped":            {seg[0], seg[1], seg[2], seg[3]},
			"repeated":                {seg[0], seg[0], seg[1], seg[2], seg[3], seg[4]},
			"last repeated":           {seg[0], seg[1], seg[2], seg[3], seg[4], seg[4]},
			"last comes early":        {seg[0], seg[4]},
			"only the last":           {seg[4]},
			"swapped":                 {seg[0], seg[2], seg[1], seg[3], seg[4]},
			"of another envelope":     {seg[0], foreign[1], seg[2], seg[3], seg[4]},
			"last of another":         {seg[0], seg[1], seg[2], seg[3], foreign[4]},
			"final flag set":          {seg[0], seg[1], seg[2], final(seg[3], true)},
			"final flag taken":        {seg[0], seg[1], seg[2], seg[3], final(seg[4], false)},
			"empty one appended":      {seg[0], seg[1], seg[2], seg[3], seg[4], make([]byte, SegmentFrameHeader)},
			"empty final instead":     {seg[0], seg[1], seg[2], seg[3], final(make([]byte, SegmentFrameHeader), true)},
			"nothing":                 {},
			"cut in a segment":        {seg[0], seg[1], seg[2][:ChunkSize]},
			"cut in a frame's header": {seg[0], seg[1], seg[2], seg[3], seg[4][:10]},
		} {
			t.Run(fmt.Sprintf("%s/%d readers", name, len(readers)), func(t *testing.T) {
				t.Parallel()
				data := appendHeader(nil, signed)
				for _, f := range order {
					data = append(data, f...)
				}
				out := refused(t, data, s.opens(s.eve), Corrupt)
				if !bytes.HasPrefix(plain, out) || len(out)%SegmentPlainSize != 0 {
					t.Error("what came out is not the true beginning, in whole segments")
				}
				if err := Export(&bytes.Buffer{}, bytes.NewReader(data)); err == nil {
					t.Error("it was exported")
				}
			})
		}
		// Put together as they were, they open.
		opened(t, append(appendHeader(nil, signed), slices.Concat(seg...)...), s.opens(s.eve))
	}
}

// frames cuts the frames of an envelope's segments apart.
func frames(t testing.TB, sealed []byte) [][]byte {
	t.Helper()
	_, rest := split(t, sealed)
	var frames [][]byte
	for r := bytes.NewReader(rest); r.Len() > 0; {
		g, err := ReadSegment(r, SegmentID{Index: uint64(len(frames))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, g.AppendFrame(nil))
	}
	return frames
}

// final returns a frame with its final flag set or taken.
func final(frame []byte, flag bool) []byte {
	frame = slices.Clone(frame)
	frame[0] &= 0x7f
	if flag {
		frame[0] |= 0x80
	}
	return frame
}

// TestNothingBeforeProof flips a byte in each segment and expects exactly the
// segments before it to come out.
func TestNothingBeforeProof(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := noise(4*SegmentPlainSize + 11)
	sealed := s.sealed(t, plain, s.eve)
	start := len(sealed)
	for _, f := range frames(t, sealed) {
		start -= len(f)
	}
	for i, f := range frames(t, sealed) {
		flipped := slices.Clone(sealed)
		flipped[start+len(f)-1] ^= 1
		start += len(f)
		if out := refused(t, flipped, s.opens(s.eve), Corrupt); !bytes.Equal(out, plain[:i*SegmentPlainSize]) {
			t.Errorf("segment %d flipped: %d bytes came out", i, len(out))
		}
	}
}
