package keystore

import (
	"context"
	"slices"

	"l2p/envelope"
)

// GroupRecovery says what becomes of a recovered group.
type GroupRecovery struct {
	Admins []envelope.AgentID // who may change it from now on, and become members if they are not
	Remove []envelope.AgentID // members who leave
}

// RecoverGroup returns a group's recovery document: by the group's recovery
// key, whatever its admins say, it gets new keys and other admins. Somebody
// must make it who reads all epochs of the group: me, with whose identities its
// keys open. Its parent is the newest document whose keys open so; what
// followed, such as me being removed by a thief, is left behind. docs finds the
// documents of the group and of its members. The document is for the caller to
// publish and to add to a store. A wrong key is an error of kind Denied.
func RecoverGroup(ctx context.Context, me *Secrets, identities []envelope.Identity, docs envelope.Documents, group envelope.AgentID, key *RecoveryKey, r GroupRecovery) (*envelope.Document, error) {
	chain, err := docs.Chain(ctx, group)
	if err != nil {
		return nil, err
	}
	d := chain[len(chain)-1]
	if d.Group == nil {
		return nil, envelope.Errorf(envelope.Usage, "%s is not a group", title(d))
	}
	if err := key.Check(d); err != nil {
		return nil, err
	}
	secrets, err := GroupSecrets(ctx, chain, identities)
	if len(secrets) == 0 {
		return nil, err
	}
	next := succession{me: me, docs: docs, current: secrets[0], newEpoch: true, recovery: key, admins: slices.Clone(r.Admins)}
	if next.current.history == nil {
		return nil, envelope.Errorf(envelope.NotReader, "you don't read all epochs of group %s, so you can't pass on its keys", title(d))
	}
	if len(next.admins) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "group %s would have no admin", title(d))
	}
	slices.SortFunc(next.admins, compareIDs)
	next.admins = slices.Compact(next.admins)
	next.chain = chain[:slices.Index(chain, envelope.FindVersion(chain, next.current.version))+1]
	parent := next.chain[len(next.chain)-1]
	if err := key.Check(parent); err != nil {
		return nil, err
	}
	change := GroupChange{Remove: r.Remove}
	for _, id := range next.admins {
		if slices.Contains(r.Remove, id) {
			return nil, envelope.Errorf(envelope.Usage, "%s is to be an admin of group %s and to be removed", id, title(d))
		}
		if !parent.IsAdmin(id) {
			change.AddAdmins = append(change.AddAdmins, id)
		}
	}
	if err := next.add(ctx, parent, change); err != nil {
		return nil, err
	}
	if err := next.remove(parent, change); err != nil {
		return nil, err
	}
	return next.startEpoch(ctx, followRecovery(parent))
}
