package keystore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"filippo.io/age"

	"l2p/envelope"
)

// isHybrid reports whether an age recipient is ML-KEM-768 + X25519.
func isHybrid(recipient string) bool { return strings.HasPrefix(recipient, "age1pq1") }

// packBoxes seals the secrets of a group's epoch to members, in as few boxes
// as hold them, hybrid and classic members apart: age refuses to mix them. The
// entries are in the order of the boxes, whose indexes count from first.
func packBoxes(epoch *Secrets, members []*envelope.Document, first int) (boxes [][]byte, entries []envelope.Member, err error) {
	var hybrid, classic []*envelope.Document
	for _, d := range members {
		if isHybrid(d.Recipient) {
			hybrid = append(hybrid, d)
		} else {
			classic = append(classic, d)
		}
	}
	for _, alike := range [][]*envelope.Document{hybrid, classic} {
		for some := range slices.Chunk(alike, envelope.MaxBoxMembers) {
			var recipients []age.Recipient
			for _, d := range some {
				r, err := envelope.RecipientOf(d)
				if err != nil {
					return nil, nil, err
				}
				recipients = append(recipients, r.Age)
				m := envelope.Member{ID: d.ID(), Version: d.Version, Box: uint(first + len(boxes))}
				if d.Group != nil {
					m.Epoch = d.Group.Epoch
				}
				entries = append(entries, m)
			}
			box, err := epoch.sealFor(recipients...)
			if err != nil {
				return nil, nil, err
			}
			boxes = append(boxes, box)
		}
	}
	return boxes, entries, nil
}

// sortMembers puts the entries in the order that documents have.
func sortMembers(entries []envelope.Member) {
	slices.SortFunc(entries, func(a, b envelope.Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// GroupSecrets returns the secrets of a group's epochs that the identities
// open, the newest first: those of a member from the newest epoch that it
// belongs to back to the first. chain is all of the group's documents, with
// the attachments of at least the last of each epoch.
//
// If nothing opens, that is an error of kind NotReader, or NotFound where the
// attachments are missing. If the way back breaks off before the first epoch,
// both the secrets so far and an error are returned.
func GroupSecrets(ctx context.Context, chain []*envelope.Document, identities []envelope.Identity) ([]*Secrets, error) {
	if len(chain) == 0 || chain[0].Group == nil {
		return nil, envelope.Errorf(envelope.Usage, "not a group")
	}
	secrets, at, err := openNewest(ctx, chain, identities)
	if err != nil {
		return nil, err
	}
	all := []*Secrets{secrets}
	for epoch := chain[at].Group.Epoch; epoch > 1; epoch-- {
		older, err := openPrevious(ctx, chain, epoch, all[len(all)-1])
		if err != nil {
			return all, err
		}
		all = append(all, older)
	}
	return all, nil
}

// openNewest opens a key box of the newest document that has one for any of
// the identities, and returns that document's index.
func openNewest(ctx context.Context, chain []*envelope.Document, identities []envelope.Identity) (*Secrets, int, error) {
	why := envelope.Errorf(envelope.NotReader, "no identity at hand is of a member of %s", title(chain[len(chain)-1]))
	found := false // a better reason for the failure than that nobody is a member
	for i := len(chain) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		d := chain[i]
		for _, m := range memberships(d, identities) {
			secrets, err := openBox(d, m, identities)
			if err == nil {
				// The newest document of the epoch is the one to sign for.
				return secrets, i, secrets.bind(lastOfEpoch(chain, d.Group.Epoch))
			}
			if !found {
				why, found = err, true
			}
		}
	}
	return nil, 0, why
}

// memberships returns the members of d whose identities are at hand.
func memberships(d *envelope.Document, identities []envelope.Identity) []envelope.Member {
	var found []envelope.Member
	for _, id := range identities {
		if m, ok := d.Member(id.Agent); ok && !slices.Contains(found, m) {
			found = append(found, m)
		}
	}
	return found
}

// openBox opens the key box of a member with those of the identities that are
// the member's.
func openBox(d *envelope.Document, m envelope.Member, identities []envelope.Identity) (*Secrets, error) {
	var own []age.Identity
	for _, id := range identities {
		if id.Agent == m.ID {
			own = append(own, id.Age)
		}
	}
	box := d.Attachment(d.Group.Boxes[m.Box])
	if box == nil {
		return nil, envelope.Errorf(envelope.NotFound, "version %d of group %s came without its key boxes", d.Version, title(d))
	}
	secrets, err := openSecrets(box, own...)
	if err != nil {
		return nil, boxError(d, err)
	}
	return secrets, secrets.bind(d)
}

// openPrevious opens the secrets of the epoch before the given one, whose
// secrets are at hand.
func openPrevious(ctx context.Context, chain []*envelope.Document, epoch uint64, at *Secrets) (*Secrets, error) {
	why := envelope.Errorf(envelope.NotFound, "epoch %d of group %s came without the keys of the one before", epoch, at.agent)
	for _, d := range slices.Backward(chain) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if d.Group.Epoch != epoch {
			continue
		}
		box := d.Attachment(d.Group.Previous)
		if box == nil {
			continue
		}
		older, err := openSecrets(box, at.identities...)
		if err != nil {
			why = boxError(d, err)
			continue
		}
		return older, older.bind(lastOfEpoch(chain, epoch-1))
	}
	return nil, why
}

func boxError(d *envelope.Document, err error) error {
	kind := envelope.Corrupt
	if errors.Is(err, age.ErrIncorrectIdentity) {
		kind = envelope.NotReader
	}
	return envelope.Errorf(kind, "cannot open the keys of version %d of group %s: %s", d.Version, title(d), ageText(err))
}

// lastOfEpoch returns the newest document of an epoch that chain has.
func lastOfEpoch(chain []*envelope.Document, epoch uint64) *envelope.Document {
	// Epochs ascend along a chain, one by one.
	i, _ := slices.BinarySearchFunc(chain, epoch+1, func(d *envelope.Document, e uint64) int {
		return cmp.Compare(d.Group.Epoch, e)
	})
	return chain[i-1]
}
