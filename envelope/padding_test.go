package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"filippo.io/age"
)

func TestPadme(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]uint64{
		0: 0, 1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 10, 10: 10, 11: 12, 15: 16, 16: 16, 17: 18, 100: 104, 1000: 1024,
		1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15, 1_000_000_000: 1_006_632_960, 1 << 40: 1 << 40, 1<<40 + 1: 1<<40 + 1<<34,
	} {
		if got := padme(n); got != want {
			t.Errorf("padme(%d) is %d, not %d", n, got, want)
		}
	}
	check := func(n uint64) {
		p := padme(n)
		if p < n || padme(p) != p || padme(p+1) <= p || p-n > n/100*12+n%100*12/100 {
			t.Fatalf("padme(%d) is %d", n, p)
		}
	}
	for n := range uint64(1 << 16) {
		check(n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		check(r.Uint64() >> (4 + r.IntN(44)))
	}
}

// padded returns a content with its padding, made in the plainest way.
func padded(content []byte) []byte {
	out := append(bytes.Clone(content), padMark)
	return append(out, make([]byte, paddedSize(uint64(len(content)))-uint64(len(out)))...)
}

// unpad takes the padding off in the plainest way.
func unpad(data []byte) ([]byte, bool) {
	content := bytes.TrimRight(data, "\x00")
	if !bytes.HasSuffix(content, []byte{padMark}) {
		return nil, false
	}
	content = content[:len(content)-1]
	return content, paddedSize(uint64(len(content))) == uint64(len(data))
}

// hardContents end in what looks like padding.
func hardContents() map[string][]byte {
	return map[string][]byte{
		"mark":               {padMark},
		"marks":              bytes.Repeat([]byte{padMark}, 3),
		"zeros":              make([]byte, 5),
		"mark and zeros":     append([]byte{'x', padMark}, make([]byte, 70_000)...),
		"padded":             padded([]byte("twice")),
		"zeros over a chunk": make([]byte, ChunkSize+1),
		"mark at the end":    append(noise(SegmentPlainSize-1), padMark),
		"zeros between":      append(append([]byte{padMark}, make([]byte, 2*SegmentPlainSize)...), 'x'),
	}
}

func TestPaddedRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	contents := hardContents()
	for _, n := range append([]int{2, 6, 7, 8, 9, 15, 16, 17, 1022, 1023, 1024}, sizes...) {
		contents[fmt.Sprint(n)] = noise(n)
	}
	for name, content := range contents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed := sealWith(t, content, SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}, Pad: true})
			got, o := opened(t, sealed, s.opens(s.eve))
			if !bytes.Equal(got, content) || !o.Header().Padded() {
				t.Fatalf("%d bytes came back, not %d", len(got), len(content))
			}
			var slow bytes.Buffer
			if _, err := Open(t.Context(), &slow, iotest.HalfReader(bytes.NewReader(sealed)), s.opens(s.eve)); err != nil || !bytes.Equal(slow.Bytes(), content) {
				t.Errorf("read slowly: %v", err)
			}
			// An age program finds the padding inside.
			var plainAge bytes.Buffer
			if err := Export(&plainAge, bytes.NewReader(sealed)); err != nil {
				t.Fatal(err)
			}
			r, err := age.Decrypt(&plainAge, s.eve.age)
			if err != nil {
				t.Fatal(err)
			}
			if inside, err := io.ReadAll(r); err != nil || !bytes.Equal(inside, padded(content)) {
				t.Errorf("age finds %d bytes: %v", len(inside), err)
			}
		})
	}
}

func TestPaddedFileStatesItsSize(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, noise(100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sealed bytes.Buffer
	if err := Seal(t.Context(), &sealed, f, SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}, Pad: true}); err != nil {
		t.Fatal(err)
	}
	got, o := opened(t, sealed.Bytes(), s.opens(s.eve))
	if !bytes.Equal(got, noise(100_000)) || *o.Header().Size != sealedLayout.size(paddedSize(100_000)) {
		t.Errorf("%d bytes, size %d", len(got), *o.Header().Size)
	}
	if _, err := NewSealer(SealOptions{Author: s.adam, Public: true, Pad: true}); KindOf(err) != Usage {
		t.Errorf("padded for everybody: %v", err)
	}
}

