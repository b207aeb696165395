package envelope

import (
	"context"
	"crypto/ed25519"
	"slices"
)

// A PayloadKind says what a payload is made of.
type PayloadKind uint

const (
	PayloadPublic PayloadKind = 1 // the content itself
	PayloadSealed PayloadKind = 2 // age's chunks of the content
	PayloadPadded PayloadKind = 3 // age's chunks of the content and its padding
)

// An Origin says who sealed a payload, what it is made of and to whom it
// belongs, by both keys that were there: the writer's, and the segment key,
// which is forgotten afterwards. It goes along from header to header when the
// readers change, so that whoever publishes a payload anew can't pass it off as
// their own, take it to a place of their own, or have it read otherwise.
type Origin struct {
	Writer   Signature   `cbor:"1,keyasint"` // of who sealed the payload; Ed25519
	Segments []byte      `cbor:"2,keyasint"` // the segment key's signature, 64 bytes
	Payload  PayloadKind `cbor:"3,keyasint"`
}

// originBody returns what both signatures of an origin cover after the domain.
func originBody(writer, owner AgentID, segmentKey []byte, kind PayloadKind) []byte {
	return slices.Concat(writer[:], owner[:], segmentKey, []byte{byte(kind)})
}

func newOrigin(writer Signer, owner AgentID, segmentKey ed25519.PrivateKey, kind PayloadKind) *Origin {
	body := originBody(writer.Agent(), owner, segmentKey.Public().(ed25519.PublicKey), kind)
	return &Origin{
		Writer:   Sign(writer, DomainOrigin, body),
		Segments: SignBytes(segmentKey, DomainOrigin, body),
		Payload:  kind,
	}
}

func (o *Origin) checkForm(public bool) error {
	if o == nil || o.Writer.Algorithm != Ed25519 || len(o.Writer.Bytes) != ed25519.SignatureSize ||
		o.Writer.Signer.IsZero() || len(o.Segments) != ed25519.SignatureSize {
		return Errorf(Corrupt, "envelope doesn't say who wrote its payload")
	}
	if o.Payload < PayloadPublic || o.Payload > PayloadPadded || public != (o.Payload == PayloadPublic) {
		return Errorf(Corrupt, "envelope's payload is of a kind (%d) that it can't have", o.Payload)
	}
	return nil
}

// checkOrigin checks what of the origin needs no documents: that the segment
// key signed that the payload is by h's writer and belongs to h's owner.
func (h *Header) checkOrigin() error {
	if h.Origin == nil {
		return nil // a tombstone: checkForm insists on it otherwise
	}
	if !VerifyBytes(h.SegmentKey, DomainOrigin, h.originBody(), h.Origin.Segments) {
		return Errorf(Corrupt, "the payload was not sealed by %s as something of %s", h.Writer(), h.Owner)
	}
	return nil
}

// verifyOrigin checks the writer's signature in the origin.
func (h *Header) verifyOrigin(ctx context.Context, docs Documents) error {
	if h.Origin == nil {
		return nil
	}
	return h.verifySignature(ctx, DomainOrigin, h.originBody(), h.Origin.Writer, true, docs)
}

func (h *Header) originBody() []byte {
	return originBody(h.Writer(), h.Owner, h.SegmentKey, h.Origin.Payload)
}

// Writer returns who sealed the payload. That is not the author where another
// member of an owning group has given it other readers. For a tombstone it is
// the author.
func (h *Header) Writer() AgentID {
	if h.Origin == nil {
		return h.Author
	}
	return h.Origin.Writer.Signer
}

// Padded reports whether padding stands behind the content, so that the size of
// the payload says less of the content's.
func (h *Header) Padded() bool { return h.Origin != nil && h.Origin.Payload == PayloadPadded }
