package envelope

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"filippo.io/age"
)

// Limits of a document.
const (
	MaxAdmins       = 64
	MaxMembers      = 10_000
	MaxBoxMembers   = 500                // members of one key box
	MaxResolves     = 16                 // lost documents that one version of a group takes in
	maxBoxes        = MaxAttachments - 1 // the previous epoch's box is an attachment, too
	maxKeys         = 4
	maxKeySize      = 4 << 10 // bytes; an ML-DSA-87 public key has 2,592
	maxOtherSigSize = 8 << 10 // bytes; an ML-DSA-87 signature has 4,627
	maxRecipient    = 2_048   // characters; a hybrid recipient has 1,959
)

// ParseDocument decodes a document and checks its form and its attachments.
// It checks no signature: that is [VerifyDocument] and [VerifyChain]. Errors
// are of kind Corrupt.
func ParseDocument(data []byte) (*Document, error) {
	s, err := ParseSigned(data, MaxSignedSize)
	if err != nil {
		return nil, err
	}
	return parseDocument(s)
}

func parseDocument(s *Signed) (*Document, error) {
	var d Document
	if err := Decode(s.Body, MaxSignedSize, &d); err != nil {
		return nil, err
	}
	d.signed = s
	if err := d.checkForm(); err != nil {
		return nil, err
	}
	if err := d.checkAttachments(); err != nil {
		return nil, err
	}
	if err := checkOtherSignatures(s); err != nil {
		return nil, err
	}
	return &d, nil
}

// checkOtherSignatures bounds the signatures of algorithms that this program
// doesn't know. They are passed over when verifying, so anybody could add them.
func checkOtherSignatures(s *Signed) error {
	for _, sig := range s.Signatures {
		if sig.Algorithm == 0 || len(sig.Bytes) > maxOtherSigSize {
			return Errorf(Corrupt, "malformed signature of algorithm %d", sig.Algorithm)
		}
	}
	return nil
}

func (d *Document) checkForm() error {
	if d.Format != 1 {
		return WithHint(Errorf(Corrupt, "document has format %d, which this l2p does not know", d.Format), "a newer l2p may")
	}
	if d.Kind < User || d.Kind > Box {
		return Errorf(Corrupt, "document is of unknown kind %d", d.Kind)
	}
	first := d.Version == 1
	if d.Version > maxDocumentVersion || d.Version%RecoveryStep >= maxOrdinary {
		return Errorf(Corrupt, "document has number %d, and %d is as far as they go without a recovery", d.Version, maxOrdinary-1)
	}
	if d.Version == 0 || d.Agent.IsZero() != first || d.Parent.IsZero() != first {
		return Errorf(Corrupt, "document has a wrong version, agent or parent")
	}
	if err := d.checkName(); err != nil {
		return err
	}
	if err := checkKeys(d.Keys); err != nil {
		return err
	}
	if err := d.checkRecipient(); err != nil {
		return err
	}
	if !d.Locked.IsZero() && d.Kind != User && d.Kind != Service {
		return Errorf(Corrupt, "a %s has no locked secrets", d.Kind)
	}
	if n := len(d.Recovery); n != 0 && (n != ed25519.PublicKeySize || d.Kind == Box) || d.IsRecovery() && d.Kind == Box {
		return Errorf(Corrupt, "document has a malformed recovery key, or is of a box, which can't be recovered")
	}
	if (d.Group != nil) != (d.Kind == Group) {
		return Errorf(Corrupt, "document has a group part and is of kind %s, or the reverse", d.Kind)
	}
	if d.Group != nil {
		return d.checkGroup()
	}
	return nil
}

func (d *Document) checkName() error {
	var err error
	switch {
	case d.Name == "":
	case d.Kind == Box:
		err = CheckBoxName(d.Name)
	default:
		_, err = ParseName(d.Name)
	}
	if err != nil {
		return Errorf(Corrupt, "document has a malformed name: %w", err)
	}
	return nil
}

// checkKeys insists on one key per algorithm, ascending, with Ed25519 among them.
func checkKeys(keys []SigningKey) error {
	if len(keys) == 0 || len(keys) > maxKeys || keys[0].Algorithm != Ed25519 {
		return Errorf(Corrupt, "document needs an Ed25519 signing key, first of at most %d", maxKeys)
	}
	if len(keys[0].Key) != ed25519.PublicKeySize {
		return Errorf(Corrupt, "an Ed25519 key has %d bytes, not %d", ed25519.PublicKeySize, len(keys[0].Key))
	}
	for i, k := range keys[1:] {
		if k.Algorithm <= keys[i].Algorithm || len(k.Key) == 0 || len(k.Key) > maxKeySize {
			return Errorf(Corrupt, "document has malformed or repeated signing keys")
		}
	}
	return nil
}

