package keystore

import (
	"context"
	"crypto/ed25519"
	"slices"

	"filippo.io/age"

	"l2p/envelope"
)

// maxLooseBoxes is how many key boxes a group has before those that are less
// than half full are sealed anew as fewer. Of 10,000 members at most 40 are
// fuller, and 39 with what is added at once stay below the 63 of the format.
const maxLooseBoxes = 40

// A succession is the making of a group's next document.
type succession struct {
	me      *Secrets
	docs    envelope.Documents
	chain   []*envelope.Document // of the group, up to the one that is followed
	current *Secrets             // of the epoch so far

	admins   []envelope.AgentID
	stay     []envelope.Member // who have a key box already
	added    []seat            // who need one
	newEpoch bool
	recovery *RecoveryKey // signs in the place of me, if it is set

	newRecovery ed25519.PublicKey // for a group without one

	// Of a fork that is resolved: what it lost, and what opens its epochs.
	resolves []envelope.Hash
	lost     []age.Identity
}

// add takes in who becomes a member, or a member of all epochs.
func (n *succession) add(ctx context.Context, d *envelope.Document, c GroupChange) error {
	add := slices.Clone(c.Add)
	for _, id := range c.Add {
		if m, ok := d.Member(id); ok && (m.From == 0 || c.FromNow) {
			return envelope.Errorf(envelope.Conflict, "%s is a member of group %s already", id, title(d))
		}
	}
	admins, err := memberDocuments(ctx, n.docs, c.AddAdmins)
	if err != nil {
		return err
	}
	if err := checkAdmins(admins, c.AddAdmins); err != nil {
		return err
	}
	for _, id := range c.AddAdmins {
		if m, ok := d.Member(id); !ok || m.From != 0 {
			add = append(add, id)
		}
	}
	members, err := memberDocuments(ctx, n.docs, add)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := checkCycle(ctx, n.docs, d, m); err != nil {
			return err
		}
		s := seat{doc: m}
		if c.FromNow && slices.Contains(c.Add, m.ID()) && !slices.Contains(c.AddAdmins, m.ID()) {
			s.from = d.Group.Epoch + 1
		}
		n.added = append(n.added, s)
	}
	return nil
}

// checkCycle refuses a member that is d's group or has it inside.
func checkCycle(ctx context.Context, docs envelope.Documents, d, member *envelope.Document) error {
	if member.Group == nil {
		return nil
	}
	around, err := Contains(ctx, docs, member, d.ID())
	if err != nil {
		return err
	}
	if around || member.ID() == d.ID() {
		return envelope.Errorf(envelope.Usage, "group %s would contain itself, through %s", title(d), title(member))
	}
	return nil
}

// remove leaves out who leaves.
func (n *succession) remove(d *envelope.Document, c GroupChange) error {
	for _, id := range c.Remove {
		if _, ok := d.Member(id); !ok {
			return envelope.Errorf(envelope.NotFound, "%s is not a member of group %s", id, title(d))
		}
		if id == n.me.agent {
			return envelope.WithHint(envelope.Errorf(envelope.Usage, "you can't remove yourself from group %s: whoever makes the new keys knows them", title(d)),
				"ask another admin")
		}
	}
	n.keep(d, c.Remove)
	return nil
}

// keep leaves d's members in who are not gone, and not among the added.
func (n *succession) keep(d *envelope.Document, gone []envelope.AgentID) {
	out := map[envelope.AgentID]bool{}
	for _, id := range gone {
		out[id] = true
	}
	for _, s := range n.added {
		out[s.doc.ID()] = true
	}
	for _, m := range d.Group.Members {
		if !out[m.ID] {
			n.stay = append(n.stay, m)
		}
	}
}

// document completes and signs the next document.
func (n *succession) document(ctx context.Context) (*envelope.Document, error) {
	d := n.chain[len(n.chain)-1]
	lags, err := lagsBehind(ctx, n.docs, d)
	if err != nil {
		return nil, err
	}
	next := follow(d)
	if len(next.Recovery) == 0 {
		next.Recovery = n.newRecovery
	}
	if n.newEpoch || lags {
		return n.startEpoch(ctx, next)
	}
	return n.stayInEpoch(ctx, next)
}

