package main

import (
	"context"
	"errors"
	"strings"

	"l2p/envelope"
	"l2p/keystore"
	"l2p/netq"
)

// A refText is a reference as people write it, parted.
type refText struct {
	owner string // a name or an id; empty: the agent that the run acts as
	name  string // of the envelope
}

// parseRef parses NAME or OWNER/NAME, where OWNER is a name such as
// adam@a-tech or an id l2p1…. A name may have slashes itself: what stands
// before the first is an owner if it has an "@" or begins like an id.
func parseRef(text string) (refText, error) {
	ref := refText{name: text}
	if owner, name, ok := strings.Cut(text, "/"); ok && (strings.Contains(owner, "@") || strings.HasPrefix(owner, "l2p1")) {
		ref = refText{owner, name}
	}
	if err := envelope.CheckRefName(ref.name); err != nil {
		return refText{}, envelope.WithHint(err, "an envelope is written NAME or OWNER/NAME")
	}
	return ref, nil
}

// ref returns the place on the ring that a reference means.
func (s *session) ref(ctx context.Context, text string) (envelope.Ref, error) {
	parsed, err := parseRef(text)
	if err != nil {
		return envelope.Ref{}, err
	}
	ref := envelope.Ref{Kind: envelope.KindEnvelope, Name: parsed.name}
	if parsed.owner == "" {
		me, err := s.acting()
		if err != nil {
			return ref, envelope.WithHint(err, "or say whose it is: OWNER/%s", printable(parsed.name))
		}
		ref.Owner = me.ID()
		return ref, nil
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return ref, err
	}
	ref.Owner, err = dir.resolve(ctx, parsed.owner)
	return ref, err
}

// refAt returns the place that a reference means, and the node to ask about it.
func (s *session) refAt(ctx context.Context, text string) (envelope.Ref, *netq.Client, error) {
	ref, err := s.ref(ctx, text)
	if err != nil {
		return ref, nil, err
	}
	node, err := s.memberNode(ctx)
	return ref, node, err
}

// newestRecord gets the newest version of an envelope from the node, checks
// who wrote it, and refuses one that is older than what was seen before. A
// place where nothing is yet is an error of kind NotFound. A version that was
// signed with keys that a recovery has left behind comes with an error of kind
// Denied: to be replaced, for nothing else.
func (s *session) newestRecord(ctx context.Context, node *netq.Client, ref envelope.Ref) (*envelope.Record, error) {
	record, err := s.record(ctx, node, ref, 0)
	if err != nil {
		return record, err
	}
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	if err := store.Remember(ref, record.Version); errors.Is(err, keystore.ErrOlder) {
		return nil, envelope.WithHint(err, "try again when all nodes are up; --version %d gets this one all the same", record.Version.N)
	} else if err != nil {
		return nil, err
	}
	return record, nil
}

// record gets version n of an envelope, or the newest if n is 0, from the node
// and checks who wrote it.
func (s *session) record(ctx context.Context, node *netq.Client, ref envelope.Ref, n uint64) (*envelope.Record, error) {
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	data, reply, err := node.GetRecord(ctx, ref, n)
	if is(err, envelope.NotFound) {
		return nil, dir.noEnvelope(ctx, ref, n)
	}
	if err != nil {
		return nil, err
	}
	record, err := envelope.ParseRecord(envelope.KindEnvelope, data)
	if err != nil {
		return nil, err
	}
	if record.Ref != ref || n > 0 && record.Version.N != n {
		return nil, envelope.Errorf(envelope.Corrupt, "the node answers with another envelope than %s", quoted(ref.Name))
	}
	if err := envelope.VerifyRecord(ctx, record, dir); is(err, envelope.NotFound) && dir.leftBehind(ctx, record) {
		return record, envelope.WithHint(envelope.Errorf(envelope.Denied, "nothing proves who wrote version %d of %s: its keys were left behind when the agent was recovered", record.Version.N, quoted(ref.Name)),
			"--version gets an earlier version")
	} else if err != nil {
		return nil, err
	}
	if reply.Stale {
		s.warn("too few nodes answer: there may be a newer version than %d", record.Version.N)
	}
	if len(reply.Forks) > 0 {
		s.warn("there are %d more versions with the number %d, written at the same time; this one wins (`l2p history` shows them)", len(reply.Forks), record.Version.N)
	}
	return record, nil
}