func (d *Document) checkRecipient() error {
	if d.Kind == Box {
		if d.Recipient != "" {
			return Errorf(Corrupt, "a box has no age recipient")
		}
		return nil
	}
	if len(d.Recipient) > maxRecipient {
		return Errorf(Corrupt, "age recipient has %d characters, more than %d", len(d.Recipient), maxRecipient)
	}
	// The one spelling is the one that age prints.
	if r, err := age.ParseHybridRecipient(d.Recipient); err == nil && r.String() == d.Recipient {
		d.age = r
		return nil
	}
	if r, err := age.ParseX25519Recipient(d.Recipient); err == nil && r.String() == d.Recipient {
		d.age = r
		return nil
	}
	return Errorf(Corrupt, "document has a malformed age recipient")
}

func (d *Document) checkGroup() error {
	g := d.Group
	if g.Epoch == 0 || (d.Version == 1 && g.Epoch != 1) || g.Epoch > d.Version {
		return Errorf(Corrupt, "version %d of a group has an impossible epoch %d", d.Version, g.Epoch)
	}
	if g.Previous.IsZero() != (g.Epoch == 1) {
		return Errorf(Corrupt, "a group names its previous epoch's box from its second epoch on, and only then")
	}
	if len(g.Admins) == 0 || len(g.Admins) > MaxAdmins {
		return Errorf(Corrupt, "a group has 1 to %d admins, not %d", MaxAdmins, len(g.Admins))
	}
	var last AgentID
	for _, a := range g.Admins {
		if bytes.Compare(a[:], last[:]) <= 0 {
			return Errorf(Corrupt, "admins of a group are not ascending")
		}
		last = a
	}
	if len(g.Members) > MaxMembers || len(g.Boxes) > maxBoxes {
		return Errorf(Corrupt, "a group has at most %d members and %d key boxes", MaxMembers, maxBoxes)
	}
	if err := checkResolves(g.Resolves); err != nil {
		return err
	}
	sizes := make([]int, len(g.Boxes))
	froms := make([]int, len(g.Boxes)) // members with From in each box
	last = AgentID{}
	for _, m := range g.Members {
		if bytes.Compare(m.ID[:], last[:]) <= 0 {
			return Errorf(Corrupt, "members of a group are not ascending")
		}
		last = m.ID
		if m.Version == 0 || m.Epoch > m.Version || m.Box >= uint(len(sizes)) || m.ID == d.Agent {
			return Errorf(Corrupt, "malformed member of a group")
		}
		sizes[m.Box]++
		if m.From == 0 {
			continue
		}
		if m.From == 1 || m.From > g.Epoch {
			return Errorf(Corrupt, "a member of a group in epoch %d reads from epoch %d on", g.Epoch, m.From)
		}
		if slices.Contains(g.Admins, m.ID) {
			return Errorf(Corrupt, "an admin of a group reads only from epoch %d on, so can't pass on its keys", m.From)
		}
		froms[m.Box]++
	}
	for i, n := range sizes {
		if n == 0 || n > MaxBoxMembers {
			return Errorf(Corrupt, "a key box is for 1 to %d members, not %d", MaxBoxMembers, n)
		}
		if froms[i] != 0 && froms[i] != n {
			return Errorf(Corrupt, "a key box is for members who open all epochs and for others")
		}
	}
	return nil
}

// checkResolves insists on one spelling of a list of hashes.
func checkResolves(resolves []Hash) error {
	if len(resolves) > MaxResolves || resolves != nil && len(resolves) == 0 {
		return Errorf(Corrupt, "a version of a group resolves 1 to %d others, or the list is absent", MaxResolves)
	}
	var last Hash
	for _, h := range resolves {
		if bytes.Compare(h[:], last[:]) <= 0 {
			return Errorf(Corrupt, "what a version of a group resolves is not ascending")
		}
		last = h
	}
	return nil
}

// attachmentNames returns the hashes of the attachments that d names, in order.
func (d *Document) attachmentNames() []Hash {
	var names []Hash
	if !d.Locked.IsZero() {
		names = append(names, d.Locked)
	}
	if d.Group != nil {
		names = append(names, d.Group.Boxes...)
		if !d.Group.Previous.IsZero() {
			names = append(names, d.Group.Previous)
		}
	}
	return names
}

// checkAttachments insists on all attachments that d names, or none of them.
func (d *Document) checkAttachments() error {
	got := d.signed.Attachments
	if len(got) == 0 {
		if got != nil {
			return Errorf(Corrupt, "document has an empty list of attachments")
		}
		return nil
	}
	names := d.attachmentNames()
	if len(got) != len(names) {
		return Errorf(Corrupt, "document names %d attachments and has %d", len(names), len(got))
	}
	for i, a := range got {
		if AttachmentHash(a) != names[i] {
			return Errorf(Corrupt, "attachment %d of a document is not the one that it names", i)
		}
	}
	return nil
}