// startEpoch completes next with new keys, sealed to members' newest documents.
func (n *succession) startEpoch(ctx context.Context, next *envelope.Document) (*envelope.Document, error) {
	epoch, err := newEpoch(!isHybrid(next.Recipient))
	if err != nil {
		return nil, err
	}
	number := next.Group.Epoch + 1
	seats := slices.Clone(n.added)
	for _, m := range n.stay {
		doc, err := memberDocument(ctx, n.docs, m.ID)
		if err != nil {
			return nil, err
		}
		s := seat{doc, m.From}
		if s.from == 0 && hasNewcomers(doc, m.Epoch) {
			s.from = number
		}
		seats = append(seats, s)
	}
	boxes, entries, err := packBoxes(epoch, seats, n.admins, 0)
	if err != nil {
		return nil, err
	}
	next.Keys, next.Recipient = epoch.publicKeys(), epoch.recipient
	next.Group = &envelope.GroupPart{Epoch: number, Admins: n.admins, Resolves: n.resolves}
	old := *n.current
	old.identities = append(slices.Clone(old.identities[:1]), n.lost...)
	previous, err := old.sealFor(recipientFor(epoch.history))
	if err != nil {
		return nil, err
	}
	signers := []envelope.Signer{n.me}
	if n.recovery != nil {
		epoch.agent, epoch.version = next.Agent, next.Version
		signers = []envelope.Signer{recoverySigner{n.recovery, next.Agent}, epoch}
	}
	return signGroup(ctx, signers, n.docs, n.chain, next, boxes, entries, previous)
}

// hasNewcomers reports whether a nested group has members who read it only
// from an epoch after the given one on. They are not to read what the group
// around it had before: see docs/keys.md.
func hasNewcomers(inner *envelope.Document, since uint64) bool {
	return inner.Group != nil && slices.ContainsFunc(inner.Group.Members, func(m envelope.Member) bool { return m.From > since })
}

// stayInEpoch completes next with the keys as they are. Boxes stay, and who
// was added gets another one, so that it takes no longer in a large group.
func (n *succession) stayInEpoch(ctx context.Context, next *envelope.Document) (*envelope.Document, error) {
	d := n.chain[len(n.chain)-1]
	sizes := make([]int, len(d.Group.Boxes))
	for _, m := range n.stay {
		sizes[m.Box]++
	}
	inUse := 0
	for _, size := range sizes {
		if size > 0 {
			inUse++
		}
	}
	melts := inUse >= maxLooseBoxes
	var boxes [][]byte
	index := make([]uint, len(sizes)) // of the boxes that stay
	for i, name := range d.Group.Boxes {
		if sizes[i] == 0 || melts && sizes[i] < envelope.MaxBoxMembers/2 {
			sizes[i] = 0
			continue
		}
		box := d.Attachment(name)
		if box == nil {
			return nil, withoutBoxes(d)
		}
		index[i] = uint(len(boxes))
		boxes = append(boxes, box)
	}
	seats := slices.Clone(n.added)
	var entries []envelope.Member
	for _, m := range n.stay {
		if sizes[m.Box] > 0 {
			m.Box = index[m.Box]
			entries = append(entries, m)
			continue
		}
		doc, err := memberDocument(ctx, n.docs, m.ID)
		if err != nil {
			return nil, err
		}
		seats = append(seats, seat{doc, m.From})
	}
	more, moreEntries, err := packBoxes(n.current, seats, n.admins, len(boxes))
	if err != nil {
		return nil, err
	}
	var previous []byte
	if !d.Group.Previous.IsZero() {
		if previous = d.Attachment(d.Group.Previous); previous == nil {
			return nil, withoutBoxes(d)
		}
	}
	next.Group = &envelope.GroupPart{Epoch: d.Group.Epoch, Admins: n.admins, Resolves: n.resolves}
	return signGroup(ctx, []envelope.Signer{n.me}, n.docs, n.chain, next, append(boxes, more...), append(entries, moreEntries...), previous)
}
