package envelope

import (
	"bytes"
	"crypto/ed25519"
	"testing"
)

func TestSignatureCoversDomainAndBody(t *testing.T) {
	t.Parallel()
	key, other := seedOf("a"), seedOf("b")
	public := key.Public().(ed25519.PublicKey)
	sig := SignBytes(key, DomainHeader, []byte("body"))
	if !VerifyBytes(public, DomainHeader, []byte("body"), sig) {
		t.Fatal("a signature doesn't hold")
	}
	for name, holds := range map[string]bool{
		"another domain": VerifyBytes(public, DomainDocument, []byte("body"), sig),
		"another body":   VerifyBytes(public, DomainHeader, []byte("bodY"), sig),
		"another key":    VerifyBytes(other.Public().(ed25519.PublicKey), DomainHeader, []byte("body"), sig),
		"a short key":    VerifyBytes(public[:31], DomainHeader, []byte("body"), sig),
		"no key":         VerifyBytes(nil, DomainHeader, []byte("body"), sig),
		"a short one":    VerifyBytes(public, DomainHeader, []byte("body"), sig[:63]),
		"none":           VerifyBytes(public, DomainHeader, []byte("body"), nil),
	} {
		if holds {
			t.Errorf("a signature holds for %s", name)
		}
	}
}

// TestDomainsAreDistinct: no domain may begin with another.
func TestDomainsAreDistinct(t *testing.T) {
	t.Parallel()
	domains := []string{DomainDocument, DomainHeader, DomainBinding, DomainSegment, DomainBoxCert, DomainNodeCert, DomainRevocation, DomainGossipKey, DomainJoinRequest, DomainHello}
	for i, a := range domains {
		if bytes.IndexByte([]byte(a), '\n') != len(a)-1 {
			t.Errorf("%q doesn't end with its only newline", a)
		}
		for _, b := range domains[:i] {
			if a == b {
				t.Errorf("%q is there twice", a)
			}
		}
	}
}

func TestParseSigned(t *testing.T) {
	t.Parallel()
	sig := Signature{Algorithm: Ed25519, Signer: AgentID{1}, Version: 1, Bytes: make([]byte, 64)}
	many := func(n int) []Signature {
		var s []Signature
		for range n {
			s = append(s, sig)
		}
		return s
	}
	short := sig
	short.Bytes = short.Bytes[:63]
	for name, c := range map[string]struct {
		s  Signed
		ok bool
	}{
		"right":                {Signed{[]byte("b"), many(1), nil}, true},
		"with attachments":     {Signed{[]byte("b"), many(MaxSignatures), make([][]byte, MaxAttachments)}, true},
		"no signature":         {Signed{[]byte("b"), nil, nil}, false},
		"many signatures":      {Signed{[]byte("b"), many(MaxSignatures + 1), nil}, false},
		"many attachments":     {Signed{[]byte("b"), many(1), make([][]byte, MaxAttachments+1)}, false},
		"a short signature":    {Signed{[]byte("b"), []Signature{short}, nil}, false},
		"an unknown algorithm": {Signed{[]byte("b"), []Signature{{Algorithm: 2, Bytes: []byte{1}}}, nil}, true},
	} {
		data := c.s.Encode()
		got, err := ParseSigned(data, len(data))
		if (err == nil) != c.ok || err != nil && KindOf(err) != Corrupt {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !bytes.Equal(got.Encode(), data) {
			t.Errorf("%s: it changed", name)
		}
		if _, err := ParseSigned(data, len(data)-1); KindOf(err) != Corrupt {
			t.Errorf("%s over its limit: %v", name, err)
		}
	}
}

// TestHashIsOfTheBody: who signed and what came along doesn't change it.
func TestHashIsOfTheBody(t *testing.T) {
	t.Parallel()
	a := Signed{Body: []byte("body"), Signatures: []Signature{{Algorithm: 1}}}
	b := Signed{Body: []byte("body"), Attachments: [][]byte{{1}}}
	if a.Hash() != b.Hash() || a.Hash() == (&Signed{Body: []byte("bodY")}).Hash() {
		t.Error("the hash is not the body's")
	}
}

func FuzzParseSigned(f *testing.F) {
	f.Add((&Signed{Body: []byte("b"), Signatures: []Signature{{Algorithm: Ed25519, Bytes: make([]byte, 64)}}}).Encode())
	f.Add((&Signed{Body: []byte("b"), Signatures: []Signature{{Algorithm: 2, Signer: AgentID{1}, Version: 3}}, Attachments: [][]byte{nil, {1}}}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseSigned(data, MaxSignedSize); err == nil && !bytes.Equal(s.Encode(), data) {
			t.Error("a structure has two encodings")
		}
	})
}
