package envelope

import (
	"crypto/ed25519"
)

// An Algorithm names a signature scheme. Documents and headers carry a list of
// signatures, so that a second scheme can stand beside the first.
type Algorithm uint

// Ed25519 is RFC 8032 Ed25519 (pure, not pre-hashed).
const Ed25519 Algorithm = 1

// A SigningKey is a public signing key.
type SigningKey struct {
	Algorithm Algorithm `cbor:"1,keyasint"`
	Key       []byte    `cbor:"2,keyasint"` // 32 bytes for Ed25519
}

// A Signature is one signature under a [Signed] structure. It covers the
// structure's domain string followed by the exact bytes of the body.
type Signature struct {
	Algorithm Algorithm `cbor:"1,keyasint"`
	// Signer is the agent whose key signed; zero where the structure itself
	// says who (an agent's own documents, certificates).
	Signer AgentID `cbor:"2,keyasint,omitzero"`
	// Version is the version number of the signer's document that holds the
	// key; zero where no document is involved (certificates).
	Version uint64 `cbor:"3,keyasint,omitzero"`
	Bytes   []byte `cbor:"4,keyasint"` // 64 bytes for Ed25519
}

// Domains keep a signature over one kind of structure from being taken for one
// over another.
const (
	DomainDocument    = "l2p document v1\n"
	DomainHeader      = "l2p envelope header v1\n"
	DomainOrigin      = "l2p envelope origin v1\n"
	DomainBinding     = "l2p name binding v1\n"
	DomainSegment     = "l2p segment v1\n"
	DomainBoxCert     = "l2p box certificate v1\n"
	DomainNodeCert    = "l2p node certificate v1\n"
	DomainRevocation  = "l2p revocation v1\n"
	DomainGossipKey   = "l2p gossip key v1\n"
	DomainJoinRequest = "l2p join request v1\n"
	DomainHello       = "l2p client hello v1\n"
)

// A Signer signs for one agent with one key. It is implemented by an agent's
// unlocked secrets (package keystore) and by a box's key.
type Signer interface {
	// Agent returns the agent signed for.
	Agent() AgentID
	// DocumentVersion returns the version number of the agent's document that
	// holds the key.
	DocumentVersion() uint64
	// PrivateKey returns the signing key.
	PrivateKey() ed25519.PrivateKey
}

// Sign returns the signature of s under body, in the given domain.
func Sign(s Signer, domain string, body []byte) Signature {
	return Signature{
		Algorithm: Ed25519,
		Signer:    s.Agent(),
		Version:   s.DocumentVersion(),
		Bytes:     SignBytes(s.PrivateKey(), domain, body),
	}
}

// SignBytes returns the Ed25519 signature of domain ‖ body.
func SignBytes(key ed25519.PrivateKey, domain string, body []byte) []byte {
	return ed25519.Sign(key, join(domain, body))
}

// VerifyBytes reports whether sig is key's signature of domain ‖ body.
func VerifyBytes(key ed25519.PublicKey, domain string, body, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize &&
		ed25519.Verify(key, join(domain, body), sig)
}

func join(domain string, body []byte) []byte {
	m := make([]byte, 0, len(domain)+len(body))
	return append(append(m, domain...), body...)
}

// A Signed is a body with the signatures over it and the attachments that the
// body names by hash. It is the outer form of every document, header, binding,
// certificate and revocation, in a pipe, in a file, on the wire and in the
// store alike. The hash of a structure is the hash of its body alone
// ([Signed.Hash]), so that it depends neither on who signed nor on which
// attachments came along.
type Signed struct {
	Body        []byte      `cbor:"1,keyasint"`
	Signatures  []Signature `cbor:"2,keyasint"`
	Attachments [][]byte    `cbor:"3,keyasint,omitempty"`
}

// Limits of a Signed structure.
const (
	MaxSignedSize  = 24 << 20 // bytes, encoded; a group of 10,000 hybrid members takes 16 MiB
	MaxHeaderSize  = 3 << 20  // bytes, encoded envelope header record: age's 2 MiB and ours
	MaxSignatures  = 8
	MaxAttachments = 64
)

// ParseSigned decodes a Signed of at most limit bytes. It checks its outer
// form only, no signature.
func ParseSigned(data []byte, limit int) (*Signed, error) {
	var s Signed
	if err := Decode(data, limit, &s); err != nil {
		return nil, err
	}
	if len(s.Signatures) == 0 || len(s.Signatures) > MaxSignatures {
		return nil, Errorf(Corrupt, "a signed structure needs 1 to %d signatures, not %d", MaxSignatures, len(s.Signatures))
	}
	if len(s.Attachments) > MaxAttachments {
		return nil, Errorf(Corrupt, "a signed structure has at most %d attachments, not %d", MaxAttachments, len(s.Attachments))
	}
	for _, sig := range s.Signatures {
		if sig.Algorithm == Ed25519 && len(sig.Bytes) != ed25519.SignatureSize {
			return nil, Errorf(Corrupt, "an Ed25519 signature has %d bytes, not %d", ed25519.SignatureSize, len(sig.Bytes))
		}
	}
	return &s, nil
}

// Encode returns the encoding of s.
func (s *Signed) Encode() []byte { return mustEncode(s) }

// Hash returns the hash of the body. It names this version of the structure.
func (s *Signed) Hash() Hash { return HashOf("l2p body v1\n", s.Body) }

// AttachmentHash returns the hash by which a body names an attachment.
func AttachmentHash(attachment []byte) Hash { return HashOf("l2p attachment v1\n", attachment) }
