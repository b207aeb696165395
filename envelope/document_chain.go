package envelope

import (
	"bytes"
	"context"
	"slices"
)

// SignDocument encodes d, signs it and returns it as others will read it. The
// attachments are those whose hashes d names, in the order of docs/keys.md.
//
// The signers are those that the chain rules ask for: the agent's own key,
// where the key changes the old and then the new one, for a group one of its
// admins, and for a recovery document the recovery key and then the new one. In a first document an agent does not know its id yet: the
// signer's Agent is zero, its DocumentVersion is 1.
func SignDocument(d *Document, attachments [][]byte, signers ...Signer) (*Document, error) {
	body, err := Encode(d)
	if err != nil {
		return nil, Errorf(Other, "cannot encode the document: %w", err)
	}
	s := &Signed{Body: body, Attachments: attachments}
	for _, signer := range signers {
		s.Signatures = append(s.Signatures, Sign(signer, DomainDocument, body))
	}
	data := s.Encode()
	if len(data) > MaxSignedSize {
		return nil, Errorf(Full, "document has %d bytes, more than the limit of %d", len(data), MaxSignedSize)
	}
	return ParseDocument(data)
}

// VerifyChain checks that chain holds all documents of one agent from the
// first on, oldest first, and that each follows from the one before by the
// chain rules of docs/keys.md. docs finds the documents of a group's admins;
// for other agents it may be nil. Errors are of kind Corrupt, or of the kind
// that docs returned.
func VerifyChain(ctx context.Context, chain []*Document, docs Documents) error {
	if len(chain) == 0 {
		return Errorf(NotFound, "no documents")
	}
	once := &askedOnce{docs: docs}
	for i, d := range chain {
		if i == 0 && d.Version != 1 || i > 0 && !d.follows(chain[i-1]) {
			return Errorf(Corrupt, "version %d, document %d of a chain, does not follow from the one before", d.Version, i+1)
		}
		if err := VerifyDocument(ctx, d, chain[:i], once); err != nil {
			return err
		}
	}
	return nil
}

// askedOnce asks docs once for each agent, so that verifying a long chain of
// a group doesn't read its admin's documents for each version anew.
type askedOnce struct {
	docs   Documents
	chains map[AgentID][]*Document
}

func (a *askedOnce) Chain(ctx context.Context, id AgentID) ([]*Document, error) {
	if chain, ok := a.chains[id]; ok {
		return chain, nil
	}
	if a.docs == nil {
		return nil, Errorf(NotFound, "no documents of %s at hand", id)
	}
	chain, err := a.docs.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.chains == nil {
		a.chains = map[AgentID][]*Document{}
	}
	a.chains[id] = chain
	return chain, nil
}

// VerifyDocument checks that d is what it says: the first document of its
// agent, or one that follows a document of chain by the chain rules of
// docs/keys.md. chain holds verified documents of the agent, oldest first, each
// the parent of the next; later ones than needed are passed over. docs finds
// the documents of a group's admins. A chain that is too short is an error of
// kind NotFound, a broken rule one of kind Corrupt.
func VerifyDocument(ctx context.Context, d *Document, chain []*Document, docs Documents) error {
	if d.Version == 1 {
		if d.Kind == Group {
			return d.verifyAdmin(ctx, d.Group.Admins, docs)
		}
		return d.verifySignatures(signature{version: 1, key: d.SigningKey()})
	}
	if d.IsRecovery() {
		return d.verifyRecovery(chain)
	}
	parent := FindVersion(chain, d.Version-1)
	if parent == nil {
		return Errorf(NotFound, "version %d of %s is not known, so version %d can't be checked", d.Version-1, d.Agent, d.Version)
	}
	if parent.ID() != d.Agent || parent.Kind != d.Kind || parent.Hash() != d.Parent {
		return Errorf(Corrupt, "version %d of %s does not follow from version %d that is known", d.Version, d.Agent, d.Version-1)
	}
	if err := d.checkRecovery(parent); err != nil {
		return err
	}
	if d.Kind == Group {
		if err := d.checkEpoch(parent); err != nil {
			return err
		}
		if err := d.verifyAdmin(ctx, parent.Group.Admins, docs); err != nil {
			return err
		}
		return d.checkAdminKey(chain)
	}
	want := []signature{{d.Agent, parent.Version, parent.SigningKey()}}
	if !d.SigningKey().Equal(parent.SigningKey()) {
		want = append(want, signature{d.Agent, d.Version, d.SigningKey()})
	}
	return d.verifySignatures(want...)
}

