package envelope

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// TestExportIsAnAgeFile opens what Export writes with age itself.
func TestExportIsAnAgeFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, p := range []*player{s.eve, s.carl} {
		for _, n := range sizes {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				plain := noise(n)
				var exported bytes.Buffer
				if err := Export(&exported, bytes.NewReader(s.sealed(t, plain, p))); err != nil {
					t.Fatal(err)
				}
				r, err := age.Decrypt(bytes.NewReader(exported.Bytes()), p.age)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("age reads %d bytes, %v", len(got), err)
				}
				// And back: it opens here as a plain age file.
				got, o := opened(t, exported.Bytes(), OpenOptions{Identities: []Identity{{Age: p.age}}})
				if !bytes.Equal(got, plain) || o.Header() != nil || o.Particulars() != nil || o.Author() != Unsigned {
					t.Fatal("the exported file opened as something else")
				}
			})
		}
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealed := s.sealed(t, []byte("x"), s.eve)
	var exported bytes.Buffer
	if err := Export(&exported, bytes.NewReader(sealed)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		kind ErrorKind
	}{
		"public":      {s.sealed(t, []byte("x")), Usage},
		"age already": {exported.Bytes(), Usage},
		"nothing":     {nil, Corrupt},
		"noise":       {noise(1000), Corrupt},
		"bad age":     {resign(t, sealed, func(h *Header) { h.Age = append(h.Age, 1) }, s.adam), Corrupt},
	} {
		if err := Export(io.Discard, bytes.NewReader(c.data)); KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want kind %d", name, err, c.kind)
		}
	}
}

func ageFile(t testing.TB, plain []byte, armored bool, to ...age.Recipient) []byte {
	t.Helper()
	var buf bytes.Buffer
	var dst io.WriteCloser = struct {
		io.Writer
		io.Closer
	}{&buf, io.NopCloser(nil)}
	if armored {
		dst = armor.NewWriter(&buf)
	}
	w, err := age.Encrypt(dst, to...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if armored {
		if err := dst.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func TestOpenOfPlainAgeFiles(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	to := s.eve.recipient(t).Age
	for _, armored := range []bool{false, true} {
		for _, n := range sizes[:9] {
			plain := noise(n)
			got, o := opened(t, ageFile(t, plain, armored, to), OpenOptions{Identities: []Identity{s.eve.identity()}})
			if !bytes.Equal(got, plain) || o.Header() != nil || o.Reader() != s.eve.Agent() {
				t.Errorf("%d bytes, armored %v: it opened as something else", n, armored)
			}
		}
		file := ageFile(t, []byte("short"), armored, to)
		refused(t, file, s.opens(s.mallory), NotReader)
		refused(t, file, OpenOptions{}, NotReader)
		for n := range file[:len(file)-2] { // without its last line's end armor is whole
			if out := refused(t, file[:n], s.opens(s.eve), Corrupt); len(out) != 0 {
				t.Fatalf("something came out of the first %d bytes", n)
			}
		}
		if !armored {
			refused(t, append(file, 0), s.opens(s.eve), Corrupt)
		}
	}
}

func TestOpenOfAgeFileWithPassphrase(t *testing.T) {
	t.Parallel()
	r, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(2)
	file := ageFile(t, []byte("staple"), false, r)
	for passphrase, want := range map[string]string{"correct horse": "staple", "battery": ""} {
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			t.Fatal(err)
		}
		opts := OpenOptions{Identities: []Identity{{Age: id}}}
		if want == "" {
			refused(t, file, opts, NotReader)
		} else if got, _ := opened(t, file, opts); string(got) != want {
			t.Error("the content changed")
		}
	}
}
