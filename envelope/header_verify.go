package envelope

import (
	"bytes"
	"context"
)

// Verify checks that h's author signed it, and its owner where that is another
// agent, and that the payload is by whom [Header.Writer] says. s is the outer
// form that h was parsed from. docs finds the signers' documents; nil knows
// nobody. Any version of a signer's documents will do: whether it must be the
// newest is for who stores the envelope to say.
//
// Errors are of kind Corrupt, of kind NotFound where a signer's document is
// not known, or of the kind that docs returned.
func (h *Header) Verify(ctx context.Context, s *Signed, docs Documents) error {
	if !bytes.Equal(mustEncode(h), s.Body) {
		return Errorf(Corrupt, "header is not the one that was signed")
	}
	signers := []AgentID{h.Author}
	if h.Owner != h.Author {
		signers = append(signers, h.Owner)
	}
	signatures := ed25519Signatures(s)
	if len(signatures) != len(signers) {
		return Errorf(Corrupt, "header has %d signatures where author and owner make %d", len(signatures), len(signers))
	}
	for i, sig := range signatures {
		if sig.Signer != signers[i] {
			return Errorf(Corrupt, "header is signed by %s where %s belongs", sig.Signer, signers[i])
		}
	}
	if err := h.checkOrigin(); err != nil {
		return err
	}
	for i, sig := range signatures {
		if err := h.verifySignature(ctx, DomainHeader, s.Body, sig, i == 0, docs); err != nil {
			return err
		}
	}
	return h.verifyOrigin(ctx, docs)
}

// verifySignature checks one signature against the signer's document that it names.
func (h *Header) verifySignature(ctx context.Context, domain string, body []byte, sig Signature, author bool, docs Documents) error {
	if sig.Version == 0 {
		return Errorf(Corrupt, "signature under the header doesn't say which key made it")
	}
	if docs == nil {
		return Errorf(NotFound, "no documents of %s at hand", sig.Signer)
	}
	chain, err := docs.Chain(ctx, sig.Signer)
	if err != nil {
		return err
	}
	d, err := signerVersion(chain, sig.Signer, sig.Version)
	if err != nil {
		return err
	}
	switch {
	case d.ID() != sig.Signer || d.Version != sig.Version:
		return Errorf(Corrupt, "documents of %s are of another agent", sig.Signer)
	case d.Kind == Box, author && d.Kind == Group:
		return Errorf(Corrupt, "a %s can't be the author or owner that the header makes it", d.Kind)
	case !VerifyBytes(d.SigningKey(), domain, body, sig.Bytes):
		return Errorf(Corrupt, "signature of %s under the header does not hold", sig.Signer)
	}
	return nil
}
