package envelope

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	s := newStage(f)
	for _, sealed := range s.smallEnvelopes(f) {
		signed, _ := split(f, sealed)
		f.Add(signed.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		signed, err := ParseSigned(data, MaxHeaderSize)
		if err != nil {
			return
		}
		h, err := ParseHeader(signed)
		if err != nil {
			return
		}
		if !bytes.Equal(mustEncode(h), signed.Body) || !bytes.Equal(signed.Encode(), data) {
			t.Error("a header has two encodings")
		}
		if _, err := NewOpener(t.Context(), signed, OpenOptions{}); err == nil {
			t.Error("a header that nobody knows was believed")
		}
	})
}

// FuzzOpen opens whatever comes, as one who knows nobody and would open
// anything. What opens must have been there before.
func FuzzOpen(f *testing.F) {
	s := newStage(f)
	for _, sealed := range s.smallEnvelopes(f) {
		f.Add(sealed)
		f.Add([]byte(armored(f, sealed)))
	}
	f.Add(ageFile(f, []byte("plain"), false, s.carl.recipient(f).Age))
	f.Add(ageFile(f, []byte("plain"), true, s.carl.recipient(f).Age))
	opts := s.all()
	opts.AllowUnknownAuthor = true
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		o, err := Open(context.Background(), &out, bytes.NewReader(data), opts)
		if err != nil && KindOf(err) == Other {
			t.Errorf("an error without a kind: %v", err)
		}
		if err == nil && o.Header() != nil && o.Author() == Verified && o.Header().Author.IsZero() {
			t.Error("an envelope without an author opened")
		}
		_ = Export(io.Discard, bytes.NewReader(data))
	})
}

func FuzzParseSegment(f *testing.F) {
	for _, g := range []*Segment{signedSegment(0, true, nil), signedSegment(0, true, []byte("x")), signedSegment(3, true, noise(100))} {
		f.Add(g.ID.Index, g.AppendFrame(nil))
	}
	f.Fuzz(func(t *testing.T, index uint64, frame []byte) {
		id := SegmentID{Index: index}
		g, err := ParseSegment(id, frame)
		r := bytes.NewReader(frame)
		read, readErr := ReadSegment(r, id, nil)
		if (err == nil) != (readErr == nil && r.Len() == 0) {
			t.Fatalf("parsed: %v, read: %v", err, readErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(g.AppendFrame(nil), frame) || !bytes.Equal(read.AppendFrame(nil), frame) {
			t.Error("a segment has two frames")
		}
		if g.Verify() == nil {
			t.Error("a segment proved itself by a key of zeros")
		}
	})
}

func FuzzArmor(f *testing.F) {
	f.Add(armored(f, nil))
	f.Add(armored(f, noise(48)))
	f.Add("\n" + armored(f, noise(100)) + "\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := io.ReadAll(NewArmorReader(strings.NewReader(text)))
		if err != nil {
			if KindOf(err) != Corrupt {
				t.Errorf("got %v", err)
			}
			return
		}
		// One envelope has one armor, but for white space.
		trim := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
		if trim(armored(t, data)) != trim(text) {
			t.Error("an envelope has two armors")
		}
	})
}
