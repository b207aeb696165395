package envelope

import (
	"bytes"
	"io"
	"os"
	"testing"

	"filippo.io/age"
)

const benchSize = 64 << 20

// pipes says what stands between the program and its source: a kernel pipe, or
// nothing but memory.
var benchSources = map[string]func(b *testing.B, data []byte) io.Reader{
	"memory": func(_ *testing.B, data []byte) io.Reader { return onlyReader{bytes.NewReader(data)} },
	"pipe": func(b *testing.B, data []byte) io.Reader {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			w.Write(data)
			w.Close()
		}()
		b.Cleanup(func() { r.Close() })
		return r
	},
}

// onlyReader hides what else a reader can do.
type onlyReader struct{ io.Reader }

func BenchmarkSeal(b *testing.B) {
	s := newStage(b)
	plain := noise(benchSize)
	recipient := s.eve.recipient(b)
	for name, source := range benchSources {
		b.Run(name+"/l2p", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				opts := SealOptions{Author: s.adam, Readers: []Recipient{recipient}}
				if err := Seal(b.Context(), io.Discard, source(b, plain), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/age", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				w, err := age.Encrypt(io.Discard, recipient.Age)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(w, source(b, plain)); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newStage(b)
	sealed := s.sealed(b, noise(benchSize), s.eve)
	var plainAge bytes.Buffer
	if err := Export(&plainAge, bytes.NewReader(sealed)); err != nil {
		b.Fatal(err)
	}
	for name, source := range benchSources {
		b.Run(name+"/l2p", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(b.Context(), io.Discard, source(b, sealed), s.opens(s.eve)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/age", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				r, err := age.Decrypt(source(b, plainAge.Bytes()), s.eve.age)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSealSmall seals a page of text, where the keys cost the most.
func BenchmarkSealSmall(b *testing.B) {
	s := newStage(b)
	opts := SealOptions{Author: s.adam, Readers: []Recipient{s.eve.recipient(b)}}
	plain := noise(1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := Seal(b.Context(), io.Discard, bytes.NewReader(plain), opts); err != nil {
			b.Fatal(err)
		}
	}
}
