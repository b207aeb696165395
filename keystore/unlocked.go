package keystore

import (
	"l2p/envelope"
)

// Stamp returns a hash of an agent's secrets as they are kept. It changes
// whenever they do, with other keys or another passphrase: who remembers the
// unlocked secrets learns by it that they are out of date.
func (s *Store) Stamp(a *Agent) (envelope.Hash, error) {
	stored, err := s.secretsOf(a.Document)
	if err != nil {
		return envelope.Hash{}, err
	}
	defer clear(stored)
	return envelope.HashOf("l2p keystore stamp v1\n", stored), nil
}

// Plain returns the unlocked secrets as bytes, at most MaxPlain of them, for
// [Store.Resume] in another process of the same user. They belong in memory
// only, and are to be cleared after use.
func (s *Secrets) Plain() ([]byte, error) { return s.encode() }

// MaxPlain is the most bytes that unlocked secrets have.
const MaxPlain = maxSecretsSize

// Resume returns the secrets of an agent of the store from what Plain gave, at
// no cost. Those that aren't the ones of the agent's newest document are an error of
// kind Corrupt.
func (s *Store) Resume(a *Agent, plain []byte) (*Secrets, error) {
	secrets, err := parseSecrets(plain)
	if err != nil {
		return nil, err
	}
	return secrets, secrets.bind(a.Document)
}
