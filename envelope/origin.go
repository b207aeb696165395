package envelope

import (
	"context"
	"crypto/ed25519"
	"slices"
)

// An Origin says who sealed a payload, and to whom it belongs, by both keys
// that were there: the author's, and the segment key, which is forgotten
// afterwards. It goes along from header to header when the readers change, so
// that whoever publishes a payload anew can't pass it off as their own, nor
// take it to a place of their own.
type Origin struct {
	Author   Signature `cbor:"1,keyasint"` // of who sealed the payload; Ed25519
	Segments []byte    `cbor:"2,keyasint"` // the segment key's signature, 64 bytes
}

// originBody returns what both signatures of an origin cover after the domain.
func originBody(author, owner AgentID, segmentKey []byte) []byte {
	return slices.Concat(author[:], owner[:], segmentKey)
}

func newOrigin(author Signer, owner AgentID, segmentKey ed25519.PrivateKey) *Origin {
	body := originBody(author.Agent(), owner, segmentKey.Public().(ed25519.PublicKey))
	return &Origin{
		Author:   Sign(author, DomainOrigin, body),
		Segments: SignBytes(segmentKey, DomainOrigin, body),
	}
}

func (o *Origin) checkForm() error {
	if o == nil || o.Author.Algorithm != Ed25519 || len(o.Author.Bytes) != ed25519.SignatureSize ||
		o.Author.Signer.IsZero() || len(o.Segments) != ed25519.SignatureSize {
		return Errorf(Corrupt, "envelope doesn't say who wrote its payload")
	}
	return nil
}

// checkOrigin checks what of the origin needs no documents: that the segment
// key signed that the payload is by h's writer and belongs to h's owner.
func (h *Header) checkOrigin() error {
	if h.Origin == nil {
		return nil // a tombstone: checkForm insists on it otherwise
	}
	if !VerifyBytes(h.SegmentKey, DomainOrigin, originBody(h.Writer(), h.Owner, h.SegmentKey), h.Origin.Segments) {
		return Errorf(Corrupt, "the payload was not sealed by %s as something of %s", h.Writer(), h.Owner)
	}
	return nil
}

// verifyOrigin checks the writer's signature in the origin.
func (h *Header) verifyOrigin(ctx context.Context, docs Documents) error {
	if h.Origin == nil {
		return nil
	}
	return h.verifySignature(ctx, DomainOrigin, originBody(h.Writer(), h.Owner, h.SegmentKey), h.Origin.Author, true, docs)
}

// Writer returns who sealed the payload. That is not the author where another
// member of an owning group has given it other readers. For a tombstone it is
// the author.
func (h *Header) Writer() AgentID {
	if h.Origin == nil {
		return h.Author
	}
	return h.Origin.Author.Signer
}
