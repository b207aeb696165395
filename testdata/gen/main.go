// Command gen writes the test vectors of l2p's formats, version 1, from the
// documents in docs/ alone. It must not know the packages that the vectors
// test: it imports none of them, and encodes CBOR, bech32 text and age files
// by itself. Everything random is derived from fixed labels, so that running it again writes the
// same bytes.
//
// A vector is a text of "key: value" lines, an empty line, and the bytes under
// test. Each breaks one thing, which "why" names, or nothing, and "expect"
// says what must come of it: ok, or the kind of error.
package main

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/zeebo/blake3"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: gen DIRECTORY")
	}
	w := &writer{dir: os.Args[1]}
	writeAgents(w)
	writeEnvelopes(w)
	writeDocuments(w)
	writeBindings(w)
	writeAdmission(w)
	writeMessages(w)
	if w.err != nil {
		log.Fatal(w.err)
	}
}

// A line is one "key: value" line of a vector.
type line struct{ key, value string }

// A writer writes vector files below a directory and keeps the first error.
type writer struct {
	dir string
	err error
}

// vector writes one vector. A large body is compressed.
func (w *writer) vector(folder, name, expect, why string, body []byte, lines ...line) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\nwhy: %s\n", expect, why)
	for _, l := range lines {
		fmt.Fprintf(&b, "%s: %s\n", l.key, l.value)
	}
	if len(body) > 64<<10 {
		var z bytes.Buffer
		zw := zlib.NewWriter(&z)
		zw.Write(body) // a bytes.Buffer takes everything
		zw.Close()
		body = z.Bytes()
		b.WriteString("compressed: zlib\n")
	}
	b.WriteByte('\n')
	b.Write(body)
	w.file(folder, name+".vec", b.Bytes())
}

func (w *writer) file(folder, name string, data []byte) {
	if w.err != nil {
		return
	}
	dir := filepath.Join(w.dir, folder)
	if w.err = os.MkdirAll(dir, 0o755); w.err == nil {
		w.err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
	}
}

// seed returns 32 bytes that stand for a random draw.
func seed(label string) []byte {
	sum := sha256.Sum256([]byte("l2p test vectors: " + label))
	return sum[:]
}

func signingKey(label string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(seed(label + " signing key"))
}

func public(key ed25519.PrivateKey) []byte { return key.Public().(ed25519.PublicKey) }

func hash(context string, parts ...[]byte) []byte {
	sum := blake3.Sum256(append([]byte(context), bytes.Join(parts, nil)...))
	return sum[:]
}

func sign(key ed25519.PrivateKey, domain string, body []byte) []byte {
	return ed25519.Sign(key, append([]byte(domain), body...))
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}
