package envelope

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// byAge opens an age file with age itself. released is what age gives away,
// also where it fails in the end.
func byAge(file []byte, armored bool, identities ...age.Identity) (released []byte, err error) {
	var src io.Reader = bytes.NewReader(file)
	if armored {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// differ reports in what our opening of a plain age file differs from age's:
// both must accept it or both refuse it, give the same plaintext, and agree on
// whether it is for somebody else. Of a file that it refuses age releases
// chunks; we may only release whole segments of those.
func differ(t *testing.T, file []byte, armored bool, identities ...age.Identity) {
	t.Helper()
	want, wantErr := byAge(file, armored, identities...)
	var opts OpenOptions
	for _, id := range identities {
		opts.Identities = append(opts.Identities, Identity{Age: id})
	}
	var buf bytes.Buffer
	_, err := Open(t.Context(), &buf, bytes.NewReader(file), opts)
	got := buf.Bytes()
	var none *age.NoIdentityMatchError
	switch {
	case (err == nil) != (wantErr == nil):
		t.Fatalf("age says %v, we say %v", wantErr, err)
	case err == nil && !bytes.Equal(got, want):
		t.Fatal("age reads something else")
	case err != nil && (KindOf(err) == NotReader) != errors.As(wantErr, &none):
		t.Fatalf("age says %v, we say %v", wantErr, err)
	case err != nil && KindOf(err) != NotReader && KindOf(err) != Corrupt:
		t.Fatalf("an error of another kind: %v", err)
	case err != nil && (!bytes.HasPrefix(want, got) || len(got)%SegmentPlainSize != 0):
		t.Fatalf("we released %d bytes, age %d", len(got), len(want))
	}
}

// FuzzAgeDifferential seals and lets age open, lets age encrypt and opens, and
// compares what both say of a changed file.
func FuzzAgeDifferential(f *testing.F) {
	s := newStage(f)
	for _, size := range sizes {
		f.Add(byte(size/ChunkSize), uint16(size%ChunkSize), byte(size), byte(alter), uint32(size), byte(1))
	}
	for how := range changes {
		f.Add(byte(1), uint16(7), byte(3), how, uint32(ChunkSize), byte(0x80))
	}
	f.Fuzz(func(t *testing.T, chunks byte, rest uint16, to, how byte, at uint32, value byte) {
		plain := noise(int(chunks%18)*ChunkSize + int(rest))
		readers, stranger := []*player{s.eve, s.mallory, s.learn}, s.carl
		if to&1 != 0 { // hybrid recipients and classic ones don't mix
			readers, stranger = []*player{s.carl}, s.eve
		}
		readers = readers[:1+int(to>>1)%len(readers)]

		var exported bytes.Buffer
		if err := Export(&exported, bytes.NewReader(s.sealed(t, plain, readers...))); err != nil {
			t.Fatal(err)
		}
		ages := make([]age.Recipient, len(readers))
		for i, r := range readers {
			ages[i] = r.recipient(t).Age
		}
		isArmored := to&0x80 != 0
		theirs := ageFile(t, plain, isArmored, ages...)
		for _, r := range readers {
			if got, err := byAge(exported.Bytes(), false, r.age); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("age reads %d bytes of %d that we sealed, %v", len(got), len(plain), err)
			}
			if got, _ := opened(t, theirs, OpenOptions{Identities: []Identity{{Age: r.age}}}); !bytes.Equal(got, plain) {
				t.Fatal("we read something else than age encrypted")
			}
		}
		differ(t, theirs, isArmored, stranger.age)
		differ(t, theirs, isArmored, stranger.age, readers[0].age)

		c := change{how % changes, 0, value}
		c.at = int(at) % exported.Len()
		if changed, ok := c.of(exported.Bytes()); ok {
			differ(t, changed, false, readers[0].age)
		}
		c.at = int(at) % len(theirs)
		if changed, ok := c.of(theirs); ok {
			differ(t, changed, isArmored, readers[0].age)
		}
	})
}

// FuzzAgeFile compares what age and we say of any age file. It begins with
// C2SP's vectors.
func FuzzAgeFile(f *testing.F) {
	var identities []age.Identity
	seen := make(map[string]bool)
	for _, v := range readCCTV(f) {
		if v.scrypt {
			continue // some passphrases take a second each
		}
		if len(v.file) < 64<<10 {
			f.Add(v.file, v.armored)
		}
		for _, id := range v.identities {
			if text := id.(interface{ String() string }).String(); !seen[text] {
				seen[text] = true
				identities = append(identities, id)
			}
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, armored bool) {
		if trimmed := bytes.TrimLeft(file, " \t\r\n"); armored != bytes.HasPrefix(trimmed, []byte(armor.Header)) {
			return // we find out by ourselves, age is told
		}
		differ(t, file, armored, identities...)
	})
}
