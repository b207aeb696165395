package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"filippo.io/age"
)

var sizes = []int{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, SegmentPlainSize - 1, SegmentPlainSize, SegmentPlainSize + 1,
	2 * SegmentPlainSize, 5*SegmentPlainSize + 3*ChunkSize + 7, 12*SegmentPlainSize + 1}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, readers := range [][]*player{{s.eve}, {s.carl}, {s.mallory, s.eve, s.trainers, s.learn}, nil} {
		for _, n := range sizes {
			t.Run(fmt.Sprintf("%d readers/%d bytes", len(readers), n), func(t *testing.T) {
				t.Parallel()
				plain := noise(n)
				sealed := s.sealed(t, plain, readers...)
				for _, p := range readers {
					got, o := opened(t, sealed, s.opens(p))
					if !bytes.Equal(got, plain) {
						t.Fatal("the content changed")
					}
					if o.Reader() != p.Agent() || o.Author() != Verified || o.Header().Author != s.adam.Agent() || o.Header().Owner != s.adam.Agent() {
						t.Fatalf("wrong reader or author: %+v", o)
					}
				}
				if readers == nil {
					got, o := opened(t, sealed, OpenOptions{Documents: s.docs()})
					if !bytes.Equal(got, plain) || !o.Reader().IsZero() || !o.Header().Public() {
						t.Fatal("the public content changed")
					}
				}
			})
		}
	}
}

func TestRoundTripOfSlowPipes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, n := range []int{0, 1, ChunkSize + 1, SegmentPlainSize + 1} {
		plain := noise(n)
		for name, slow := range map[string]func(io.Reader) io.Reader{
			"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data with EOF": iotest.DataErrReader,
		} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				var sealed, got bytes.Buffer
				opts := SealOptions{Author: s.adam, Readers: []Recipient{s.carl.recipient(t)}}
				if err := Seal(context.Background(), &sealed, slow(bytes.NewReader(plain)), opts); err != nil {
					t.Fatal(err)
				}
				if _, err := Open(context.Background(), &got, slow(&sealed), s.opens(s.carl)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), plain) {
					t.Fatal("the content changed")
				}
			})
		}
	}
}

