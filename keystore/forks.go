package keystore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"l2p/envelope"
)

// A Fork is what two admins made of a group at the same time, as far as it
// lost: documents that are not on the group's chain, and that no version of the
// chain has taken in yet.
type Fork struct {
	Base      *envelope.Document   // the version that both sides have, or the last that was taken in
	Documents []*envelope.Document // what follows it on the losing side, oldest first
}

// Tip returns the last of the fork's documents.
func (f *Fork) Tip() *envelope.Document { return f.Documents[len(f.Documents)-1] }

// Lost finds the documents of a group that are not on its chain. A store is one,
// and an envelope.Documents that is one, too, lets members open what was sealed
// for the losing side of a fork.
type Lost interface {
	Lost(ctx context.Context, group envelope.AgentID) ([]*envelope.Document, error)
}

// lostOf returns the lost documents that docs knows.
func lostOf(ctx context.Context, docs envelope.Documents, group envelope.AgentID) ([]*envelope.Document, error) {
	if l, ok := docs.(Lost); ok {
		return l.Lost(ctx, group)
	}
	return nil, nil
}

// A groupTree holds all known documents of a group, by their hashes.
type groupTree map[envelope.Hash]*envelope.Document

func newGroupTree(lists ...[]*envelope.Document) groupTree {
	t := groupTree{}
	for _, d := range slices.Concat(lists...) {
		if have := t[d.Hash()]; have == nil || !have.HasAttachments() {
			t[d.Hash()] = d
		}
	}
	return t
}

// inOrder returns the documents by their numbers, parents first.
func (t groupTree) inOrder() []*envelope.Document {
	documents := slices.Collect(maps.Values(t))
	sortByVersion(documents)
	return documents
}

// path returns the documents from the first one to the one with the given
// hash, or nil if some are missing.
func (t groupTree) path(to envelope.Hash) []*envelope.Document {
	var path []*envelope.Document
	for d := t[to]; d != nil; d = t[d.Parent] {
		path = append(path, d)
	}
	slices.Reverse(path)
	if len(path) == 0 || path[0].Version != 1 {
		return nil
	}
	return path
}

// tips returns the documents that none follows, the newest first.
func (t groupTree) tips() []*envelope.Document {
	followed := map[envelope.Hash]bool{}
	for _, d := range t {
		followed[d.Parent] = true
	}
	var tips []*envelope.Document
	for h, d := range t {
		if !followed[h] {
			tips = append(tips, d)
		}
	}
	slices.SortFunc(tips, func(a, b *envelope.Document) int {
		if versionOf(a).Newer(versionOf(b)) {
			return -1
		}
		return 1
	})
	return tips
}

func versionOf(d *envelope.Document) envelope.Version {
	return envelope.Version{N: d.Version, Hash: d.Hash()}
}

// winner returns the chain that counts, for a keystore that has held known so
// far and is shown offered: that of the newest tip, as everywhere. Tips that
// lost before and are not offered again don't count, since nobody else may have
// them; with prefer, those that are offered come first. Known is left only for a version that one of the admins it lists has
// signed, or after a recovery: an admin who was removed goes on from an old copy
// in vain.
func (t groupTree) winner(known, lost, offered []*envelope.Document, prefer bool) []*envelope.Document {
	isOffered, isLost := newGroupTree(offered), newGroupTree(lost)
	tips := slices.DeleteFunc(t.tips(), func(d *envelope.Document) bool {
		return isLost[d.Hash()] != nil && isOffered[d.Hash()] == nil
	})
	if prefer {
		slices.SortStableFunc(tips, func(a, b *envelope.Document) int {
			first, second := isOffered[a.Hash()] != nil, isOffered[b.Hash()] != nil
			switch {
			case first == second:
				return 0
			case first:
				return -1
			}
			return 1
		})
	}
	for _, tip := range tips {
		path := t.path(tip.Hash())
		switch {
		case path == nil:
		case len(known) == 0 || commonLength(known, path) == len(known) || mayLeave(known, path):
			return path
		}
	}
	return known
}

