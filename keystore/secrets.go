package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"filippo.io/age"

	"l2p/envelope"
)

const (
	// writtenWorkFactor is log2 of scrypt's cost in what we lock: about 0.8 s
	// and 256 MiB. maxWorkFactor is what we accept: locked secrets come from
	// the network, and each step doubles time and memory.
	writtenWorkFactor = 18
	maxWorkFactor     = 20

	maxSecretsSize   = 64 << 10 // bytes, locked or plain: room for hundreds of older identities
	maxOldIdentities = 256
)

// Secrets are the unlocked keys of an agent: a user, a service, or a group in
// one of its epochs. They are an envelope.Signer.
type Secrets struct {
	agent      envelope.AgentID
	version    uint64
	key        ed25519.PrivateKey
	identities []age.Identity // the newest first; at least one
	recipient  string         // of identities[0]
	// history opens the previous attachment of a group's epoch, and so all
	// epochs before; nil where the member doesn't read these.
	history age.Identity
}

// Agent returns whose keys they are.
func (s *Secrets) Agent() envelope.AgentID { return s.agent }

// DocumentVersion returns the version of the agent's document that holds the
// public keys.
func (s *Secrets) DocumentVersion() uint64 { return s.version }

// PrivateKey returns the signing key.
func (s *Secrets) PrivateKey() ed25519.PrivateKey { return s.key }

// Recipient returns the age recipient that others seal to.
func (s *Secrets) Recipient() string { return s.recipient }

// Identities returns what opens content sealed for the agent, the newest
// first, older keys included. For groups see [IdentitiesFor].
func (s *Secrets) Identities() []envelope.Identity {
	out := make([]envelope.Identity, len(s.identities))
	for i, id := range s.identities {
		out[i] = envelope.Identity{Agent: s.agent, Age: id}
	}
	return out
}

// encodedSecrets is the form of secrets on disk and in documents.
type encodedSecrets struct {
	Format   uint     `cbor:"1,keyasint"` // 1
	Seed     []byte   `cbor:"2,keyasint"`
	Identity string   `cbor:"3,keyasint"`
	Older    []string `cbor:"4,keyasint,omitempty"`
	History  string   `cbor:"5,keyasint,omitempty"` // of a group's epoch
}

// newSecrets draws keys for an agent that has no id yet. Classic asks for
// X25519 instead of ML-KEM-768 + X25519.
func newSecrets(classic bool) (*Secrets, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot make a signing key: %w", err)
	}
	id, recipient, err := newIdentity(classic)
	if err != nil {
		return nil, err
	}
	return &Secrets{version: 1, key: key, identities: []age.Identity{id}, recipient: recipient}, nil
}

// newEpoch draws keys for an epoch of a group.
func newEpoch(classic bool) (*Secrets, error) {
	s, err := newSecrets(classic)
	if err != nil {
		return nil, err
	}
	s.history, _, err = newIdentity(classic)
	return s, err
}

func newIdentity(classic bool) (age.Identity, string, error) {
	if classic {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, "", envelope.Errorf(envelope.Other, "cannot make an age identity: %w", err)
		}
		return id, id.Recipient().String(), nil
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, "", envelope.Errorf(envelope.Other, "cannot make an age identity: %w", err)
	}
	return id, id.Recipient().String(), nil
}

// publicKeys returns the signing keys as a document lists them.
func (s *Secrets) publicKeys() []envelope.SigningKey {
	return []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: s.key.Public().(ed25519.PublicKey)}}
}

// encode returns the plain secrets. The caller clears them after use.
func (s *Secrets) encode() ([]byte, error) {
	e := encodedSecrets{Format: 1, Seed: s.key.Seed()}
	for i, id := range s.identities {
		if i == 0 {
			e.Identity = identityText(id)
		} else {
			e.Older = append(e.Older, identityText(id))
		}
	}
	if s.history != nil {
		e.History = identityText(s.history)
	}
	defer clear(e.Seed)
	return envelope.Encode(e)
}

// withoutHistory returns the secrets of a group's epoch as those get them who
// don't read the epochs before.
func (s *Secrets) withoutHistory() *Secrets {
	bare := *s
	bare.history = nil
	return &bare
}

// identityText returns an identity as age prints it: both of age's types have
// that.
func identityText(id age.Identity) string { return id.(fmt.Stringer).String() }

