package keystore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"l2p/envelope"
)

// GroupOptions say what group to create.
type GroupOptions struct {
	Name string // the full name claimed, such as apprentices@a-tech; may be empty
	// Members are users, services and groups. The admin becomes one, too: who
	// isn't a member has no keys to pass on.
	Members []envelope.AgentID
	Classic bool // an X25519 recipient instead of ML-KEM-768 + X25519
}

// CreateGroup returns the first document of a new group whose admin is me.
// docs finds the members' newest documents. The document is for the caller to
// publish and to add to a store.
func CreateGroup(ctx context.Context, me *Secrets, docs envelope.Documents, o GroupOptions) (*envelope.Document, error) {
	if o.Name != "" {
		if _, err := envelope.ParseName(o.Name); err != nil {
			return nil, err
		}
	}
	epoch, err := newSecrets(o.Classic)
	if err != nil {
		return nil, err
	}
	members, err := memberDocuments(ctx, docs, append([]envelope.AgentID{me.agent}, o.Members...))
	if err != nil {
		return nil, err
	}
	if err := checkAdmins(members, []envelope.AgentID{me.agent}); err != nil {
		return nil, err
	}
	d := &envelope.Document{
		Format: 1, Kind: envelope.Group, Version: 1, Time: time.Now().UnixMilli(), Name: o.Name,
		Keys: epoch.publicKeys(), Recipient: epoch.recipient,
		Group: &envelope.GroupPart{Epoch: 1, Admins: []envelope.AgentID{me.agent}},
	}
	boxes, entries, err := packBoxes(epoch, members, 0)
	if err != nil {
		return nil, err
	}
	return signGroup(ctx, me, docs, nil, d, boxes, entries, nil)
}

// A GroupChange says what to change of a group.
type GroupChange struct {
	Add    []envelope.AgentID // users, services or groups who become members
	Remove []envelope.AgentID // members who leave, and are admins no longer

	AddAdmins    []envelope.AgentID // users or services who become admins, and members if they are not
	RemoveAdmins []envelope.AgentID // admins who stay members

	// NewEpoch makes new keys though nobody leaves. They are made anyway when
	// somebody is removed, or when a nested group has new keys since.
	NewEpoch bool
}

// ChangeGroup returns the next document of a group, which an admin signs.
// identities are what [IdentitiesFor] me gives: they open the group's keys.
// docs finds the documents of the group, of its members and of its admins. The
// document is for the caller to publish and, if the network takes it, to add
// to a store: another admin may have been faster.
//
// Who is not an admin gets an error of kind Denied. Somebody removed opens
// nothing that is sealed for the group after that, unless they are a member
// through another group in it, too: see [Contains].
func ChangeGroup(ctx context.Context, me *Secrets, identities []envelope.Identity, docs envelope.Documents, group envelope.AgentID, c GroupChange) (*envelope.Document, error) {
	chain, err := docs.Chain(ctx, group)
	if err != nil {
		return nil, err
	}
	d := chain[len(chain)-1]
	if d.Group == nil {
		return nil, envelope.Errorf(envelope.Usage, "%s is not a group", title(d))
	}
	if !d.IsAdmin(me.agent) {
		return nil, envelope.Errorf(envelope.Denied, "only an admin of group %s may change it", title(d))
	}
	admins, err := changeAdmins(d, c)
	if err != nil {
		return nil, err
	}
	added, err := addedMembers(ctx, docs, d, c)
	if err != nil {
		return nil, err
	}
	stay, err := remainingMembers(d, me.agent, c)
	if err != nil {
		return nil, err
	}
	secrets, err := GroupSecrets(ctx, chain, identities)
	if len(secrets) == 0 {
		return nil, err
	}
	if secrets[0].version != d.Version {
		return nil, envelope.Errorf(envelope.NotReader, "you are an admin of group %s but not a member, so you can't pass on its keys", title(d))
	}
	lags, err := lagsBehind(ctx, docs, d)
	if err != nil {
		return nil, err
	}
	next := follow(d)
	if len(c.Remove) > 0 || c.NewEpoch || lags {
		return startEpoch(ctx, me, docs, chain, next, admins, stay, added, secrets[0])
	}
	if len(c.Add)+len(c.AddAdmins)+len(c.RemoveAdmins) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "nothing to change in group %s", title(d))
	}
	return stayInEpoch(ctx, me, docs, chain, next, admins, added, secrets[0])
}