// mayLeave reports whether a keystore may go from known to a chain that leaves
// out some of it.
func mayLeave(known, path []*envelope.Document) bool {
	have, tip, common := known[len(known)-1], path[len(path)-1], commonLength(known, path)
	isRecovery := (*envelope.Document).IsRecovery
	if slices.ContainsFunc(known[common:], isRecovery) {
		return false // it may have replaced the key that signed the other
	}
	return slices.ContainsFunc(path[common:], isRecovery) ||
		slices.ContainsFunc(tip.Bare().Signed().Signatures, func(s envelope.Signature) bool {
			return have.IsAdmin(s.Signer) && !signedLater(known, s)
		})
}

// signedLater reports whether a signer of a signature has signed a document of a
// chain with a newer key: the signature may be by whoever stole the older one.
func signedLater(chain []*envelope.Document, s envelope.Signature) bool {
	return slices.ContainsFunc(chain, func(d *envelope.Document) bool {
		return slices.ContainsFunc(d.Bare().Signed().Signatures, func(other envelope.Signature) bool {
			return other.Signer == s.Signer && other.Version > s.Version
		})
	})
}

// commonLength returns how many of their first documents two chains share.
func commonLength(a, b []*envelope.Document) int {
	n := 0
	for n < min(len(a), len(b)) && a[n].Hash() == b[n].Hash() {
		n++
	}
	return n
}

// Forks returns the forks that lost against a group's chain and that no version
// of it has taken in, the newest first. Documents that a recovery left behind
// are none.
func Forks(chain, lost []*envelope.Document) []Fork {
	t := newGroupTree(chain, lost)
	done := map[envelope.Hash]bool{} // taken in
	for _, d := range chain {
		for _, h := range d.Group.Resolves {
			done[h] = true
		}
	}
	last := chain[len(chain)-1].Hash()
	var forks []Fork
	for _, tip := range t.tips() {
		path := t.path(tip.Hash())
		if path == nil || tip.Hash() == last || done[tip.Hash()] {
			continue
		}
		base := commonLength(chain, path)
		if base == len(path) || slices.ContainsFunc(chain[base:], (*envelope.Document).IsRecovery) {
			continue
		}
		for i := base; i < len(path); i++ {
			if done[path[i].Hash()] {
				base = i + 1
			}
		}
		forks = append(forks, Fork{Base: path[base-1], Documents: path[base:]})
	}
	return forks
}

// GroupChanges are what a run of a group's documents changes, by id.
type GroupChanges struct {
	Added, Removed             []envelope.AgentID // members
	Lifted                     []envelope.AgentID // members who read all of it now
	AddedAdmins, RemovedAdmins []envelope.AgentID
}

// ChangesOf returns what documents change that follow base, one after the
// other. Somebody who came and went counts as removed.
func ChangesOf(base *envelope.Document, documents []*envelope.Document) GroupChanges {
	var c GroupChanges
	last := base
	var members, admins []envelope.AgentID // who were there at some time
	for _, d := range slices.Concat([]*envelope.Document{base}, documents) {
		for _, m := range d.Group.Members {
			if _, still := documents[len(documents)-1].Member(m.ID); !still {
				members = append(members, m.ID)
			}
		}
		for _, id := range d.Group.Admins {
			if !documents[len(documents)-1].IsAdmin(id) {
				admins = append(admins, id)
			}
		}
		last = d
	}
	c.Removed, c.RemovedAdmins = distinct(members), distinct(admins)
	for _, m := range last.Group.Members {
		if before, ok := base.Member(m.ID); !ok {
			c.Added = append(c.Added, m.ID)
		} else if before.From > 0 && m.From == 0 {
			c.Lifted = append(c.Lifted, m.ID)
		}
	}
	for _, id := range last.Group.Admins {
		if !base.IsAdmin(id) {
			c.AddedAdmins = append(c.AddedAdmins, id)
		}
	}
	return c
}

