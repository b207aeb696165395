package envelope

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Range{
		"0-499":                 {first: 0, last: 499},
		"7-7":                   {first: 7, last: 7},
		"500-":                  {first: 500, last: maxRange},
		"-500":                  {suffix: 500},
		"0-9223372036854775807": {last: 1<<63 - 1},
	} {
		if got, err := ParseRange(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "-0", "5", "9-8", "a-b", "0-4-5", " 0-4", "0 - 4", "+0-4", "0-+4", "--4", "0x1-2", "9223372036854775808-", "1-9223372036854775808", "bytes=0-4"} {
		if r, err := ParseRange(text); KindOf(err) != Usage || err == nil {
			t.Errorf("%q is taken for %+v, %v", text, r, err)
		}
	}
}

// A counted file counts the bytes that are read of it.
type counted struct {
	*bytes.Reader
	read int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

func openRange(t testing.TB, sealed []byte, text string, opts OpenOptions) ([]byte, error) {
	t.Helper()
	part, err := ParseRange(text)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	_, err = OpenRange(context.Background(), &got, bytes.NewReader(sealed), int64(len(sealed)), part, opts)
	return got.Bytes(), err
}

// forms returns one content sealed in every form that can be opened in the middle.
func (s *stage) forms(t testing.TB, plain []byte) map[string][]byte {
	t.Helper()
	var exported bytes.Buffer
	sealed := s.sealed(t, plain, s.eve)
	if err := Export(&exported, bytes.NewReader(sealed)); err != nil {
		t.Fatal(err)
	}
	forms := map[string][]byte{"sealed": sealed, "public": s.sealed(t, plain), "age": exported.Bytes()}
	for name, pad := range map[string]bool{"sized": false, "padded": true} {
		sealer, err := NewSealer(SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}, Pad: pad})
		if err != nil {
			t.Fatal(err)
		}
		var frames []byte
		size, err := sealer.Segments(t.Context(), bytes.NewReader(plain), func(g *Segment) error {
			frames = g.AppendFrame(frames)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		header, err := sealer.Header(&size)
		if err != nil {
			t.Fatal(err)
		}
		forms[name] = append(appendHeader(nil, header), frames...)
	}
	return forms
}

func TestRange(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, n := range []int{1, SegmentPlainSize, SegmentPlainSize + 1, 2*SegmentPlainSize + ChunkSize + 7} {
		plain := noise(n)
		plain[n-1] = 0 // as padding begins
		for name, sealed := range s.forms(t, plain) {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				var edges []int
				for _, e := range []int{1, SegmentPlainSize, n} {
					for _, at := range []int{e - 1, e, e + 1} {
						if at >= 0 && !slices.Contains(edges, at) {
							edges = append(edges, at)
						}
					}
				}
				for _, from := range edges {
					check := func(text string, from, to int) {
						t.Helper()
						got, err := openRange(t, sealed, text, s.opens(s.eve))
						to = min(to, n)
						if from >= to {
							if KindOf(err) != Usage || err == nil || len(got) > 0 {
								t.Errorf("%s of %d bytes: %d bytes, %v", text, n, len(got), err)
							}
							return
						}
						if err != nil || !bytes.Equal(got, plain[from:to]) {
							t.Errorf("%s of %d bytes: %d bytes, %v", text, n, len(got), err)
						}
					}
					check(fmt.Sprintf("%d-", from), from, n)
					if from > 0 {
						check(fmt.Sprintf("-%d", from), max(0, n-from), n)
					}
					for _, last := range edges {
						if last >= from {
							check(fmt.Sprintf("%d-%d", from, last), from, last+1)
						}
					}
				}
			})
		}
	}
}

func TestRangeOfNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, sealed := range s.forms(t, nil) {
		for _, text := range []string{"0-", "0-0", "-1"} {
			if got, err := openRange(t, sealed, text, s.opens(s.eve)); KindOf(err) != Usage || err == nil {
				t.Errorf("%s, %s: %d bytes, %v", name, text, len(got), err)
			}
		}
	}
}