// parseSecrets decodes plain secrets. Whose they are says bind.
func parseSecrets(data []byte) (*Secrets, error) {
	var e encodedSecrets
	if err := envelope.Decode(data, maxSecretsSize, &e); err != nil {
		return nil, envelope.Errorf(envelope.Corrupt, "malformed secrets: %w", err)
	}
	defer clear(e.Seed)
	if e.Format != 1 || len(e.Seed) != ed25519.SeedSize || len(e.Older) > maxOldIdentities {
		return nil, envelope.Errorf(envelope.Corrupt, "malformed secrets")
	}
	s := &Secrets{key: ed25519.NewKeyFromSeed(e.Seed)}
	for i, text := range append([]string{e.Identity}, e.Older...) {
		id, recipient, err := parseIdentity(text)
		if err != nil {
			return nil, err
		}
		s.identities = append(s.identities, id)
		if i == 0 {
			s.recipient = recipient
		}
	}
	if e.History != "" {
		id, _, err := parseIdentity(e.History)
		if err != nil {
			return nil, err
		}
		s.history = id
	}
	return s, nil
}

// parseIdentity parses an age identity as age prints it. Its text is secret,
// so errors don't show it, nor age's, which do.
func parseIdentity(text string) (age.Identity, string, error) {
	if strings.HasPrefix(text, "AGE-SECRET-KEY-PQ-1") {
		if id, err := age.ParseHybridIdentity(text); err == nil && id.String() == text {
			return id, id.Recipient().String(), nil
		}
	} else if id, err := age.ParseX25519Identity(text); err == nil && id.String() == text {
		return id, id.Recipient().String(), nil
	}
	return nil, "", envelope.Errorf(envelope.Corrupt, "malformed age identity among secrets")
}

// bind says whose secrets they are: those of d, whose public keys must match.
func (s *Secrets) bind(d *envelope.Document) error {
	if !d.SigningKey().Equal(s.key.Public()) || d.Recipient != s.recipient || d.Group == nil && s.history != nil {
		return envelope.WithHint(
			envelope.Errorf(envelope.Corrupt, "secrets are not those of version %d of %s", d.Version, d.ID()),
			"its keys may have been changed elsewhere")
	}
	s.agent, s.version = d.ID(), d.Version
	return nil
}

// sealFor returns the secrets as an age file for the given recipients.
func (s *Secrets) sealFor(recipients ...age.Recipient) ([]byte, error) {
	plain, err := s.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot seal secrets: %w", err)
	}
	return out.Bytes(), nil
}

// openSecrets opens an age file that holds secrets.
func openSecrets(data []byte, identities ...age.Identity) (*Secrets, error) {
	r, err := age.Decrypt(bytes.NewReader(data), identities...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSecretsSize+1))
	defer clear(plain)
	if err != nil {
		return nil, err
	}
	return parseSecrets(plain)
}

// scryptTurn is held while scrypt works, which takes 256 MiB at work factor 18.
var scryptTurn sync.Mutex

// lock returns the secrets locked by a passphrase.
func (s *Secrets) lock(passphrase []byte, workFactor int) ([]byte, error) {
	// age takes and keeps the passphrase as a string, which is out of our
	// reach until the collector gets it.
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, envelope.Errorf(envelope.Usage, "passphrase is empty")
	}
	r.SetWorkFactor(workFactor)
	scryptTurn.Lock()
	defer scryptTurn.Unlock()
	return s.sealFor(r)
}

// isLocked reports whether data are secrets that need a passphrase.
func isLocked(data []byte) bool { return bytes.HasPrefix(data, []byte("age-encryption.org/")) }

// unlock opens secrets, which may be plain: then the passphrase is not needed.
func unlock(data, passphrase []byte) (*Secrets, error) {
	if len(data) > maxSecretsSize {
		return nil, envelope.Errorf(envelope.Corrupt, "locked secrets have more than %d bytes", maxSecretsSize)
	}
	if !isLocked(data) {
		return parseSecrets(data)
	}
	if len(passphrase) == 0 {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Denied, "the keys are locked by a passphrase"),
			"give it on the terminal or with --passphrase-file")
	}
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, envelope.Errorf(envelope.Usage, "passphrase: %w", err)
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	scryptTurn.Lock()
	defer scryptTurn.Unlock()
	s, err := openSecrets(data, id)
	switch {
	case errors.Is(err, age.ErrIncorrectIdentity):
		return nil, envelope.Errorf(envelope.Denied, "wrong passphrase")
	case err != nil:
		return nil, envelope.Errorf(envelope.Corrupt, "cannot unlock the keys: %s", ageText(err))
	}
	return s, nil
}

// ageText returns the text of an error from age, which quotes hostile input at
// any length, short enough to show.
func ageText(err error) string { return fmt.Sprintf("%.200v", err) }

// recipientFor returns the recipient of an identity, which is of one of the
// types that newIdentity makes.
func recipientFor(id age.Identity) age.Recipient {
	if id, ok := id.(*age.HybridIdentity); ok {
		return id.Recipient()
	}
	return id.(*age.X25519Identity).Recipient()
}

// recipientOf parses an age recipient of our own making.
func recipientOf(text string) (age.Recipient, error) {
	if isHybrid(text) {
		return age.ParseHybridRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}