// TestPaddingStaysWhenShared: a new header says that there is padding, too.
func TestPaddingStaysWhenShared(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	signed, rest := split(t, sealWith(t, noise(99), SealOptions{Author: s.adam, Readers: []Recipient{s.adam.recipient(t)}, Pad: true}))
	o, err := NewOpener(t.Context(), signed, s.opens(s.adam))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = o.Rewrap(RewrapOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := opened(t, append(appendHeader(nil, signed), rest...), s.opens(s.eve)); !bytes.Equal(got, noise(99)) {
		t.Error("the content changed")
	}
}

// TestWrongPadding seals as padded what isn't.
func TestWrongPadding(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	right := padded(noise(1000))
	for name, plain := range map[string][]byte{
		"empty":              {},
		"none":               noise(1000),
		"only zeros":         make([]byte, 1024),
		"no zeros":           append(noise(1000), padMark),
		"a zero too few":     right[:len(right)-1],
		"a zero too many":    append(bytes.Clone(right), 0),
		"the next length":    append(bytes.Clone(right), make([]byte, padme(uint64(len(right)+1))-uint64(len(right)))...),
		"another mark":       bytes.Replace(right, append([]byte{padMark}, make([]byte, 3)...), []byte{0x81, 0, 0, 0}, 1),
		"not only zeros":     append(bytes.Clone(right[:len(right)-1]), 1),
		"a mark for nothing": {padMark, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealer, err := NewSealer(SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}, Pad: true})
			if err != nil {
				t.Fatal(err)
			}
			sealer.pad = false
			signed, err := sealer.Header(nil)
			if err != nil {
				t.Fatal(err)
			}
			sealed := appendHeader(nil, signed)
			if _, err := sealer.Segments(t.Context(), bytes.NewReader(plain), func(g *Segment) error {
				sealed = g.AppendFrame(sealed)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			refused(t, sealed, s.opens(s.eve), Corrupt)
		})
	}
}

// TestContentErrors: what the destination says comes through, whenever.
func TestContentErrors(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	data := append(append([]byte{'a', padMark}, make([]byte, 100_000)...), 'b')
	for room := range 4 {
		w := &limited{room: []int{0, 1, 2, 70_000}[room], err: full}
		u := &unpadder{dst: w}
		var err error
		for _, piece := range [][]byte{data[:1], data[1:2], data[2:100_002], data[100_002:]} {
			if _, err = u.Write(piece); err != nil {
				break
			}
		}
		if err != full {
			t.Errorf("room for %d: %v", w.room, err)
		}
	}
}

// A limited writer has room for so many bytes.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.room {
		return 0, l.err
	}
	l.room -= len(p)
	return len(p), nil
}

// FuzzContent takes padding off whatever comes in pieces.
func FuzzContent(f *testing.F) {
	for _, c := range hardContents() {
		if len(c) < 1000 {
			f.Add(c, uint(1))
			f.Add(padded(c), uint(3))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint) {
		var out bytes.Buffer
		u := &unpadder{dst: &out}
		step := int(piece%64) + 1
		for rest := data; len(rest) > 0; {
			n := min(step, len(rest))
			if _, err := u.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			if rest = rest[n:]; !bytes.HasPrefix(data, out.Bytes()) {
				t.Fatal("something else came out than went in")
			}
		}
		err := u.Close()
		content, ok := unpad(data)
		if ok != (err == nil) || err != nil && KindOf(err) != Corrupt {
			t.Fatalf("right padding: %v, and Close says %v", ok, err)
		}
		if ok && !bytes.Equal(out.Bytes(), content) {
			t.Error("another content came out")
		}
		// As a content it comes back, however slowly it is read.
		again, err := io.ReadAll(&padder{src: iotest.OneByteReader(bytes.NewReader(data))})
		if err != nil || !bytes.Equal(again, padded(data)) {
			t.Errorf("padded wrongly: %v", err)
		}
	})
}