// TestRangeReadsWhatItNeeds counts, and alters every byte of the segments around.
func TestRangeReadsWhatItNeeds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := noise(8*SegmentPlainSize + 5)
	part := Range{first: 3*SegmentPlainSize + 10, last: 3*SegmentPlainSize + 19}
	for name, sealed := range s.forms(t, plain) {
		if name == "padded" {
			continue // looks for the end
		}
		full := MaxSegmentSize + SegmentFrameHeader
		switch name {
		case "age":
			full = MaxSegmentSize
		case "public":
			full = SegmentPlainSize + SegmentFrameHeader
		}
		tail := 5 + full - SegmentPlainSize
		if name != "public" {
			tail = 5 + 16 + full - MaxSegmentSize
		}
		begin := len(sealed) - 8*full - tail // of segment 0
		for i := range sealed {
			if at := i - begin; at >= 0 && at/full != 3 {
				sealed[i] ^= 1
			}
		}
		file := &counted{Reader: bytes.NewReader(sealed)}
		var got bytes.Buffer
		if _, err := OpenRange(t.Context(), &got, file, int64(len(sealed)), part, s.opens(s.eve)); err != nil || !bytes.Equal(got.Bytes(), plain[part.first:part.last+1]) {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
		if most := int64(begin + full + 4096); file.read > most {
			t.Errorf("%s: read %d bytes for one segment, more than %d", name, file.read, most)
		}
		// A byte of the segment itself is refused, wherever it is.
		sealed[begin+4*full-1] ^= 1
		if got, err := openRange(t, sealed, "3145738-3145747", s.opens(s.eve)); KindOf(err) != Corrupt || len(got) > 0 {
			t.Errorf("%s: an altered segment gave %d bytes, %v", name, len(got), err)
		}
	}
}

// TestRangeOfTruncated cuts the file at each segment, and in the middle of one.
func TestRangeOfTruncated(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := noise(3*SegmentPlainSize + 5)
	const full = MaxSegmentSize + SegmentFrameHeader
	forms := s.forms(t, plain)
	cut := func(name string, n int) []byte { return forms[name][:len(forms[name])-n] }
	const tail = SegmentFrameHeader + 16 + 5
	for _, n := range []int{1, 5, tail - 1, tail, tail + 1, tail + full} {
		// Who says the size shows that it is wrong, whatever part is asked for.
		if got, err := openRange(t, cut("sized", n), "0-9", s.opens(s.eve)); KindOf(err) != Corrupt || len(got) > 0 {
			t.Errorf("%d bytes less: %d bytes, %v", n, len(got), err)
		}
		// Where it isn't said, nothing is shown that depends on the end.
		for _, text := range []string{"-5", "-2000000"} {
			if got, err := openRange(t, cut("sealed", n), text, s.opens(s.eve)); KindOf(err) != Corrupt || len(got) > 0 {
				t.Errorf("%d bytes less, %s: %d bytes, %v", n, text, len(got), err)
			}
		}
		if _, err := openRange(t, cut("sealed", n), "5-", s.opens(s.eve)); KindOf(err) != Corrupt || err == nil {
			t.Errorf("%d bytes less: opened to the end, %v", n, err)
		}
	}
	if _, err := openRange(t, cut("age", 21), "-5", s.opens(s.eve)); KindOf(err) != Corrupt || err == nil {
		t.Errorf("an age file that was cut: %v", err)
	}
	if _, err := openRange(t, append(forms["sized"], 0), "0-9", s.opens(s.eve)); KindOf(err) != Corrupt || err == nil {
		t.Errorf("something follows: %v", err)
	}
	// Before the cut all is as it was.
	if got, err := openRange(t, cut("sealed", tail), "0-9", s.opens(s.eve)); err != nil || !bytes.Equal(got, plain[:10]) {
		t.Errorf("before the cut: %d bytes, %v", len(got), err)
	}
}

func TestRangeRefusesStreams(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var armored bytes.Buffer
	w := NewArmorWriter(&armored)
	if err := Seal(t.Context(), w, strings.NewReader("text"), SealOptions{Author: s.adam, Public: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, in := range [][]byte{armored.Bytes(), nil, []byte("something else")} {
		if _, err := openRange(t, in, "0-1", s.opens(s.eve)); KindOf(err) != Usage || err == nil {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	_, err := OpenRange(t.Context(), io.Discard, bytes.NewReader(s.sealed(t, []byte("for eve"), s.eve)), 0, Range{}, s.opens(s.eve))
	if err == nil {
		t.Error("a file of no bytes opened")
	}
}
