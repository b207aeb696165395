package keystore

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"

	"github.com/btcsuite/btcd/btcutil/bech32"

	"l2p/envelope"
)

// recoveryPrefix is the human-readable part of a printed recovery key.
const recoveryPrefix = "l2p-recovery-"

// A RecoveryKey gives an agent new keys when the old ones are stolen or lost.
// It is on paper; no keystore keeps it.
type RecoveryKey struct{ key ed25519.PrivateKey }

// NewRecoveryKey draws a recovery key.
func NewRecoveryKey() (*RecoveryKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot make a recovery key: %w", err)
	}
	return &RecoveryKey{key}, nil
}

// ParseRecoveryKey reads a recovery key as Text prints it or as somebody types
// it from paper: in upper or lower case, with white space anywhere. Errors, of
// kind Usage, don't show it.
func ParseRecoveryKey(text string) (*RecoveryKey, error) {
	if len(text) > 1<<10 {
		return nil, envelope.Errorf(envelope.Usage, "that is too long for a recovery key")
	}
	text = strings.ToLower(strings.Join(strings.Fields(text), ""))
	prefix, seed, err := bech32.DecodeToBase256(text)
	if err != nil || prefix != recoveryPrefix || len(seed) != ed25519.SeedSize {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "the recovery key is mistyped"), "it looks like L2P-RECOVERY-1… and has 72 characters")
	}
	defer clear(seed)
	return &RecoveryKey{ed25519.NewKeyFromSeed(seed)}, nil
}

// Text returns the secret key, for paper.
func (k *RecoveryKey) Text() string {
	text, err := bech32.EncodeFromBase256(recoveryPrefix, k.key.Seed())
	if err != nil {
		panic("keystore: bech32 refused 32 bytes: " + err.Error()) // cannot happen
	}
	return strings.ToUpper(text)
}

// Public returns the public key, which documents carry.
func (k *RecoveryKey) Public() ed25519.PublicKey { return k.key.Public().(ed25519.PublicKey) }

// A recoverySigner signs recovery documents of one agent.
type recoverySigner struct {
	*RecoveryKey
	agent envelope.AgentID
}

func (s recoverySigner) Agent() envelope.AgentID        { return s.agent }
func (recoverySigner) DocumentVersion() uint64          { return 0 } // it is none of a document's keys
func (s recoverySigner) PrivateKey() ed25519.PrivateKey { return s.key }

// Check refuses, with an error of kind Denied, a key that isn't the one of d.
func (k *RecoveryKey) Check(d *envelope.Document) error {
	switch {
	case len(d.Recovery) == 0:
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "%s has no recovery key", title(d)),
			"only who has its keys can change them: l2p agent rotate")
	case !d.RecoveryKey().Equal(k.Public()):
		return envelope.Errorf(envelope.Denied, "this is not the recovery key of %s", title(d))
	}
	return nil
}
