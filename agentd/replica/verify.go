package replica

import (
	"context"
	"slices"

	"l2p/envelope"
)

// verify checks who wrote a record. If the documents at hand don't suffice it
// looks for newer ones.
func (r *Replica) verify(ctx context.Context, rec *envelope.Record) error {
	if r.broken.noSignature {
		return nil
	}
	err := r.verifyWith(ctx, rec, false)
	if envelope.KindOf(err) == envelope.NotFound {
		err = r.verifyWith(ctx, rec, true)
	}
	return err
}

func (r *Replica) verifyWith(ctx context.Context, rec *envelope.Record, fresh bool) error {
	docs := signersDocuments{r, rec.Signed, fresh}
	if rec.Document == nil || rec.Version.N == 1 {
		return envelope.VerifyRecord(ctx, rec, docs)
	}
	// The parent may be on the losing side of a fork, which no chain shows.
	t, err := r.tree(ctx, rec.Ref.Owner, fresh)
	if err != nil {
		return err
	}
	chain := t.upTo(rec.Parent)
	if chain == nil {
		return envelope.Errorf(envelope.NotFound, "the document before version %d of %s is not known, so it can't be checked",
			rec.Version.N, rec.Ref.Owner)
	}
	return envelope.VerifyDocument(ctx, rec.Document, chain, docs)
}

// verifyPut is verify for what a client puts now: its signatures must also be
// by the newest keys that are known, so that a key that has been replaced
// writes nothing any more.
func (r *Replica) verifyPut(ctx context.Context, rec *envelope.Record) error {
	if err := r.verify(ctx, rec); err != nil {
		return err
	}
	if rec.Document != nil && rec.Document.IsRecovery() {
		return r.checkRecovery(ctx, rec.Document)
	}
	if rec.Document != nil && rec.Document.Kind != envelope.Group {
		return nil // signed by the version before, and compare-and-set sees to that
	}
	for _, sig := range rec.Signed.Signatures {
		if sig.Algorithm != envelope.Ed25519 {
			continue
		}
		chain, err := r.Chain(ctx, sig.Signer)
		if err != nil {
			return err
		}
		if sig.Version > chain[len(chain)-1].Version { // verify has seen newer documents than this
			if chain, err = r.chain(ctx, sig.Signer, true); err != nil {
				return err
			}
		}
		signer := envelope.FindVersion(chain, sig.Version)
		if signer == nil || !signer.SigningKey().Equal(chain[len(chain)-1].SigningKey()) {
			return envelope.WithHint(
				envelope.Errorf(envelope.Denied, "signed with a key of %s that has been replaced", sig.Signer),
				"sign with the newest keys")
		}
	}
	return nil
}

// checkRecovery refuses a recovery document that would leave another one
// behind: its key may be one that the other has replaced.
func (r *Replica) checkRecovery(ctx context.Context, d *envelope.Document) error {
	t, err := r.tree(ctx, d.ID(), false)
	if err != nil {
		return err
	}
	if t.byHash[d.Hash()] != nil {
		return nil
	}
	follows := t.upTo(d.Parent)
	for _, known := range t.newest() {
		if known.IsRecovery() && !slices.Contains(follows, known) {
			return envelope.WithHint(
				envelope.Errorf(envelope.Conflict, "%s has been recovered already, by version %d", d.ID(), known.Version),
				"get the newest documents and try again")
		}
	}
	return nil
}

// checkComplete refuses a document that came without the attachments that it
// names: it would hide them from those who need them.
func checkComplete(rec *envelope.Record) error {
	d := rec.Document
	if d == nil || len(rec.Signed.Attachments) > 0 {
		return nil
	}
	if !d.Locked.IsZero() || d.Group != nil && len(d.Group.Boxes) > 0 {
		return envelope.Errorf(envelope.Corrupt, "the document comes without the attachments that it names")
	}
	return nil
}

// maxForks is how many versions with one number are kept. An owner who forks
// more often than that does it on purpose.
const maxForks = 16

// acceptPut decides whether a record that a client puts follows from what is
// kept: compare-and-set on the parent. newest are the newest versions kept,
// the winner first. A recovery document passes by its number, whatever its
// parent: nobody can have compared and set what a thief may add at any time.
func acceptPut(rec *envelope.Record, newest []envelope.Version) error {
	if err := checkStep(rec, newest); err != nil || len(newest) == 0 {
		return err
	}
	have, v := newest[0], rec.Version
	switch {
	case v.N > have.N+1:
		return nil // this replica is behind
	case v.N == have.N+1 && rec.Parent == have.Hash:
		return nil
	}
	return envelope.WithHint(
		envelope.Errorf(envelope.Conflict, "somebody else has written version %d (%s) already", have.N, have.Hash.Short()),
		"get the newest version and make the change again")
}

// maxBehind is how many versions a replica may have missed. Without a bound,
// whoever may write at a ref for a moment, such as a thief or a member of a group
// that owns it, could take the last number, and nobody would ever write there
// again. Documents have their own numbers, and verify as a whole.
const maxBehind = 1 << 20

// checkStep refuses a record that is too far from the newest versions kept.
func checkStep(rec *envelope.Record, newest []envelope.Version) error {
	var have uint64
	if len(newest) > 0 {
		have = newest[0].N
	}
	if n := rec.Version.N; rec.Document == nil && n > have && n-have > maxBehind {
		return envelope.Errorf(envelope.Conflict, "version %d can't follow from version %d, so many are missing", n, have)
	}
	return nil
}

// acceptRepair decides whether a copy that another replica passes on is kept:
// any version is, unless it is far from the newest ones.
func acceptRepair(rec *envelope.Record, newest, kept []envelope.Version) error {
	if err := checkStep(rec, newest); err != nil {
		return err
	}
	if len(kept) >= maxForks {
		return envelope.Errorf(envelope.Full, "%d versions with the number %d are kept already", len(kept), rec.Version.N)
	}
	return nil
}
