package agentdtest

import (
	"crypto/ed25519"
	"testing"
	"time"

	"filippo.io/age"

	"l2p/envelope"
)

// An Author is a user who writes public envelopes in tests. It implements
// envelope.Signer.
type Author struct {
	Key ed25519.PrivateKey
	Doc *envelope.Document
}

// NewAuthor makes a user with keys of its own.
func NewAuthor(t testing.TB) *Author {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	a := &Author{Key: key}
	a.Doc, err = envelope.SignDocument(&envelope.Document{
		Format:    1,
		Kind:      envelope.User,
		Version:   1,
		Time:      time.Now().UnixMilli(),
		Keys:      []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: key.Public().(ed25519.PublicKey)}},
		Recipient: identity.Recipient().String(),
	}, nil, a)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Agent returns the author's id.
func (a *Author) Agent() envelope.AgentID {
	if a.Doc == nil {
		return envelope.AgentID{}
	}
	return a.Doc.ID()
}

// DocumentVersion returns 1: an author of tests never changes keys.
func (a *Author) DocumentVersion() uint64 { return 1 }

// PrivateKey returns the signing key.
func (a *Author) PrivateKey() ed25519.PrivateKey { return a.Key }
