package envelope

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func armored(t testing.TB, data []byte) string {
	t.Helper()
	var buf strings.Builder
	w := NewArmorWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestArmorRoundTrip(t *testing.T) {
	t.Parallel()
	for n := range 200 {
		data := noise(n)
		text := armored(t, data)
		for _, line := range strings.Split(text, "\n") {
			if len(line) > 64 {
				t.Fatalf("%d bytes: a line of %d characters", n, len(line))
			}
		}
		// However it is written and read, it is the same.
		var tiny strings.Builder
		w := NewArmorWriter(&tiny)
		for _, b := range data {
			if _, err := w.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if tiny.String() != text {
			t.Fatalf("%d bytes: written byte by byte it is another text", n)
		}
		for _, form := range []string{text, "\n \t\r\n" + text + " \n\n", strings.ReplaceAll(text, "\n", "\r\n"), strings.TrimSuffix(text, "\n")} {
			if got, err := io.ReadAll(NewArmorReader(strings.NewReader(form))); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes: read %d, %v", n, len(got), err)
			}
		}
		if err := iotest.TestReader(NewArmorReader(iotest.HalfReader(strings.NewReader(text))), data); err != nil {
			t.Fatal(err)
		}
	}
	w := NewArmorWriter(io.Discard)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(nil); err == nil {
		t.Error("wrote after Close")
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
}

func TestArmorRefuses(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("A", 64) + "\n"
	for name, text := range map[string]string{
		"nothing":              "",
		"no end":               ArmorBegin + "\n" + full,
		"no begin":             full + ArmorEnd + "\n",
		"another begin":        "-----BEGIN AGE ENCRYPTED FILE-----\n" + full + ArmorEnd + "\n",
		"another end":          ArmorBegin + "\n" + full + "-----END AGE ENCRYPTED FILE-----\n",
		"space after begin":    ArmorBegin + " \n" + full + ArmorEnd + "\n",
		"long line":            ArmorBegin + "\n" + strings.Repeat("A", 68) + "\n" + ArmorEnd + "\n",
		"endless line":         ArmorBegin + "\n" + strings.Repeat("A", 1<<20),
		"short line in middle": ArmorBegin + "\nAAAA\n" + full + ArmorEnd + "\n",
		"padding in middle":    ArmorBegin + "\nAA==\nAAAA\n" + ArmorEnd + "\n",
		"empty line":           ArmorBegin + "\n\n" + full + ArmorEnd + "\n",
		"no padding":           ArmorBegin + "\nAAA\n" + ArmorEnd + "\n",
		"trailing bits":        ArmorBegin + "\nAAB=\n" + ArmorEnd + "\n",
		"a CR in a line":       ArmorBegin + "\nAA\rAA\n" + ArmorEnd + "\n",
		"two CRs":              ArmorBegin + "\nAAAA\r\r\n" + ArmorEnd + "\n",
		"not base64":           ArmorBegin + "\nAA-_\n" + ArmorEnd + "\n",
		"something follows":    ArmorBegin + "\n" + full + ArmorEnd + "\nx",
		"two of them":          strings.Repeat(ArmorBegin+"\n"+full+ArmorEnd+"\n", 2),
		"much space before":    strings.Repeat("\n", 2000) + ArmorBegin + "\n" + full + ArmorEnd + "\n",
		"much space after":     ArmorBegin + "\n" + full + ArmorEnd + strings.Repeat("\n", 2000),
	} {
		if got, err := io.ReadAll(NewArmorReader(strings.NewReader(text))); KindOf(err) != Corrupt || err == nil {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
	}
}

func TestArmoredEnvelope(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, n := range []int{0, 1, SegmentPlainSize + 100} {
		plain := noise(n)
		text := armored(t, s.sealed(t, plain, s.eve))
		for _, form := range []string{text, "\n" + text, strings.ReplaceAll(text, "\n", "\r\n")} {
			if got, _ := opened(t, []byte(form), s.opens(s.eve)); !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: the content changed", n)
			}
		}
	}
	text := []byte(armored(t, s.sealed(t, []byte("x"), s.carl)))
	for n := range text[:len(text)-2] {
		if out := refused(t, text[:n], s.opens(s.carl), Corrupt); len(out) != 0 {
			t.Fatalf("something came out of the first %d characters", n)
		}
	}
	for _, other := range []string{"text", "-----BEGIN PGP MESSAGE-----\nx\n", "age-encryption.org", "l2p-envelope/v2\n....", " ", "-"} {
		var buf bytes.Buffer
		if _, err := Open(t.Context(), &buf, strings.NewReader(other), s.opens(s.eve)); KindOf(err) != Corrupt {
			t.Errorf("%q: %v", other, err)
		}
	}
}

// TestArmorPassesOn expects what has come to be readable before more comes.
func TestArmorPassesOn(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	go fmt.Fprintf(w, "%s\nAAAA\n", ArmorBegin)
	buf := make([]byte, 1000)
	if n, err := NewArmorReader(r).Read(buf); n != 3 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