// distinct sorts ids and leaves out repeats.
func distinct(ids []envelope.AgentID) []envelope.AgentID {
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// ResolveGroup returns the next document of a group, which takes in what lost:
// it adds whom either side has added and removes whom either side has removed;
// where they differ, removals win. It has a new epoch if somebody goes or the
// losing side had one, and then carries the keys of the losing side's epochs
// along, so that what was sealed for those stays readable. lost are the lost
// documents, with attachments. For the rest see [ChangeGroup].
//
// What somebody signed who is an admin no longer isn't taken in, and an admin whom
// the losing side has removed doesn't do it, if there is another: these are
// errors of kind Denied. With drop nothing of what lost is
// taken in but those keys, as far as they open: somebody did it who shouldn't.
func ResolveGroup(ctx context.Context, me *Secrets, identities []envelope.Identity, docs envelope.Documents, group envelope.AgentID, lost []*envelope.Document, drop bool) (*envelope.Document, error) {
	chain, err := docs.Chain(ctx, group)
	if err != nil {
		return nil, err
	}
	d := chain[len(chain)-1]
	if err := checkAdmin(me, d); err != nil {
		return nil, err
	}
	forks := Forks(chain, lost)
	if len(forks) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "group %s has no fork to resolve", title(d))
	}
	forks = forks[:min(len(forks), envelope.MaxResolves)] // the rest another time
	if !drop {
		if err := checkSigners(d, forks); err != nil {
			return nil, err
		}
	}
	next := succession{me: me, docs: docs, chain: chain}
	if next.current, err = currentEpoch(ctx, chain, identities); err != nil {
		return nil, err
	}
	if drop {
		next.admins, next.stay = d.Group.Admins, d.Group.Members
	} else if err := next.merge(ctx, d, forks); err != nil {
		return nil, err
	}
	t := newGroupTree(chain, lost)
	for _, f := range forks {
		next.resolves = append(next.resolves, f.Tip().Hash())
		if f.Tip().Group.Epoch == f.Base.Group.Epoch {
			continue
		}
		if err := next.carry(ctx, f, t.path(f.Tip().Hash()), identities); err != nil && !drop {
			return nil, err
		}
		next.newEpoch = next.newEpoch || !drop || len(next.lost) > 0
	}
	slices.SortFunc(next.resolves, func(a, b envelope.Hash) int { return bytes.Compare(a[:], b[:]) })
	return next.document(ctx)
}

// checkSigners refuses forks by whom d doesn't list as an admin any more.
func checkSigners(d *envelope.Document, forks []Fork) error {
	for _, f := range forks {
		for _, doc := range f.Documents {
			if !slices.ContainsFunc(doc.Signed().Signatures, func(s envelope.Signature) bool { return d.IsAdmin(s.Signer) }) {
				return envelope.WithHint(envelope.Errorf(envelope.Denied, "version %d of group %s that lost is by somebody who is an admin no longer", doc.Version, title(d)),
					"drop it, and make again by hand what was right about it")
			}
		}
	}
	return nil
}

