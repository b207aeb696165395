package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// A Recipient is a reader to be: the agent, and the age recipient that the
// agent's document names. [RecipientOf] makes one.
type Recipient struct {
	Agent AgentID
	Age   age.Recipient
}

// An Identity is what an agent opens envelopes with. If Agent is zero it is
// nobody's in particular and opens plain age files only.
type Identity struct {
	Agent AgentID
	Age   age.Identity
}

// RecipientOf returns the agent or group of d as a reader. Boxes read nothing:
// that is an error of kind Usage.
func RecipientOf(d *Document) (Recipient, error) {
	if d.Recipient == "" {
		return Recipient{}, Errorf(Usage, "%s is a %s, which can't be a reader", d.ID(), d.Kind)
	}
	return Recipient{d.ID(), d.age}, nil
}

const (
	ageIntro     = "age-encryption.org/v1\n"
	ageNonceSize = 16
	fileKeySize  = 16

	audienceStanza = "l2p.audience-v1"
	audienceInfo   = "l2p audience v1"

	particularsInfo      = "l2p particulars v1"
	particularsSalt      = 16
	minSealedParticulars = particularsSalt + chacha20poly1305.Overhead + 1
	maxSealedParticulars = particularsSalt + chacha20poly1305.Overhead + maxParticularsSize
)

// checkAge checks what of a header's age part can be checked without parsing
// it: nodes, which store it, have no use for more.
func checkAge(data []byte) error {
	if len(data) > maxAgeHeader+ageNonceSize || len(data) <= len(ageIntro)+ageNonceSize || !strings.HasPrefix(string(data[:len(ageIntro)]), ageIntro) {
		return Errorf(Corrupt, "envelope's age header is malformed or too large (%d bytes)", len(data))
	}
	return nil
}

// splitAge parts the age header from the nonce behind it, and insists that the
// header ends where the nonce begins.
func splitAge(data []byte) (header, nonce []byte, err error) {
	header, nonce = data[:len(data)-ageNonceSize], data[len(data)-ageNonceSize:]
	again, err := age.ExtractHeader(bytes.NewReader(header))
	if err != nil {
		return nil, nil, ageError(err)
	}
	if !bytes.Equal(again, header) {
		return nil, nil, Errorf(Corrupt, "age header does not end where its nonce begins")
	}
	return header, nonce, nil
}

// A wrapper is an age.Recipient that stands for all readers of an envelope: it
// lets each wrap the file key, adds the audience stanza, and keeps the file
// key, which age gives to nobody else.
type wrapper struct {
	readers  []Recipient
	audience audience
	fileKey  []byte
}

func (w *wrapper) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, _, err := w.WrapWithLabels(fileKey)
	return stanzas, err
}

// WrapWithLabels implements age.RecipientWithLabels.
func (w *wrapper) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	var stanzas []*age.Stanza
	var labels []string
	for i, r := range w.readers {
		s, l, err := wrap(r.Age, fileKey)
		if err != nil {
			return nil, nil, Errorf(KindOf(err), "sealing for %s: %w", r.Agent, err)
		}
		if len(l) > 1 || len(l) == 1 && l[0] != "postquantum" {
			return nil, nil, Errorf(Usage, "the recipient of %s can't be a reader's", r.Agent)
		}
		if i > 0 && !slices.Equal(labels, l) {
			return nil, nil, WithHint(Errorf(Usage, "%s and %s can't read the same envelope: one has a hybrid (post-quantum) recipient, the other a classic one", w.readers[0].Agent, r.Agent),
				"seal one envelope for each kind")
		}
		labels = l
		stanzas = append(stanzas, s...)
	}
	if len(stanzas) > MaxReaders {
		return nil, nil, Errorf(Usage, "readers make %d stanzas, more than %d", len(stanzas), MaxReaders)
	}
	commitment, err := w.audience.commitment(fileKey)
	if err != nil {
		return nil, nil, err
	}
	w.fileKey = slices.Clone(fileKey)
	return append(stanzas, &age.Stanza{Type: audienceStanza, Body: commitment}), labels, nil
}