// TestSlowPipeIsPassedOn holds the input open and expects everything that can
// be sealed of it, and opened of that, to have come out.
func TestSlowPipeIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in, plain := io.Pipe()
	sealedIn, sealed := io.Pipe()
	gotIn, got := io.Pipe()
	ended := make(chan error, 2)
	go func() {
		err := Seal(t.Context(), sealed, in, SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}})
		sealed.CloseWithError(err)
		ended <- err
	}()
	go func() {
		_, err := Open(t.Context(), got, sealedIn, s.opens(s.eve))
		got.CloseWithError(err)
		ended <- err
	}()
	want := noise(3*SegmentPlainSize + 1)
	buf := make([]byte, SegmentPlainSize)
	go plain.Write(want[:SegmentPlainSize+1])
	for i := range 3 {
		if _, err := io.ReadFull(gotIn, buf); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf, want[i*SegmentPlainSize:][:SegmentPlainSize]) {
			t.Fatalf("segment %d changed", i)
		}
		if i < 2 {
			go plain.Write(want[(i+1)*SegmentPlainSize+1:][:SegmentPlainSize])
		}
	}
	plain.Close()
	if rest, err := io.ReadAll(gotIn); err != nil || len(rest) != 1 {
		t.Fatalf("%d bytes are left, %v", len(rest), err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// TestSegmentIsOpenedAsItComes lets segments arrive one by one, with nothing
// behind them, and expects each to come out before the next is there. In the
// bubble waiting for the next would be noticed as a deadlock.
func TestSegmentIsOpenedAsItComes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	want := noise(3*SegmentPlainSize + 1)
	sealed := s.sealed(t, want, s.eve)
	synctest.Test(t, func(t *testing.T) {
		sealedIn, arrives := io.Pipe()
		gotIn, got := io.Pipe()
		go func() {
			_, err := Open(t.Context(), got, sealedIn, s.opens(s.eve))
			got.CloseWithError(err)
		}()
		_, rest := split(t, sealed)
		arrives.Write(sealed[:len(sealed)-len(rest)])
		buf := make([]byte, SegmentPlainSize)
		for i := range 3 {
			arrives.Write(rest[:SegmentFrameHeader+MaxSegmentSize])
			rest = rest[SegmentFrameHeader+MaxSegmentSize:]
			if _, err := io.ReadFull(gotIn, buf); err != nil || !bytes.Equal(buf, want[i*SegmentPlainSize:][:SegmentPlainSize]) {
				t.Fatalf("segment %d: %v", i, err)
			}
		}
		arrives.Write(rest)
		arrives.Close()
		if last, err := io.ReadAll(gotIn); err != nil || !bytes.Equal(last, want[3*SegmentPlainSize:]) {
			t.Fatalf("%d bytes are left, %v", len(last), err)
		}
	})
}

func TestHeaderSaysWhatWasMeant(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := Version{N: 1, Hash: Hash{1}}
	opts := SealOptions{Author: s.adam, Owner: s.trainers, Name: "courses/welding", Parent: first,
		Readers: []Recipient{s.trainers.recipient(t), s.eve.recipient(t), s.trainers.recipient(t)},
		Title:   "Welding", FileName: "welding.tar", MediaType: "application/x-tar", Time: time.UnixMilli(1234)}
	_, o := opened(t, sealWith(t, []byte("x"), opts), s.opens(s.eve))
	h, p := o.Header(), o.Particulars()
	if h.Author != s.adam.Agent() || h.Owner != s.trainers.Agent() || h.Name != opts.Name || h.Version != 2 || h.Parent != first.Hash || h.Time != 1234 {
		t.Errorf("header is %+v", h)
	}
	if p.Title != opts.Title || p.FileName != opts.FileName || p.MediaType != opts.MediaType || len(p.Readers) != 2 {
		t.Errorf("particulars are %+v", p)
	}
	if bytes.Contains(sealWith(t, nil, opts), []byte(opts.Title)) {
		t.Error("the title is there in clear")
	}
}

func TestSealOfFileStatesSize(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	path := filepath.Join(t.TempDir(), "f")
	for n, skip := range map[int]int64{SegmentPlainSize + 5: 0, ChunkSize: 10} {
		if err := os.WriteFile(path, noise(n), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(skip, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var sealed bytes.Buffer
		err = Seal(t.Context(), &sealed, f, SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, o := opened(t, sealed.Bytes(), s.opens(s.eve))
		if !bytes.Equal(got, noise(n)[skip:]) || o.Header().Size == nil || *o.Header().Size != sealedLayout.size(uint64(len(got))) {
			t.Errorf("%d bytes from %d: size is %v", n, skip, o.Header().Size)
		}
	}
}

func TestSealOfChangingFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	grow := writerFunc(func(p []byte) (int, error) {
		return len(p), os.WriteFile(path, []byte("one line\nand another\n"), 0o600)
	})
	err = Seal(t.Context(), grow, f, SealOptions{Author: s.adam, Public: true})
	if KindOf(err) != Conflict {
		t.Fatalf("got %v", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSealerRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	eve, carl := s.eve.recipient(t), s.carl.recipient(t)
	passphrase, err := age.NewScryptRecipient("passphrase")
	if err != nil {
		t.Fatal(err)
	}
	many := make([]Recipient, MaxReaders+1)
	for i := range many {
		many[i] = Recipient{AgentID{byte(i), byte(i >> 8), 1}, carl.Age}
	}
	readers := []Recipient{eve}
	for name, opts := range map[string]SealOptions{
		"no author":              {Readers: readers},
		"author without id":      {Author: newborn{s.adam.key}, Readers: readers},
		"owner without id":       {Author: s.adam, Owner: newborn{s.adam.key}, Readers: readers},
		"no readers":             {Author: s.adam},
		"public with readers":    {Author: s.adam, Readers: readers, Public: true},
		"hybrid and classic":     {Author: s.adam, Readers: []Recipient{eve, carl}},
		"classic and hybrid":     {Author: s.adam, Readers: []Recipient{carl, eve}},
		"passphrase":             {Author: s.adam, Readers: []Recipient{{eve.Agent, passphrase}}},
		"too many":               {Author: s.adam, Readers: many},
		"reader without id":      {Author: s.adam, Readers: []Recipient{{AgentID{}, eve.Age}}},
		"reader without key":     {Author: s.adam, Readers: []Recipient{{Agent: eve.Agent}}},
		"bad name":               {Author: s.adam, Readers: readers, Name: "../x"},
		"parent without name":    {Author: s.adam, Readers: readers, Parent: Version{1, Hash{1}}},
		"parent without hash":    {Author: s.adam, Readers: readers, Name: "x", Parent: Version{N: 1}},
		"parent without number":  {Author: s.adam, Readers: readers, Name: "x", Parent: Version{Hash: Hash{1}}},
		"long title":             {Author: s.adam, Readers: readers, Title: strings.Repeat("x", maxTitle+1)},
		"file name with a slash": {Author: s.adam, Readers: readers, FileName: "../../etc/passwd"},
		"title that isn't UTF-8": {Author: s.adam, Readers: readers, Title: "\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewSealer(opts); KindOf(err) != Usage {
				t.Errorf("got %v, want an error of kind Usage", err)
			}
		})
	}
}

func TestSealForManyReaders(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	eve := s.eve.recipient(t)
	many := make([]Recipient, MaxReaders)
	for i := range many {
		many[i] = Recipient{AgentID{byte(i), byte(i >> 8), 1}, eve.Age}
	}
	many[MaxReaders/2] = eve
	sealed := sealWith(t, []byte("for all of you"), SealOptions{Author: s.adam, Readers: many})
	if got, _ := opened(t, sealed, s.opens(s.eve)); string(got) != "for all of you" {
		t.Error("the content changed")
	}
}

func TestSegmentsAreSealedOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealer, err := NewSealer(SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(t)}})
	if err != nil {
		t.Fatal(err)
	}
	emit := func(*Segment) error { return nil }
	if _, err := sealer.Segments(t.Context(), strings.NewReader("once"), emit); err != nil {
		t.Fatal(err)
	}
	if _, err := sealer.Segments(t.Context(), strings.NewReader("twice"), emit); err == nil {
		t.Fatal("segments were sealed twice under one key")
	}
}

