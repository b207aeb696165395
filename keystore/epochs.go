package keystore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"filippo.io/age"

	"l2p/envelope"
)

// GroupSecrets returns the secrets of a group's epochs that the identities
// open, the newest first. Those of a member are the ones from the newest epoch
// that it belongs to back to the first, or back to the one from which it
// reads. chain is all of the group's documents, with the attachments of at
// least the last of each epoch.
//
// If nothing opens, that is an error of kind NotReader, or NotFound where the
// attachments are missing. If the way back breaks off at an epoch that should
// open, both the secrets that opened and an error are returned.
func GroupSecrets(ctx context.Context, chain []*envelope.Document, identities []envelope.Identity) ([]*Secrets, error) {
	if len(chain) == 0 || chain[0].Group == nil {
		return nil, envelope.Errorf(envelope.Usage, "not a group")
	}
	var all []*Secrets
	var problem error
	var above *Secrets // of the epoch after, if it opened
	for end := len(chain); end > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		epoch := chain[end-1].Group.Epoch
		start, _ := slices.BinarySearchFunc(chain[:end], epoch, func(d *envelope.Document, e uint64) int { return cmp.Compare(d.Group.Epoch, e) })
		secrets, err := openEpoch(chain[start:end], chain[end:], above, identities)
		if secrets != nil {
			all = append(all, secrets)
		} else if problem == nil {
			problem = err
		}
		above, end = secrets, start
	}
	if len(all) == 0 && problem == nil {
		problem = envelope.Errorf(envelope.NotReader, "no identity at hand is of a member of %s", title(chain[len(chain)-1]))
	}
	return all, problem
}

// openEpoch opens an epoch of which docs are the documents: with the history
// identity of the epoch after it, whose documents are the first of later, or
// with a member's own key box. It returns neither secrets nor an error where
// the identities are not meant to open it.
func openEpoch(docs, later []*envelope.Document, above *Secrets, identities []envelope.Identity) (*Secrets, error) {
	last := docs[len(docs)-1] // the newest document of the epoch is the one to sign for
	var found *Secrets
	var problem error
	if above != nil && above.history != nil {
		if found, problem = openPrevious(later, last, above); found != nil && found.history != nil {
			return found, nil
		}
	}
	type trial struct {
		box    envelope.Hash
		member envelope.AgentID
	}
	tried := map[trial]bool{} // opening tries each recipient: once is enough
	for _, d := range slices.Backward(docs) {
		for _, m := range memberships(d, identities) {
			t := trial{d.Group.Boxes[m.Box], m.ID}
			if tried[t] {
				continue
			}
			tried[t] = d.Attachment(t.box) != nil
			secrets, err := openBox(d, m, identities)
			if err != nil {
				if problem == nil {
					problem = err
				}
				continue
			}
			if found == nil || secrets.history != nil {
				found = secrets
			}
			if found.history != nil {
				return found, found.bind(last)
			}
		}
		if found != nil {
			break
		}
	}
	if found == nil {
		return nil, problem
	}
	return found, found.bind(last)
}

// memberships returns the members of d whose identities are at hand.
func memberships(d *envelope.Document, identities []envelope.Identity) []envelope.Member {
	var found []envelope.Member
	for i, id := range identities {
		if i > 0 && id.Agent == identities[i-1].Agent {
			continue // one of several keys of an agent
		}
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
		return nil, withoutBoxes(d)
	}
	secrets, err := openSecrets(box, own...)
	if err != nil {
		return nil, boxError(d, err)
	}
	return secrets, secrets.bind(d)
}

// openPrevious opens the secrets of the epoch that last is the last document
// of, with those of the epoch after it, whose documents are the first of
// later.
func openPrevious(later []*envelope.Document, last *envelope.Document, above *Secrets) (*Secrets, error) {
	why := envelope.Errorf(envelope.NotFound, "epoch %d of group %s came without the keys of the one before", last.Group.Epoch+1, above.agent)
	var tried envelope.Hash
	for _, d := range later {
		if d.Group.Epoch != last.Group.Epoch+1 {
			break
		}
		box := d.Attachment(d.Group.Previous)
		if box == nil || d.Group.Previous == tried {
			continue
		}
		tried = d.Group.Previous
		older, err := openSecrets(box, above.history)
		if err == nil {
			err = older.bind(last)
		} else {
			err = boxError(d, err)
		}
		if err == nil {
			return older, nil
		}
		why = err
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

func withoutBoxes(d *envelope.Document) error {
	return envelope.Errorf(envelope.NotFound, "version %d of group %s came without its key boxes", d.Version, title(d))
}
