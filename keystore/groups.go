package keystore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
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
	// Recovery is the group's public recovery key, for when its admins are
	// gone; nil: none. See [RecoverGroup].
	Recovery ed25519.PublicKey
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
	epoch, err := newEpoch(o.Classic)
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
		Keys: epoch.publicKeys(), Recipient: epoch.recipient, Recovery: o.Recovery,
		Group: &envelope.GroupPart{Epoch: 1, Admins: []envelope.AgentID{me.agent}},
	}
	var seats []seat
	for _, m := range members {
		seats = append(seats, seat{doc: m})
	}
	boxes, entries, err := packBoxes(epoch, seats, d.Group.Admins, 0)
	if err != nil {
		return nil, err
	}
	return signGroup(ctx, []envelope.Signer{me}, docs, nil, d, boxes, entries, nil)
}

// A GroupChange says what to change of a group.
type GroupChange struct {
	// Add are users, services or groups who become members, or members who
	// have read from some epoch on and are to read all.
	Add    []envelope.AgentID
	Remove []envelope.AgentID // members who leave, and are admins no longer

	// FromNow gives those in Add the keys from now on only: they open nothing
	// that was sealed before.
	FromNow bool

	AddAdmins    []envelope.AgentID // users or services who become admins, and members if they are not
	RemoveAdmins []envelope.AgentID // admins who stay members

	// NewEpoch makes new keys though nobody leaves. They are made anyway when
	// somebody is removed or added from now on, or when a nested group has new
	// keys since.
	NewEpoch bool

	// Recovery becomes the public recovery key of a group that has none.
	Recovery ed25519.PublicKey
}

// ChangeGroup returns the next document of a group, which an admin signs.
// identities are those of me: they open the group's keys. docs finds the
// documents of the group, of its members and of its admins. The document is
// for the caller to publish and, if the network takes it, to add to a store:
// another admin may have been faster. See [ResolveGroup] then.
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
	if err := checkAdmin(me, d); err != nil {
		return nil, err
	}
	if len(c.Add)+len(c.Remove)+len(c.AddAdmins)+len(c.RemoveAdmins) == 0 && !c.NewEpoch && c.Recovery == nil {
		return nil, envelope.Errorf(envelope.Usage, "nothing to change in group %s", title(d))
	}
	if c.Recovery != nil && len(d.Recovery) != 0 {
		return nil, envelope.Errorf(envelope.Denied, "group %s has a recovery key already, and only that can change it", title(d))
	}
	next := succession{me: me, docs: docs, chain: chain, newRecovery: c.Recovery, newEpoch: c.NewEpoch || c.FromNow || len(c.Remove) > 0}
	if next.admins, err = changeAdmins(d, c); err != nil {
		return nil, err
	}
	if err := next.add(ctx, d, c); err != nil {
		return nil, err
	}
	if err := next.remove(d, c); err != nil {
		return nil, err
	}
	if next.current, err = currentEpoch(ctx, chain, identities); err != nil {
		return nil, err
	}
	return next.document(ctx)
}

// checkAdmin refuses to change d's group as somebody who may not.
func checkAdmin(me *Secrets, d *envelope.Document) error {
	if d.Group == nil {
		return envelope.Errorf(envelope.Usage, "%s is not a group", title(d))
	}
	if !d.IsAdmin(me.agent) {
		return envelope.Errorf(envelope.Denied, "only an admin of group %s may change it", title(d))
	}
	return nil
}

// currentEpoch returns the secrets of a group's newest epoch, as an admin
// needs them.
func currentEpoch(ctx context.Context, chain []*envelope.Document, identities []envelope.Identity) (*Secrets, error) {
	d := chain[len(chain)-1]
	start, _ := slices.BinarySearchFunc(chain, d.Group.Epoch, func(d *envelope.Document, e uint64) int { return cmp.Compare(d.Group.Epoch, e) })
	secrets, err := openEpoch(chain[start:], nil, nil, identities)
	switch {
	case err != nil:
		return nil, err
	case secrets == nil:
		return nil, envelope.Errorf(envelope.NotReader, "you are an admin of group %s but not a member, so you can't pass on its keys", title(d))
	case secrets.history == nil:
		return nil, envelope.Errorf(envelope.NotReader, "you don't read all epochs of group %s, so you can't pass on its keys", title(d))
	}
	return secrets, ctx.Err()
}

// signGroup completes and signs a group's document, and checks that others
// will take it.
func signGroup(ctx context.Context, signers []envelope.Signer, docs envelope.Documents, chain []*envelope.Document, d *envelope.Document,
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
	d, err := envelope.SignDocument(d, attachments, signers...)
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

// memberDocuments returns the newest documents of agents who can be members,
// each once.
func memberDocuments(ctx context.Context, docs envelope.Documents, ids []envelope.AgentID) ([]*envelope.Document, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	var members []*envelope.Document
	for _, id := range slices.Compact(ids) {
		d, err := memberDocument(ctx, docs, id)
		if err != nil {
			return nil, err
		}
		members = append(members, d)
	}
	return members, nil
}

// memberDocument returns the newest document of an agent who can be a member.
func memberDocument(ctx context.Context, docs envelope.Documents, id envelope.AgentID) (*envelope.Document, error) {
	d, err := newest(ctx, docs, id)
	if err != nil {
		return nil, err
	}
	if d.Kind == envelope.Box {
		return nil, envelope.Errorf(envelope.Usage, "%s is a box, which reads nothing and can't be a member", title(d))
	}
	return d, nil
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