func TestErrorsOfSourceAndDestination(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	opts := SealOptions{Author: s.adam, Public: true}
	broken := errors.New("broken")
	plain := noise(3 * SegmentPlainSize)
	for name, src := range map[string]io.Reader{
		"at once": iotest.ErrReader(broken),
		"later":   io.MultiReader(bytes.NewReader(plain), iotest.ErrReader(broken)),
	} {
		if err := Seal(t.Context(), io.Discard, src, opts); !errors.Is(err, broken) {
			t.Errorf("sealing a source that fails %s: %v", name, err)
		}
	}
	// What a decoder reports as cut off must not be sealed as whole.
	if err := Seal(t.Context(), io.Discard, iotest.ErrReader(io.ErrUnexpectedEOF), opts); err == nil {
		t.Error("a truncated source was sealed as though it were whole")
	}
	stuck := iotest.ErrReader(nil)
	if err := Seal(t.Context(), io.Discard, stuck, opts); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: %v", err)
	}
	for after := range 4 {
		writes := 0
		dst := writerFunc(func(p []byte) (int, error) {
			if writes++; writes > after {
				return 0, broken
			}
			return len(p), nil
		})
		if err := Seal(t.Context(), dst, bytes.NewReader(plain), opts); err != broken {
			t.Errorf("sealing to a destination that fails after %d writes: %v", after, err)
		}
		writes = 0
		sealed := s.sealed(t, plain)
		if _, err := Open(t.Context(), dst, bytes.NewReader(sealed), OpenOptions{Documents: s.docs()}); after < 3 && err != broken {
			t.Errorf("opening to a destination that fails after %d writes: %v", after, err)
		}
	}
	// A source that failed keeps its kind.
	away := Errorf(Unavailable, "the node went away")
	_, err := Open(t.Context(), io.Discard, io.MultiReader(bytes.NewReader(s.sealed(t, plain)[:2*SegmentPlainSize]), iotest.ErrReader(away)), OpenOptions{Documents: s.docs()})
	if KindOf(err) != Unavailable {
		t.Errorf("a source that went away: %v", err)
	}
}

// TestInterrupted expects Seal and Open to end with their context though their
// source never gives anything.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	wrote := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }) // the header
	if err := Seal(ctx, wrote, r, SealOptions{Author: s.adam, Public: true}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