// noEnvelope is the error where there is no version n of an envelope, or none at all
// if n is 0.
func (d *directory) noEnvelope(ctx context.Context, ref envelope.Ref, n uint64) error {
	owner := d.short(ctx, ref.Owner)
	if n > 0 {
		return envelope.WithHint(envelope.Errorf(envelope.NotFound, "%s has no version %d of %s", owner, n, quoted(ref.Name)),
			"`l2p history` shows which there are")
	}
	err := envelope.Errorf(envelope.NotFound, "%s has no envelope %s", owner, quoted(ref.Name))
	me, err2 := d.s.acting()
	if err2 != nil || me.ID() != ref.Owner {
		return envelope.WithHint(err, "`l2p ls OWNER` shows what there is")
	}
	// A name may have slashes, so what stands before one is no owner by itself.
	if first, rest, ok := strings.Cut(ref.Name, "/"); ok {
		if id, err2 := d.resolveLocal(first); err2 == nil {
			return envelope.WithHint(err, "to mean that of another owner, say it in full: %s/%s", d.short(ctx, id), printable(rest))
		}
	}
	return envelope.WithHint(err, "`l2p ls` shows what there is")
}

// checkOwner refuses an owner for whom the agent that the command acts as can't
// write: any other than itself and groups. Whether it is in the group only its
// keys tell; see ownerSigner.
func (s *session) checkOwner(ctx context.Context, owner envelope.AgentID) error {
	me, err := s.acting()
	if err != nil || owner == me.ID() {
		return err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	doc, err := dir.newest(ctx, owner)
	if err == nil && doc.Group == nil {
		err = envelope.WithHint(envelope.Errorf(envelope.Denied, "only %s itself may write there", printable(title(doc))), "choose who acts with --as")
	}
	return err
}

// ownerSigner returns who signs for what an owner has: nil where that is the
// author, else the group, whose keys one of the identities opens. checkOwner has
// let the owner pass.
func (s *session) ownerSigner(ctx context.Context, owner envelope.AgentID, identities []envelope.Identity) (envelope.Signer, error) {
	author, err := s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	if owner == author.Agent() {
		return nil, nil
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	chain, err := dir.Chain(ctx, owner)
	if err != nil {
		return nil, err
	}
	newest := chain[len(chain)-1]
	secrets, err := keystore.GroupSecrets(ctx, chain, identities)
	if len(secrets) == 0 {
		if is(err, envelope.NotReader) {
			return nil, envelope.Errorf(envelope.Denied, "only members of %s may write there", printable(title(newest)))
		}
		return nil, err
	}
	// A former member still opens older epochs.
	if !newest.SigningKey().Equal(secrets[0].PrivateKey().Public()) {
		return nil, envelope.Errorf(envelope.Denied, "%s is no member of %s any more", dir.short(ctx, author.Agent()), printable(title(newest)))
	}
	return secrets[0], nil
}

// place is how messages call an envelope: by its owner and name, as other commands
// take it.
func (d *directory) place(ctx context.Context, ref envelope.Ref) string {
	return d.short(ctx, ref.Owner) + "/" + printable(ref.Name)
}

// short is how tables call an agent: by its name where that is known to be the
// agent's, else by the beginning of its id.
func (d *directory) short(ctx context.Context, id envelope.AgentID) string {
	if chain, err := d.Chain(ctx, id); err == nil {
		if claim := chain[len(chain)-1].Name; claim != "" && d.isName(ctx, claim, id) {
			return printable(claim)
		}
	}
	return id.Short() + "…"
}