// checkEpoch checks a group's epoch, keys and members against the version before.
func (d *Document) checkEpoch(parent *Document) error {
	sameKey := d.SigningKey().Equal(parent.SigningKey())
	sameRecipient := d.Recipient == parent.Recipient
	switch d.Group.Epoch {
	case parent.Group.Epoch:
		if !sameKey || !sameRecipient {
			return Errorf(Corrupt, "version %d of group %s changes keys without a new epoch", d.Version, d.Agent)
		}
		for _, m := range parent.Group.Members {
			if _, still := d.Member(m.ID); !still {
				return Errorf(Corrupt, "version %d of group %s removes a member without a new epoch", d.Version, d.Agent)
			}
		}
	case parent.Group.Epoch + 1:
		if sameKey || sameRecipient {
			return Errorf(Corrupt, "version %d of group %s has a new epoch without new keys", d.Version, d.Agent)
		}
	default:
		return Errorf(Corrupt, "version %d of group %s has epoch %d after %d", d.Version, d.Agent, d.Group.Epoch, parent.Group.Epoch)
	}
	for _, m := range d.Group.Members {
		if m.From == 0 || m.From == d.Group.Epoch && d.Group.Epoch != parent.Group.Epoch {
			continue
		}
		// Who has the keys of an epoch opens all of it, so nobody begins amidst one.
		if before, _ := parent.Member(m.ID); before.From != m.From {
			return Errorf(Corrupt, "in version %d of group %s a member reads from epoch %d on, which did not begin there", d.Version, d.Agent, m.From)
		}
	}
	return nil
}

// A signature is one that a document must bear.
type signature struct {
	signer  AgentID
	version uint64
	key     []byte
}

// verifySignatures insists on exactly the wanted Ed25519 signatures, in order.
func (d *Document) verifySignatures(want ...signature) error {
	got := ed25519Signatures(d.signed)
	if len(got) != len(want) {
		return Errorf(Corrupt, "version %d of %s has %d signatures where %d belong", d.Version, d.ID(), len(got), len(want))
	}
	for i, w := range want {
		if got[i].Signer != w.signer || got[i].Version != w.version || !VerifyBytes(w.key, DomainDocument, d.signed.Body, got[i].Bytes) {
			return Errorf(Corrupt, "signature under version %d of %s does not hold", d.Version, d.ID())
		}
	}
	return nil
}

// verifyAdmin checks that one of admins signed d.
func (d *Document) verifyAdmin(ctx context.Context, admins []AgentID, docs Documents) error {
	got := ed25519Signatures(d.signed)
	if len(got) != 1 || !slices.Contains(admins, got[0].Signer) {
		return Errorf(Corrupt, "version %d of group %s is not signed by one of its admins", d.Version, d.ID())
	}
	admin := got[0].Signer
	if docs == nil {
		return Errorf(NotFound, "no documents of admin %s at hand", admin)
	}
	chain, err := docs.Chain(ctx, admin)
	if err != nil {
		return err
	}
	signer, err := signerVersion(chain, admin, got[0].Version)
	if err != nil {
		return err
	}
	if signer.ID() != admin || (signer.Kind != User && signer.Kind != Service) {
		return Errorf(Corrupt, "admin %s of a group is not a user or service", admin)
	}
	return d.verifySignatures(signature{admin, got[0].Version, signer.SigningKey()})
}

// checkAdminKey refuses a group's document that an admin signed with an older
// key than one before it, so with a key that was replaced by then and may be a
// thief's. d's signature has been verified.
func (d *Document) checkAdminKey(chain []*Document) error {
	own := ed25519Signatures(d.signed)[0]
	for _, earlier := range slices.Backward(chain) {
		if earlier.Version >= d.Version {
			continue
		}
		for _, sig := range earlier.signed.Signatures {
			if sig.Algorithm != Ed25519 || sig.Signer != own.Signer {
				continue
			}
			if sig.Version > own.Version {
				return Errorf(Corrupt, "version %d of group %s is signed with a key that %s had replaced before", d.Version, d.Agent, own.Signer)
			}
			return nil
		}
	}
	return nil
}

func ed25519Signatures(s *Signed) []Signature {
	return slices.DeleteFunc(slices.Clone(s.Signatures), func(sig Signature) bool { return sig.Algorithm != Ed25519 })
}

// Member returns the entry of a group's member, and whether there is one.
func (d *Document) Member(id AgentID) (Member, bool) {
	if d.Group == nil {
		return Member{}, false
	}
	i, ok := slices.BinarySearchFunc(d.Group.Members, id, func(m Member, id AgentID) int { return bytes.Compare(m.ID[:], id[:]) })
	if !ok {
		return Member{}, false
	}
	return d.Group.Members[i], true
}

// IsAdmin reports whether id may change the group d.
func (d *Document) IsAdmin(id AgentID) bool {
	return d.Group != nil && slices.Contains(d.Group.Admins, id)
}
