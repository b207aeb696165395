package envelope

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"slices"
)

// RecoveryStep is what the numbers of recovery documents, and of no others,
// are multiples of. A thief who has the ordinary keys signs ordinary documents
// only, so that none of theirs reaches the next multiple.
const RecoveryStep = 1_000_000

// maxOrdinary bounds the numbers from one multiple of RecoveryStep on, and so
// how many documents a thief can make that everybody has to read.
const maxOrdinary = 10_000

// maxDocumentVersion is the highest number that a document may have: 999
// recoveries are enough, and a number beyond it would leave no room for the
// next multiple.
const maxDocumentVersion = 1_000*RecoveryStep - 1

// IsRecovery reports whether d is signed by the agent's recovery key: with it
// the agent has new keys, whoever has the old ones.
func (d *Document) IsRecovery() bool { return d.Version != 0 && d.Version%RecoveryStep == 0 }

// RecoveryVersion returns the number of the recovery document that follows
// version parent.
func RecoveryVersion(parent uint64) uint64 { return (parent/RecoveryStep + 1) * RecoveryStep }

// follows reports whether d names parent as its parent and has the number that
// comes after it.
func (d *Document) follows(parent *Document) bool {
	n := parent.Version + 1
	if d.IsRecovery() {
		n = RecoveryVersion(parent.Version)
	}
	return d.Parent == parent.Hash() && d.Version == n
}

// RecoveryKey returns the public key that may make a recovery document after
// d, or nil.
func (d *Document) RecoveryKey() ed25519.PublicKey { return d.Recovery }

// FindVersion returns the document of a chain that has number n, or nil. The
// numbers of a chain ascend, with gaps before recovery documents.
func FindVersion(chain []*Document, n uint64) *Document {
	i, ok := slices.BinarySearchFunc(chain, n, func(d *Document, n uint64) int { return cmp.Compare(d.Version, n) })
	if !ok {
		return nil
	}
	return chain[i]
}

// RevokedBy returns the newest recovery document of a chain if it came after
// version n, and so revoked the keys of that version; else nil.
func RevokedBy(chain []*Document, n uint64) *Document {
	for _, d := range slices.Backward(chain) {
		if d.Version <= n {
			break
		}
		if d.IsRecovery() {
			return d
		}
	}
	return nil
}

// signerVersion returns the document of a signer's chain that has number n and,
// where there is none, an error of kind NotFound that says why.
func signerVersion(chain []*Document, signer AgentID, n uint64) (*Document, error) {
	if d := FindVersion(chain, n); d != nil {
		return d, nil
	}
	if n != 0 && RevokedBy(chain, n) != nil {
		return nil, WithHint(Errorf(NotFound, "version %d of %s was left behind when the agent was recovered", n, signer),
			"its keys were somebody else's")
	}
	return nil, Errorf(NotFound, "version %d of %s is not known", n, signer)
}

// verifyRecovery checks d, a recovery document, against the documents that
// came before it: chain holds its parent.
func (d *Document) verifyRecovery(chain []*Document) error {
	i := slices.IndexFunc(chain, func(p *Document) bool { return p.Hash() == d.Parent })
	if i < 0 {
		return Errorf(NotFound, "the document that version %d of %s follows is not known", d.Version, d.Agent)
	}
	parent := chain[i]
	switch {
	case parent.ID() != d.Agent || parent.Kind != d.Kind || d.Version != RecoveryVersion(parent.Version):
		return Errorf(Corrupt, "version %d of %s does not follow from version %d that is known", d.Version, d.Agent, parent.Version)
	case len(parent.Recovery) == 0:
		return Errorf(Corrupt, "version %d of %s follows a document without a recovery key", d.Version, d.Agent)
	case d.Group != nil && d.Group.Epoch != parent.Group.Epoch+1:
		return Errorf(Corrupt, "version %d of group %s recovers it without a new epoch", d.Version, d.Agent)
	}
	for _, earlier := range chain[:i+1] {
		if d.SigningKey().Equal(earlier.SigningKey()) || d.Recipient == earlier.Recipient {
			return Errorf(Corrupt, "version %d of %s recovers it with keys of version %d", d.Version, d.Agent, earlier.Version)
		}
	}
	return d.verifySignatures(
		signature{d.Agent, 0, parent.Recovery},
		signature{d.Agent, d.Version, d.SigningKey()})
}

// checkRecovery checks an ordinary document's recovery key against the version
// before: it may be set where there was none.
func (d *Document) checkRecovery(parent *Document) error {
	if len(parent.Recovery) != 0 && !parent.RecoveryKey().Equal(d.RecoveryKey()) {
		return Errorf(Corrupt, "version %d of %s changes the recovery key, which only that key may do", d.Version, d.Agent)
	}
	return nil
}

// RevokedBy returns the recovery document that revoked the key with which the
// author signed h, or the writer its origin, or nil. s and docs are those of
// [Header.Verify], which must have passed.
func (h *Header) RevokedBy(ctx context.Context, s *Signed, docs Documents) (*Document, error) {
	signatures := ed25519Signatures(s)[:1]
	if h.Origin != nil && h.Writer() != h.Author {
		signatures = append(signatures, h.Origin.Writer)
	}
	for _, sig := range signatures {
		chain, err := docs.Chain(ctx, sig.Signer)
		if err != nil {
			return nil, err
		}
		if d := RevokedBy(chain, sig.Version); d != nil {
			return d, nil
		}
	}
	return nil, nil
}
