package keystore

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"filippo.io/age"

	"l2p/envelope"
)

// isHybrid reports whether an age recipient is ML-KEM-768 + X25519.
func isHybrid(recipient string) bool { return strings.HasPrefix(recipient, "age1pq1") }

// A seat is a place in a group: who has it, by which document, and from which
// epoch on (0: all).
type seat struct {
	doc  *envelope.Document
	from uint64
}

// packBoxes seals the secrets of a group's epoch to who has the seats, in as
// few boxes as hold them. Hybrid and classic recipients are apart, since age
// refuses to mix them; and so are those who read from some epoch on, whose
// boxes lack the epoch's history identity. The entries are in the order of the
// boxes, whose indexes count from first.
//
// The first admins of a box are the quickest to open it, which takes a trial
// for each recipient before one's own: who changes a group does it each time.
func packBoxes(epoch *Secrets, seats []seat, admins []envelope.AgentID, first int) (boxes [][]byte, entries []envelope.Member, err error) {
	kinds := [4][]seat{}
	for _, s := range seats {
		kind := 0
		if !isHybrid(s.doc.Recipient) {
			kind = 1
		}
		if s.from > 0 {
			kind += 2
		}
		kinds[kind] = append(kinds[kind], s)
	}
	for kind, alike := range kinds {
		contents := epoch
		if kind >= 2 {
			contents = epoch.withoutHistory()
		}
		rank := func(s seat) int { // admins first
			if slices.Contains(admins, s.doc.ID()) {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(alike, func(a, b seat) int { return cmp.Compare(rank(a), rank(b)) })
		for some := range slices.Chunk(alike, envelope.MaxBoxMembers) {
			box, more, err := packBox(contents, some, uint(first+len(boxes)))
			if err != nil {
				return nil, nil, err
			}
			boxes, entries = append(boxes, box), append(entries, more...)
		}
	}
	return boxes, entries, nil
}

func packBox(contents *Secrets, seats []seat, index uint) ([]byte, []envelope.Member, error) {
	var recipients []age.Recipient
	var entries []envelope.Member
	for _, s := range seats {
		r, err := envelope.RecipientOf(s.doc)
		if err != nil {
			return nil, nil, err
		}
		recipients = append(recipients, r.Age)
		m := envelope.Member{ID: s.doc.ID(), Version: s.doc.Version, Box: index, From: s.from}
		if s.doc.Group != nil {
			m.Epoch = s.doc.Group.Epoch
		}
		entries = append(entries, m)
	}
	box, err := contents.sealFor(recipients...)
	return box, entries, err
}

// sortMembers puts the entries in the order that documents have.
func sortMembers(entries []envelope.Member) {
	slices.SortFunc(entries, func(a, b envelope.Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}
