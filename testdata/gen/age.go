package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"golang.org/x/crypto/chacha20poly1305"
)

var b64 = base64.RawStdEncoding

// An ageKey is an X25519 key pair of age-encryption.org/v1.
type ageKey struct{ private *ecdh.PrivateKey }

func newAgeKey(label string) ageKey {
	k, err := ecdh.X25519().NewPrivateKey(seed(label + " age key"))
	must(err)
	return ageKey{k}
}

func (k ageKey) identity() string {
	return strings.ToUpper(bech(k.private.Bytes(), "age-secret-key-"))
}

func (k ageKey) recipient() string { return bech(k.private.PublicKey().Bytes(), "age") }

func bech(data []byte, prefix string) string {
	s, err := bech32.EncodeFromBase256(prefix, data)
	must(err)
	return s
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func derive(secret, salt []byte, info string) []byte {
	k, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	must(err)
	return k
}

func aead(key, nonce, plain []byte) []byte {
	a, err := chacha20poly1305.New(key)
	must(err)
	return a.Seal(nil, nonce, plain, nil)
}

// stanza writes one recipient stanza, body wrapped at 64 columns.
func stanza(body []byte, args ...string) string {
	enc := b64.EncodeToString(body)
	s := "-> " + strings.Join(args, " ") + "\n"
	for len(enc) >= 64 {
		s, enc = s+enc[:64]+"\n", enc[64:]
	}
	return s + enc + "\n"
}

// x25519 wraps a file key for a recipient.
func x25519(fileKey []byte, to ageKey, label string) string {
	ephemeral, err := ecdh.X25519().NewPrivateKey(seed(label + " ephemeral"))
	must(err)
	shared, err := ephemeral.ECDH(to.private.PublicKey())
	must(err)
	salt := append(ephemeral.PublicKey().Bytes(), to.private.PublicKey().Bytes()...)
	key := derive(shared, salt, "age-encryption.org/v1/X25519")
	return stanza(aead(key, make([]byte, 12), fileKey), "X25519", b64.EncodeToString(ephemeral.PublicKey().Bytes()))
}

// ageHeader returns everything of an age file before its first chunk.
func ageHeader(fileKey, nonce []byte, stanzas ...string) []byte {
	h := "age-encryption.org/v1\n" + strings.Join(stanzas, "") + "---"
	mac := hmac.New(sha256.New, derive(fileKey, nil, "header"))
	mac.Write([]byte(h))
	return append([]byte(h+" "+b64.EncodeToString(mac.Sum(nil))+"\n"), nonce...)
}

// agePayload returns the chunks of a plaintext shorter than 64 KiB.
func agePayload(fileKey, nonce, plain []byte) []byte {
	last := make([]byte, 12)
	last[11] = 1
	return aead(derive(fileKey, nonce, "payload"), last, plain)
}

// audience returns the commitment to author, segment key and readers.
func audience(fileKey, author, segmentKey []byte, readers ...[]byte) []byte {
	mac := hmac.New(sha256.New, derive(fileKey, nil, "l2p audience v1"))
	mac.Write(author)
	mac.Write(segmentKey)
	mac.Write(bytes.Join(readers, nil))
	return mac.Sum(nil)
}