func wrap(r age.Recipient, fileKey []byte) ([]*age.Stanza, []string, error) {
	if l, ok := r.(age.RecipientWithLabels); ok {
		return l.WrapWithLabels(fileKey)
	}
	s, err := r.Wrap(fileKey)
	return s, nil, err
}

// An audience is what the audience stanza commits to: who sealed, with which
// segment key, and for whom.
type audience struct {
	author     AgentID
	segmentKey []byte
	readers    []AgentID // ascending
}

func (a audience) commitment(fileKey []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, fileKey, nil, audienceInfo, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(a.author[:])
	mac.Write(a.segmentKey)
	for _, r := range a.readers {
		mac.Write(r[:])
	}
	return mac.Sum(nil), nil
}

// An unwrapper is an age.Identity that stands for all identities at hand, from
// the next one on. It remembers which of them matched and what the audience
// stanza says, which DecryptHeader then covers with its check of the MAC.
type unwrapper struct {
	identities []Identity
	next       int // first identity not tried yet; the one before is the one that matched
	audiences  []*age.Stanza
}

// Unwrap implements age.Identity.
func (u *unwrapper) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	u.audiences = nil
	for _, s := range stanzas {
		if s.Type == audienceStanza {
			u.audiences = append(u.audiences, s)
		}
	}
	for u.next < len(u.identities) {
		id := u.identities[u.next]
		u.next++
		fileKey, err := id.Age.Unwrap(stanzas)
		if errors.Is(err, age.ErrIncorrectIdentity) {
			continue
		}
		if err == nil && len(fileKey) != fileKeySize {
			return nil, Errorf(Corrupt, "file key has %d bytes, not %d", len(fileKey), fileKeySize)
		}
		return fileKey, err
	}
	return nil, age.ErrIncorrectIdentity
}

// agent returns the agent whose identity matched last.
func (u *unwrapper) agent() AgentID { return u.identities[u.next-1].Agent }

// commitment returns what the one audience stanza holds.
func (u *unwrapper) commitment() ([]byte, error) {
	if len(u.audiences) != 1 || len(u.audiences[0].Args) != 0 || len(u.audiences[0].Body) != sha256.Size {
		return nil, Errorf(Corrupt, "envelope doesn't say for whom it was sealed")
	}
	return u.audiences[0].Body, nil
}

// unwrap returns the file key of an age header by the next identity of u that
// matches, once the header's MAC holds. If none matches the error is of kind
// NotReader.
func (u *unwrapper) unwrap(header []byte) ([]byte, error) {
	fileKey, err := age.DecryptHeader(header, u)
	var none *age.NoIdentityMatchError
	switch {
	case err == nil:
		return fileKey, nil
	case errors.As(err, &none):
		return nil, Errorf(NotReader, "it is sealed, and for none of the identities at hand")
	default:
		return nil, ageError(err)
	}
}

// ageError gives an error of age's its kind: Corrupt, unless there is an Error
// in it that knows better.
func ageError(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return Errorf(Corrupt, "malformed age file: %w", err)
}

// checkAgeSize refuses an age header and nonce for more readers than age opens.
func checkAgeSize(data []byte) error {
	if len(data) > maxAgeHeader+ageNonceSize {
		return WithHint(Errorf(Usage, "readers make an age header of %d bytes, more than %d", len(data), maxAgeHeader), "make a group of them")
	}
	return nil
}

// sealParticulars returns salt and box of p.
func sealParticulars(p *Particulars, fileKey, salt []byte) ([]byte, error) {
	aead, err := particularsAEAD(fileKey, salt)
	if err != nil {
		return nil, err
	}
	return aead.Seal(slices.Clone(salt), make([]byte, chacha20poly1305.NonceSize), mustEncode(p), nil), nil
}

// openParticulars opens what sealParticulars made.
func openParticulars(data, fileKey []byte) (*Particulars, error) {
	aead, err := particularsAEAD(fileKey, data[:particularsSalt])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), data[particularsSalt:], nil)
	if err != nil {
		return nil, Errorf(Corrupt, "envelope's particulars don't decrypt")
	}
	return parseParticulars(plain, false)
}

func particularsAEAD(fileKey, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, fileKey, salt, particularsInfo, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.New(key)
}