// startEpoch completes next with new keys, sealed to members' newest documents.
func startEpoch(ctx context.Context, me *Secrets, docs envelope.Documents, chain []*envelope.Document, next *envelope.Document,
	admins, stay []envelope.AgentID, added []*envelope.Document, old *Secrets) (*envelope.Document, error) {
	epoch, err := newSecrets(!isHybrid(next.Recipient))
	if err != nil {
		return nil, err
	}
	members, err := memberDocuments(ctx, docs, stay)
	if err != nil {
		return nil, err
	}
	boxes, entries, err := packBoxes(epoch, append(members, added...), 0)
	if err != nil {
		return nil, err
	}
	next.Keys, next.Recipient = epoch.publicKeys(), epoch.recipient
	next.Group = &envelope.GroupPart{Epoch: next.Group.Epoch + 1, Admins: admins}
	to, err := recipientOf(epoch.recipient)
	if err != nil {
		return nil, err
	}
	previous, err := old.sealFor(to)
	if err != nil {
		return nil, err
	}
	return signGroup(ctx, me, docs, chain, next, boxes, entries, previous)
}

// stayInEpoch completes next with the keys as they are. Boxes that are full
// stay; the rest are sealed anew together with who was added, so that there
// are never more boxes than needed and few documents have to be looked up.
func stayInEpoch(ctx context.Context, me *Secrets, docs envelope.Documents, chain []*envelope.Document, next *envelope.Document,
	admins []envelope.AgentID, added []*envelope.Document, epoch *Secrets) (*envelope.Document, error) {
	d := chain[len(chain)-1]
	sizes := make([]int, len(d.Group.Boxes))
	for _, m := range d.Group.Members {
		sizes[m.Box]++
	}
	var boxes [][]byte
	index := make([]uint, len(sizes)) // of the boxes that stay
	stays := make([]bool, len(sizes))
	for i, name := range d.Group.Boxes {
		if stays[i] = len(added) == 0 || sizes[i] == envelope.MaxBoxMembers; !stays[i] {
			continue
		}
		box := d.Attachment(name)
		if box == nil {
			return nil, envelope.Errorf(envelope.NotFound, "version %d of group %s came without its key boxes", d.Version, title(d))
		}
		index[i] = uint(len(boxes))
		boxes = append(boxes, box)
	}
	var entries []envelope.Member
	var again []envelope.AgentID
	for _, m := range d.Group.Members {
		if !stays[m.Box] {
			again = append(again, m.ID)
			continue
		}
		m.Box = index[m.Box]
		entries = append(entries, m)
	}
	members, err := memberDocuments(ctx, docs, again)
	if err != nil {
		return nil, err
	}
	more, moreEntries, err := packBoxes(epoch, append(members, added...), len(boxes))
	if err != nil {
		return nil, err
	}
	var previous []byte
	if !d.Group.Previous.IsZero() {
		if previous = d.Attachment(d.Group.Previous); previous == nil {
			return nil, envelope.Errorf(envelope.NotFound, "version %d of group %s came without its key boxes", d.Version, title(d))
		}
	}
	next.Group = &envelope.GroupPart{Epoch: d.Group.Epoch, Admins: admins}
	return signGroup(ctx, me, docs, chain, next, append(boxes, more...), append(entries, moreEntries...), previous)
}

// signGroup completes and signs a group's document, and checks that others
// will take it.
func signGroup(ctx context.Context, me *Secrets, docs envelope.Documents, chain []*envelope.Document, d *envelope.Document,
	boxes [][]byte, entries []envelope.Member, previous []byte) (*envelope.Document, error) {
	if len(entries) > envelope.MaxMembers {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Full, "a group has at most %d members, not %d", envelope.MaxMembers, len(entries)),
			"make groups of groups")
	}
	if len(d.Group.Admins) > envelope.MaxAdmins {
		return nil, envelope.Errorf(envelope.Full, "a group has at most %d admins, not %d", envelope.MaxAdmins, len(d.Group.Admins))
	}
	sortMembers(entries)
	d.Group.Members = entries
	attachments := boxes
	for _, b := range boxes {
		d.Group.Boxes = append(d.Group.Boxes, envelope.AttachmentHash(b))
	}
	if previous != nil {
		d.Group.Previous = envelope.AttachmentHash(previous)
		attachments = append(attachments, previous)
	}
	d, err := envelope.SignDocument(d, attachments, me)
	if err != nil {
		return nil, err
	}
	return d, envelope.VerifyDocument(ctx, d, chain, docs)
}

