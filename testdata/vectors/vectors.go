// Package vectors reads the test vectors that testdata/gen writes, for the
// tests of the packages that they test. It must not know what they contain.
package vectors

import (
	"bytes"
	"compress/zlib"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Vector is one file: what must come of Body, and why.
type Vector struct {
	Name   string
	Expect string // "ok", or the kind of error: "corrupt", "not-reader"
	Fields map[string]string
	Body   []byte
}

// maxBody bounds what a compressed vector may unfold to.
const maxBody = 16 << 20

// Read returns the vectors of a folder below testdata; dir is the way there.
// It fails the test if there are none.
func Read(t *testing.T, dir, folder string) []Vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, folder, "*.vec"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s/%s (%v)", dir, folder, err)
	}
	var list []Vector
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, body, ok := bytes.Cut(data, []byte("\n\n"))
		if !ok {
			t.Fatalf("%s has no empty line", file)
		}
		v := Vector{Name: strings.TrimSuffix(filepath.Base(file), ".vec"), Fields: make(map[string]string), Body: body}
		for _, l := range strings.Split(string(head), "\n") {
			key, value, ok := strings.Cut(l, ": ")
			if !ok {
				t.Fatalf("%s: a line without a colon: %q", file, l)
			}
			v.Fields[key] = value
		}
		v.Expect = v.Fields["expect"]
		if v.Fields["compressed"] == "zlib" {
			v.Body = inflate(t, file, body)
		}
		list = append(list, v)
	}
	return list
}

func inflate(t *testing.T, file string, body []byte) []byte {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return data
}
