package envelope

import "context"

// A Binding gives a name of a box's namespace to an agent. The box signs it.
// The format is docs/keys.md.
type Binding struct {
	Format  uint    `cbor:"1,keyasint"` // 1
	Box     AgentID `cbor:"2,keyasint"` // whose namespace it is
	Name    string  `cbor:"3,keyasint"` // the local part: adam of adam@a-tech
	Version uint64  `cbor:"4,keyasint"` // 1 for the first
	Parent  Hash    `cbor:"5,keyasint,omitzero"`
	Time    int64   `cbor:"6,keyasint"`          // Unix milliseconds, by the box's clock; never used to order
	Agent   AgentID `cbor:"7,keyasint,omitzero"` // whom the name means; zero: nobody any more
	// Revoked says that the box doesn't vouch for the agent any longer: its
	// keys may be in the wrong hands.
	Revoked bool `cbor:"8,keyasint,omitempty"`

	signed *Signed
}

// maxBindingSize bounds the body of a binding; names are 63 bytes at most.
const maxBindingSize = 1 << 10

// SignBinding encodes b and signs it for its box, whose key signer holds.
func SignBinding(b *Binding, signer Signer) (*Signed, error) {
	body, err := Encode(b)
	if err != nil {
		return nil, Errorf(Other, "cannot encode the binding: %w", err)
	}
	s := &Signed{Body: body, Signatures: []Signature{Sign(signer, DomainBinding, body)}}
	if _, err := parseBinding(s); err != nil {
		return nil, err
	}
	return s, nil
}

func parseBinding(s *Signed) (*Binding, error) {
	var b Binding
	if err := Decode(s.Body, maxBindingSize, &b); err != nil {
		return nil, err
	}
	if b.Format != 1 {
		return nil, WithHint(Errorf(Corrupt, "binding has format %d, which this l2p does not know", b.Format), "a newer l2p may")
	}
	if err := CheckLocalName(b.Name); err != nil {
		return nil, Errorf(Corrupt, "binding has a malformed name: %w", err)
	}
	if b.Box.IsZero() || b.Version == 0 || b.Parent.IsZero() != (b.Version == 1) {
		return nil, Errorf(Corrupt, "binding has a wrong box, version or parent")
	}
	if b.Revoked && b.Agent.IsZero() {
		return nil, Errorf(Corrupt, "binding revokes nobody")
	}
	if s.Attachments != nil {
		return nil, Errorf(Corrupt, "binding has attachments")
	}
	if err := checkOtherSignatures(s); err != nil {
		return nil, err
	}
	b.signed = s
	return &b, nil
}

// Signed returns the binding's outer form. It must not be changed.
func (b *Binding) Signed() *Signed { return b.signed }

// Verify checks that the box signed b. docs finds the box's documents. Errors
// are of kind Corrupt, or of the kind that docs returned.
func (b *Binding) Verify(ctx context.Context, docs Documents) error {
	got := ed25519Signatures(b.signed)
	if len(got) != 1 || got[0].Signer != b.Box {
		return Errorf(Corrupt, "binding of %s is not signed by its box", quoteShort(b.Name))
	}
	chain, err := docs.Chain(ctx, b.Box)
	if err != nil {
		return err
	}
	signer, err := signerVersion(chain, b.Box, got[0].Version)
	if err != nil {
		return err
	}
	if signer.ID() != b.Box || signer.Kind != Box {
		return Errorf(Corrupt, "binding of %s belongs to an agent that is not a box", quoteShort(b.Name))
	}
	if !VerifyBytes(signer.SigningKey(), DomainBinding, b.signed.Body, got[0].Bytes) {
		return Errorf(Corrupt, "signature under the binding of %s does not hold", quoteShort(b.Name))
	}
	return nil
}
