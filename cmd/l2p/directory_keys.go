package main

import (
	"context"
	"slices"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// newRun returns the documents of an agent that the network has and known
// lacks, oldest first: the end of the chain that leads to the winner. Known's
// newest may come again, and must be the same. others are those of a group that
// lost, as far as they were asked for: all of them if whole is set.
func (d *directory) newRun(ctx context.Context, id envelope.AgentID, known []*envelope.Document, whole bool) (run, others []*envelope.Document, err error) {
	list := wire.ListRecords{Kind: envelope.KindDocument, Owner: id, History: true, Bare: true}
	if len(known) > 0 && !whole {
		list.AfterN = known[len(known)-1].Version - 1
	}
	for {
		var listed []*envelope.Document
		for r, err := range d.client.Records(ctx, list) {
			if is(err, envelope.NotFound) {
				break
			}
			if err != nil {
				return nil, nil, err
			}
			listed = append(listed, r.Document)
		}
		run, others, joins := runOf(listed, known)
		if joins || list.AfterN == 0 {
			return run, others, nil
		}
		list.AfterN = 0 // it left the chain that is known before its end
	}
}

// runOf returns the run of listed that ends in the winner, and the rest of a
// group's. It reports whether the run joins on to known or begins with the first
// document, and whether the rest joins, too.
func runOf(listed, known []*envelope.Document) (run, others []*envelope.Document, joins bool) {
	byHash := make(map[envelope.Hash]*envelope.Document, len(listed))
	isKnown := make(map[envelope.Hash]bool, len(known))
	for _, doc := range known {
		isKnown[doc.Hash()] = true
	}
	var best *envelope.Document
	for _, doc := range listed {
		byHash[doc.Hash()] = doc
		if best == nil || versionOf(doc).Newer(versionOf(best)) {
			best = doc
		}
	}
	inRun := make(map[envelope.Hash]bool)
	for doc := best; doc != nil && len(run) < len(listed); doc = byHash[doc.Parent] {
		run = append(run, doc)
		inRun[doc.Hash()] = true
	}
	if len(run) == 0 {
		return nil, nil, true
	}
	slices.Reverse(run)
	joins = run[0].Version == 1 || isKnown[run[0].Parent]
	for _, doc := range listed {
		if doc.Group == nil || inRun[doc.Hash()] || isKnown[doc.Hash()] {
			continue
		}
		others = append(others, doc)
		joins = joins && (isKnown[doc.Parent] || byHash[doc.Parent] != nil)
	}
	return run, others, joins
}

func versionOf(d *envelope.Document) envelope.Version {
	return envelope.Version{N: d.Version, Hash: d.Hash()}
}

// tellOfNewKeys says, when the keystore has learnt run, that an agent whose name
// is known has other keys than before. It says so once: then they are known.
// Groups have new keys all the time.
func (d *directory) tellOfNewKeys(known, run []*envelope.Document) {
	if len(known) == 0 {
		return
	}
	before, now := known[len(known)-1], run[len(run)-1]
	if now.Group != nil || now.SigningKey().Equal(before.SigningKey()) && now.Recipient == before.Recipient {
		return
	}
	name := d.nameOf(now.ID())
	if name == "" {
		return
	}
	for _, doc := range slices.Backward(run) {
		if doc.IsRecovery() && doc.Version > before.Version {
			d.s.warn("%s was recovered on %s: its earlier keys are revoked, and may be a thief's; make sure that %s did it", name, day(doc), name)
			return
		}
	}
	d.s.remark("%s has new keys since %s; the chain of documents is intact", name, day(now))
}

// nameOf returns the name that is pinned to an agent, or "".
func (d *directory) nameOf(id envelope.AgentID) string {
	names, err := d.store.Names()
	if err != nil {
		return ""
	}
	for _, n := range names {
		if n.Agent == id {
			return n.Name
		}
	}
	return ""
}

// day is the day of a document, by its author's clock.
func day(d *envelope.Document) string { return time.UnixMilli(d.Time).UTC().Format(time.DateOnly) }

// revoked returns the name of an agent that the operator of its box has
// revoked, or "": as the network says, and else as the keystore last heard.
func (d *directory) revoked(ctx context.Context, id envelope.AgentID) (string, error) {
	doc, err := d.newest(ctx, id)
	if err != nil {
		return "", err
	}
	if name, err := envelope.ParseName(doc.Name); err == nil && d.client != nil && !d.looked[doc.Name] {
		// Whatever comes of it is in the keystore.
		if _, err := d.lookup(ctx, name); is(err, envelope.Corrupt) || ctx.Err() != nil {
			return "", err
		}
	}
	marked, err := d.markedRevoked()
	return marked[id], err
}

// markedRevoked returns the agents that are revoked as the keystore last heard,
// and their names.
func (d *directory) markedRevoked() (map[envelope.AgentID]string, error) {
	names, err := d.store.Names()
	marked := make(map[envelope.AgentID]string)
	for _, n := range names {
		if n.Revoked {
			marked[n.Agent] = n.Name
		}
	}
	return marked, err
}

// revokedAuthor returns the name of h's author, or of who wrote the payload, if
// the operator of its box has revoked it, or "". Nobody asks about own agents.
func (d *directory) revokedAuthor(ctx context.Context, h *envelope.Header) (string, error) {
	for _, id := range []envelope.AgentID{h.Author, h.Writer()} {
		if _, err := d.store.Agent(id); err == nil {
			continue
		}
		if name, err := d.revoked(ctx, id); err != nil || name != "" {
			return name, err
		}
	}
	return "", nil
}

// leftBehind reports whether a record was signed with keys of documents that a
// recovery has left behind.
func (d *directory) leftBehind(ctx context.Context, r *envelope.Record) bool {
	return slices.ContainsFunc(r.Signed.Signatures, func(sig envelope.Signature) bool {
		chain, err := d.Chain(ctx, sig.Signer)
		return err == nil && envelope.FindVersion(chain, sig.Version) == nil && envelope.RevokedBy(chain, sig.Version) != nil
	})
}

// parentRecord is newestRecord for who writes the next version: it may be of
// anybody who could write there.
func (s *session) parentRecord(ctx context.Context, node *netq.Client, ref envelope.Ref) (*envelope.Record, error) {
	record, err := s.newestRecord(ctx, node, ref)
	if record != nil && is(err, envelope.Denied) {
		s.remark("%v", err)
		return record, nil
	}
	return record, err
}

// warnAuthor says in a line if what somebody signed is to be doubted: the key
// has been revoked since, or the box no longer vouches for the author.
func (s *session) warnAuthor(ctx context.Context, o *envelope.Opener) {
	if o.Author() == envelope.Unknown {
		return
	}
	if r := o.RevokedBy(); r != nil {
		s.warn("signed with a key of %s that was revoked on %s: whoever stole it can have written this", s.dir.called(ctx, r.ID()), day(r))
		return
	}
	name, err := s.dir.revokedAuthor(ctx, o.Header())
	switch {
	case ctx.Err() != nil: // interrupted, which says nothing of the author
	case err != nil:
		s.remark("whether its author is revoked can't be told: %v", err)
	case name != "":
		s.warn("%s is revoked by the operator of its box: somebody else may have its keys", name)
	}
}

// warnOldKeys says in a line if a group that is sealed for can still be opened
// with keys that are revoked: those of a member who was recovered since, as far
// as the keystore knows. To ask for each member would take too long.
func (s *session) warnOldKeys(ctx context.Context, group *envelope.Document) {
	if group.Group == nil || len(group.Group.Members) > maxLookedUp {
		return
	}
	for _, m := range group.Group.Members {
		if m.Epoch != 0 {
			continue // a group, whose new keys have made it lag behind
		}
		if chain, err := s.keystore.Chain(ctx, m.ID); err == nil && envelope.RevokedBy(chain, m.Version) != nil {
			s.warn("group %s can still be opened with the former keys of %s, which are revoked, until an admin runs: l2p group renew %s", title(group), title(chain[len(chain)-1]), title(group))
			return
		}
	}
}