// changeAdmins returns the admins after the change, ascending.
func changeAdmins(d *envelope.Document, c GroupChange) ([]envelope.AgentID, error) {
	admins := slices.Clone(d.Group.Admins)
	for _, id := range c.RemoveAdmins {
		if !d.IsAdmin(id) {
			return nil, envelope.Errorf(envelope.NotFound, "%s is not an admin of group %s", id, title(d))
		}
	}
	gone := slices.Concat(c.RemoveAdmins, c.Remove)
	admins = slices.DeleteFunc(admins, func(id envelope.AgentID) bool { return slices.Contains(gone, id) })
	for _, id := range c.AddAdmins {
		if d.IsAdmin(id) || slices.Contains(gone, id) {
			return nil, envelope.Errorf(envelope.Conflict, "%s is an admin of group %s already, or is to be removed", id, title(d))
		}
		admins = append(admins, id)
	}
	if len(admins) == 0 {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "group %s would have no admin", title(d)), "make somebody else one first")
	}
	slices.SortFunc(admins, compareIDs)
	return slices.Compact(admins), nil
}

// addedMembers returns the newest documents of who becomes a member.
func addedMembers(ctx context.Context, docs envelope.Documents, d *envelope.Document, c GroupChange) ([]*envelope.Document, error) {
	add := slices.Clone(c.Add)
	for _, id := range c.Add {
		if _, ok := d.Member(id); ok {
			return nil, envelope.Errorf(envelope.Conflict, "%s is a member of group %s already", id, title(d))
		}
	}
	for _, id := range c.AddAdmins {
		if _, ok := d.Member(id); !ok {
			add = append(add, id)
		}
	}
	admins, err := memberDocuments(ctx, docs, c.AddAdmins)
	if err != nil {
		return nil, err
	}
	if err := checkAdmins(admins, c.AddAdmins); err != nil {
		return nil, err
	}
	members, err := memberDocuments(ctx, docs, add)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Group == nil {
			continue
		}
		around, err := Contains(ctx, docs, m, d.ID())
		if err != nil {
			return nil, err
		}
		if around || m.ID() == d.ID() {
			return nil, envelope.Errorf(envelope.Usage, "group %s would contain itself, through %s", title(d), title(m))
		}
	}
	return members, nil
}

// remainingMembers returns the members who are not removed.
func remainingMembers(d *envelope.Document, me envelope.AgentID, c GroupChange) ([]envelope.AgentID, error) {
	for _, id := range c.Remove {
		if _, ok := d.Member(id); !ok {
			return nil, envelope.Errorf(envelope.NotFound, "%s is not a member of group %s", id, title(d))
		}
		if id == me {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "you can't remove yourself from group %s: whoever makes the new keys knows them", title(d)),
				"ask another admin")
		}
	}
	var stay []envelope.AgentID
	for _, m := range d.Group.Members {
		if !slices.Contains(c.Remove, m.ID) {
			stay = append(stay, m.ID)
		}
	}
	return stay, nil
}

// memberDocuments returns the newest documents of agents who can be members,
// each once.
func memberDocuments(ctx context.Context, docs envelope.Documents, ids []envelope.AgentID) ([]*envelope.Document, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	var members []*envelope.Document
	for _, id := range slices.Compact(ids) {
		d, err := newest(ctx, docs, id)
		if err != nil {
			return nil, err
		}
		if d.Kind == envelope.Box {
			return nil, envelope.Errorf(envelope.Usage, "%s is a box, which reads nothing and can't be a member", title(d))
		}
		members = append(members, d)
	}
	return members, nil
}

// checkAdmins checks that those of members who are to be admins are persons or
// programs.
func checkAdmins(members []*envelope.Document, admins []envelope.AgentID) error {
	for _, d := range members {
		if d.Kind != envelope.User && d.Kind != envelope.Service && slices.Contains(admins, d.ID()) {
			return envelope.Errorf(envelope.Usage, "%s is a %s: only a user or service can be an admin", title(d), d.Kind)
		}
	}
	return nil
}

func compareIDs(a, b envelope.AgentID) int { return bytes.Compare(a[:], b[:]) }