// merge makes d's members and admins those of both sides.
func (n *succession) merge(ctx context.Context, d *envelope.Document, forks []Fork) error {
	var add, gone, addAdmins, goneAdmins []envelope.AgentID
	for _, f := range forks {
		lost := ChangesOf(f.Base, f.Documents)
		add, addAdmins = slices.Concat(add, lost.Added, lost.Lifted), append(addAdmins, lost.AddedAdmins...)
		gone, goneAdmins = append(gone, lost.Removed...), append(goneAdmins, lost.RemovedAdmins...)
		at := slices.IndexFunc(n.chain, func(c *envelope.Document) bool { return c.Hash() == f.Base.Hash() })
		if at < 0 { // a part of the fork was taken in before: then the base is on the fork
			at = slices.IndexFunc(n.chain, func(c *envelope.Document) bool { return slices.Contains(c.Group.Resolves, f.Base.Hash()) })
		}
		if at >= 0 && at+1 < len(n.chain) {
			won := ChangesOf(n.chain[at], n.chain[at+1:])
			gone, goneAdmins = append(gone, won.Removed...), append(goneAdmins, won.RemovedAdmins...)
		}
	}
	if slices.Contains(gone, n.me.agent) || slices.Contains(goneAdmins, n.me.agent) {
		if slices.ContainsFunc(d.Group.Admins, func(id envelope.AgentID) bool { return id != n.me.agent && !slices.Contains(gone, id) }) {
			return envelope.WithHint(envelope.Errorf(envelope.Denied, "the version of group %s that lost removes you", title(d)), "another of its admins must resolve the fork")
		}
		// Nobody else is left who may do it.
		gone, goneAdmins = without(gone, n.me.agent), without(goneAdmins, n.me.agent)
	}
	goneAdmins = append(goneAdmins, gone...)
	for _, id := range distinct(slices.Concat(d.Group.Admins, addAdmins)) {
		if !slices.Contains(goneAdmins, id) {
			n.admins = append(n.admins, id)
		}
	}
	if err := n.addFrom(ctx, d, forks, without(distinct(append(add, n.admins...)), gone...)); err != nil {
		return err
	}
	n.keep(d, gone)
	n.newEpoch = len(n.stay) < len(d.Group.Members)
	return nil
}

// addFrom takes in members of forks whom d lacks, or who read only from some
// epoch on in d and all in a fork, or become admins. Who reads only from some
// epoch on there does so here, too, from the new one on.
func (n *succession) addFrom(ctx context.Context, d *envelope.Document, forks []Fork, add []envelope.AgentID) error {
	for _, id := range add {
		if m, ok := d.Member(id); ok && m.From == 0 {
			continue
		}
		doc, err := memberDocument(ctx, n.docs, id)
		if err != nil {
			return err
		}
		if err := checkCycle(ctx, n.docs, d, doc); err != nil {
			return err
		}
		s := seat{doc: doc}
		for _, f := range forks {
			if m, ok := f.Tip().Member(id); ok && m.From > 0 && !slices.Contains(n.admins, id) {
				s.from = d.Group.Epoch + 1
			}
		}
		n.added = append(n.added, s)
	}
	return nil
}

// carry opens the keys of a fork's epochs, so that the next epoch passes them
// on. If no admin is left who can, who was a member there still reads what was
// sealed there, by the key boxes of the lost documents.
func (n *succession) carry(ctx context.Context, f Fork, path []*envelope.Document, identities []envelope.Identity) error {
	secrets, err := GroupSecrets(ctx, path, identities)
	opened := uint64(0)
	for _, s := range secrets {
		if at := envelope.FindVersion(path, s.version); at == nil || at.Group.Epoch <= f.Base.Group.Epoch {
			continue
		}
		opened++
		n.lost = append(n.lost, s.identities...)
	}
	someoneCan := slices.ContainsFunc(n.admins, func(id envelope.AgentID) bool {
		m, ok := f.Tip().Member(id)
		return ok && m.From == 0 && id != n.me.agent
	})
	if opened < f.Tip().Group.Epoch-f.Base.Group.Epoch && someoneCan {
		if err == nil {
			err = envelope.Errorf(envelope.NotReader, "you were not a member there")
		}
		return envelope.WithHint(envelope.Errorf(envelope.KindOf(err), "cannot open all keys of version %d of group %s that lost: %w", f.Tip().Version, title(f.Tip()), err),
			"an admin who is a member on both sides must resolve the fork")
	}
	if len(n.lost) > maxOldIdentities {
		return envelope.Errorf(envelope.Full, "the forks have more than %d epochs", maxOldIdentities)
	}
	return nil
}

func without(ids []envelope.AgentID, out ...envelope.AgentID) []envelope.AgentID {
	return slices.DeleteFunc(slices.Clone(ids), func(id envelope.AgentID) bool { return slices.Contains(out, id) })
}

// sortByVersion puts documents in an order in which parents come first.
func sortByVersion(documents []*envelope.Document) {
	slices.SortStableFunc(documents, func(a, b *envelope.Document) int { return cmp.Compare(a.Version, b.Version) })
}
