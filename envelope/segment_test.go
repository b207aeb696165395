package envelope

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
)

// signedSegment returns a segment that proves itself.
func signedSegment(index uint64, final bool, data []byte) *Segment {
	key := seedOf("segment key")
	g := &Segment{ID: SegmentID{[32]byte(key.Public().(ed25519.PublicKey)), index}, Final: final, Data: data}
	g.sign(key)
	return g
}

func TestSegmentFrame(t *testing.T) {
	t.Parallel()
	for _, g := range []*Segment{
		signedSegment(0, true, []byte{}),
		signedSegment(0, true, []byte("x")),
		signedSegment(7, true, noise(1000)),
		signedSegment(7, true, noise(MaxSegmentSize)),
		signedSegment(7, false, noise(MaxSegmentSize)),
		signedSegment(MaxSegments-1, false, noise(SegmentPlainSize)),
	} {
		frame := g.AppendFrame([]byte("before"))[len("before"):]
		parsed, err := ParseSegment(g.ID, frame)
		if err != nil {
			t.Fatal(err)
		}
		for _, buf := range [][]byte{nil, make([]byte, 10), make([]byte, MaxSegmentSize)} {
			r := bytes.NewReader(append(slices.Clone(frame), "next"...))
			read, err := ReadSegment(r, g.ID, buf)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []*Segment{parsed, read} {
				if got.ID != g.ID || got.Final != g.Final || got.Signature != g.Signature || !bytes.Equal(got.Data, g.Data) {
					t.Error("the segment changed")
				}
				if err := got.Verify(); err != nil {
					t.Error(err)
				}
			}
			if r.Len() != len("next") {
				t.Error("ReadSegment read on")
			}
		}
	}
}

func TestSegmentFrameRefuses(t *testing.T) {
	t.Parallel()
	frame := func(index uint64, final bool, n int) []byte {
		return signedSegment(index, final, noise(n)).AppendFrame(nil)
	}
	long := frame(0, true, 10)
	long[0], long[1] = 0xff, 0xff
	for name, c := range map[string]struct {
		index uint64
		frame []byte
	}{
		"nothing":                {0, nil},
		"cut in its header":      {0, frame(0, true, 10)[:SegmentFrameHeader-1]},
		"cut in its data":        {0, frame(0, true, 10)[:SegmentFrameHeader+9]},
		"empty and not final":    {0, frame(0, false, 0)},
		"empty and not first":    {1, frame(1, true, 0)},
		"not full and not final": {0, frame(0, false, 10)},
		"more than full":         {0, frame(0, true, MaxSegmentSize+1)},
		"says 2 GiB":             {0, long},
		"beyond all payloads":    {MaxSegments, frame(MaxSegments, true, 1)},
	} {
		if _, err := ParseSegment(SegmentID{Index: c.index}, c.frame); KindOf(err) != Corrupt || err == nil {
			t.Errorf("%s parsed: %v", name, err)
		}
		if _, err := ReadSegment(bytes.NewReader(c.frame), SegmentID{Index: c.index}, nil); KindOf(err) != Corrupt || err == nil {
			t.Errorf("%s was read: %v", name, err)
		}
	}
	if _, err := ParseSegment(SegmentID{}, append(frame(0, true, 10), 0)); KindOf(err) != Corrupt {
		t.Errorf("a frame with a byte too many parsed: %v", err)
	}
}

func TestSegmentVerify(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(g *Segment){
		"data":      func(g *Segment) { g.Data[3] ^= 1 },
		"length":    func(g *Segment) { g.Data = g.Data[:9] },
		"index":     func(g *Segment) { g.ID.Index++ },
		"final":     func(g *Segment) { g.Final = !g.Final },
		"key":       func(g *Segment) { g.ID.Key[0] ^= 1 },
		"signature": func(g *Segment) { g.Signature[0] ^= 1 },
	} {
		g := signedSegment(1, true, noise(10))
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		change(g)
		if err := g.Verify(); KindOf(err) != Corrupt || err == nil {
			t.Errorf("another %s: %v", name, err)
		}
	}
}
