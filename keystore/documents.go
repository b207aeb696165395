package keystore

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"

	"l2p/envelope"
)

// ErrOlder is in the chain of errors (of kind Conflict) that refuse something
// older than what was seen before: who shows it is behind, or lies.
var ErrOlder = errors.New("older than what was seen before")

const documentsDir = "documents"

// maxVersions bounds the documents of one agent that are read.
const maxVersions = 1 << 16

// versionsIn returns the names of files in dir that are version numbers,
// ascending. Other files are passed over.
func versionsIn(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fileError(err)
	}
	var versions []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && n > 0 && strconv.FormatUint(n, 10) == e.Name() {
			versions = append(versions, n)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

// readChain returns the documents of an agent as they are on disk, oldest
// first: each names the one before by its hash, so that a changed file is
// noticed. Their signatures were checked before they were written. What a
// recovery document has left behind, and a killed program has not removed, is
// passed over. It returns none for an unknown agent.
func (s *Store) readChain(id envelope.AgentID) ([]*envelope.Document, error) {
	versions, err := versionsIn(s.path(documentsDir, id.String()))
	if err != nil {
		return nil, err
	}
	if len(versions) > maxVersions {
		return nil, envelope.Errorf(envelope.Full, "%s has more than %d documents", id, maxVersions)
	}
	damaged := func(n uint64, err error) error {
		return envelope.WithHint(
			envelope.Errorf(envelope.Corrupt, "document %d of %s in the keystore is damaged: %w", n, id, err),
			"remove %+q and fetch the agent anew", s.path(documentsDir, id.String()))
	}
	noParent := envelope.Errorf(envelope.Corrupt, "it does not follow from the one before")
	chain := make([]*envelope.Document, 0, len(versions)) // the newest first
	for _, n := range slices.Backward(versions) {
		d, err := s.readDocument(id, versionName(n))
		if err == nil && (d.Version != n || d.ID() != id) {
			err = envelope.Errorf(envelope.Corrupt, "it is another one")
		}
		if err != nil {
			return nil, damaged(n, err)
		}
		if len(chain) > 0 {
			next := chain[len(chain)-1]
			if next.Parent != d.Hash() && next.IsRecovery() {
				continue
			}
			if next.Parent != d.Hash() {
				return nil, damaged(next.Version, noParent)
			}
		}
		chain = append(chain, d)
	}
	if len(chain) > 0 && chain[len(chain)-1].Version != 1 {
		return nil, damaged(chain[len(chain)-1].Version, noParent)
	}
	slices.Reverse(chain)
	return chain, nil
}

// Chain returns the documents of an agent that the store knows, oldest first.
// With it the store is an envelope.Documents. An unknown agent is an error of
// kind NotFound.
func (s *Store) Chain(ctx context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	chain, err := s.readChain(id)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, envelope.Errorf(envelope.NotFound, "no documents of %s are known here", id)
	}
	return chain, nil
}

// Newest returns the newest document of an agent that the store knows.
func (s *Store) Newest(ctx context.Context, id envelope.AgentID) (*envelope.Document, error) {
	return newest(ctx, s, id)
}

func newest(ctx context.Context, docs envelope.Documents, id envelope.AgentID) (*envelope.Document, error) {
	chain, err := docs.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, envelope.Errorf(envelope.NotFound, "no documents of %s", id)
	}
	return chain[len(chain)-1], nil
}

// Known returns the ids of all agents whose documents the store has.
func (s *Store) Known() ([]envelope.AgentID, error) { return s.idsIn(documentsDir) }

// idsIn returns the agent ids that name files in a directory of the store.
func (s *Store) idsIn(dir string) ([]envelope.AgentID, error) {
	entries, err := os.ReadDir(s.path(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fileError(err)
	}
	var ids []envelope.AgentID
	for _, e := range entries {
		if id, err := envelope.ParseAgentID(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// AddDocuments keeps documents of one agent: a run of its chain, oldest first,
// that begins with the first document or joins on to what is known. They are
// verified; the documents of a group's admins must be known already.
//
// A run that ends before what is known is refused with [ErrOlder], and one
// that differs from it as a fork, of kind Conflict: the agent, or somebody with its
// keys, made two documents of one number. But a recovery document may leave
// ordinary documents behind; the keystore forgets those. A group's documents
// may be of both sides of a fork: those that lose are kept, too ([Store.Lost]).
func (s *Store) AddDocuments(ctx context.Context, run []*envelope.Document) error {
	if len(run) == 0 {
		return envelope.Errorf(envelope.Usage, "no documents to add")
	}
	return s.locked(func() error { return s.addDocuments(ctx, run) })
}

func (s *Store) addDocuments(ctx context.Context, run []*envelope.Document) error {
	known, err := s.readChain(run[0].ID())
	if err != nil {
		return err
	}
	if run[0].Group != nil {
		return s.addGroup(ctx, known, run, false)
	}
	chain, common, err := joinRun(known, run)
	if err != nil {
		return err
	}
	for i, d := range chain[common:] {
		if err := envelope.VerifyDocument(ctx, d, chain[:common+i], s); err != nil {
			return err
		}
	}
	return s.writeChain(known, chain, common)
}

// joinRun returns the chain that ends in run, and how many of its first
// documents are those of known. Documents of the run that are known are taken
// from it, with their attachments.
func joinRun(known, run []*envelope.Document) (chain []*envelope.Document, common int, err error) {
	id := run[0].ID()
	for i, d := range run {
		if d.ID() != id || i > 0 && d.Parent != run[i-1].Hash() {
			return nil, 0, envelope.Errorf(envelope.Corrupt, "documents do not form a run of one agent's")
		}
	}
	last := run[len(run)-1]
	if len(known) > 0 && last.Version < known[len(known)-1].Version {
		return nil, 0, older(last, known[len(known)-1])
	}
	if run[0].Version > 1 {
		i := slices.IndexFunc(known, func(d *envelope.Document) bool { return d.Hash() == run[0].Parent })
		if i < 0 {
			if other := envelope.FindVersion(known, run[0].Version); other != nil {
				return nil, 0, twoVersions(other, run[0])
			}
			return nil, 0, envelope.Errorf(envelope.NotFound, "the document before version %d of %s is not known", run[0].Version, id)
		}
		chain = slices.Clone(known[:i+1])
	}
	chain = append(chain, run...)
	for common < min(len(known), len(chain)) && known[common].Hash() == chain[common].Hash() {
		common++
	}
	left := known[common:]
	isRecovery := (*envelope.Document).IsRecovery
	if len(left) > 0 && (slices.ContainsFunc(left, isRecovery) || !slices.ContainsFunc(chain[common:], isRecovery)) {
		return nil, 0, twoVersions(left[0], chain[common])
	}
	return chain, common, nil
}

// older is the error of documents that end before what is known.
func older(offered, known *envelope.Document) error {
	return envelope.Errorf(envelope.Conflict, "version %d of %s is offered as its newest, but version %d is known: %w",
		offered.Version, known.ID(), known.Version, ErrOlder)
}

// twoVersions is the error of a fork.
func twoVersions(known, offered *envelope.Document) error {
	return envelope.Errorf(envelope.Conflict, "%s has two different versions %d: %s is known, %s is offered",
		known.ID(), known.Version, known.Hash().Short(), offered.Hash().Short())
}

// writeChain makes chain, whose first common documents are known's, what is
// known. It removes what a recovery document has left behind, writes documents
// that are new or bring attachments that known lacks, and strips those that
// are superseded. Documents are written in order and removed from the newest
// on, so that a killed program leaves a chain without gaps.
func (s *Store) writeChain(known, chain []*envelope.Document, common int) error {
	left := known[common:]
	if len(left) > 0 && chain[common].IsRecovery() {
		// With it there, they don't count; without it, they must not be missed.
		if err := s.writeNew(known, chain, common); err != nil {
			return err
		}
		return s.removeLeft(left)
	}
	if err := s.removeLeft(left); err != nil { // their names may be needed
		return err
	}
	return s.writeNew(known, chain, common)
}

// removeLeft removes documents that are off the chain.
func (s *Store) removeLeft(left []*envelope.Document) error {
	if len(left) == 0 {
		return nil
	}
	id := left[0].ID()
	for _, d := range slices.Backward(left) {
		if err := s.removeDocument(id, versionName(d.Version)); err != nil {
			return err
		}
	}
	return syncDir(s.path(documentsDir, id.String()))
}

// writeNew is writeChain but for the removal.
func (s *Store) writeNew(known, chain []*envelope.Document, common int) error {
	own, err := s.hasSecrets(chain[0].ID())
	if err != nil {
		return err
	}
	for i, d := range chain {
		keep := keepsAttachments(chain, i)
		if i >= common {
			if !keep && d.Group != nil {
				d = d.Bare()
			}
			if err := s.writeDocument(d); err != nil {
				return err
			}
			continue
		}
		if !keep || known[i].HasAttachments() || !d.HasAttachments() {
			continue
		}
		// The signatures that were verified stay; the attachments were
		// checked against the body's hashes when d was parsed.
		whole := known[i].Later(func() [][]byte { return d.Signed().Attachments })
		if err := s.writeDocument(whole); err != nil {
			return err
		}
	}
	if own {
		return nil // they may have to be published: see Published
	}
	return s.stripSuperseded(chain, known[:common])
}

// stripSuperseded drops the attachments of those of documents, the first ones of
// chain, that are superseded.
func (s *Store) stripSuperseded(chain, documents []*envelope.Document) error {
	for i, d := range documents {
		if d.HasAttachments() && !keepsAttachments(chain, i) {
			if err := s.stripDocument(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// Published says that the network has the documents of an own agent. Then those
// that are superseded lose their attachments, which hold secrets under former
// passphrases.
func (s *Store) Published(ctx context.Context, id envelope.AgentID) error {
	return s.locked(func() error {
		chain, err := s.readChain(id)
		if err != nil {
			return err
		}
		return s.stripSuperseded(chain, chain)
	})
}

// keepsAttachments reports whether the i-th document of chain is of use with its
// attachments: the newest, and the last of each epoch of a group. Others'
// would only hold secrets under a former passphrase, or key boxes once more.
func keepsAttachments(chain []*envelope.Document, i int) bool {
	if i+1 == len(chain) {
		return true
	}
	d, next := chain[i], chain[i+1]
	return d.Group != nil && next.Group.Epoch != d.Group.Epoch
}

// Forget drops the documents of an agent that is not one's own, to accept
// another fork of them, for instance.
func (s *Store) Forget(id envelope.AgentID) error {
	return s.locked(func() error {
		own, err := s.hasSecrets(id)
		if err != nil {
			return err
		}
		if own {
			return envelope.Errorf(envelope.Usage, "%s is an agent of this keystore", id)
		}
		// From the newest on, so that a killed program leaves a chain.
		versions, err := versionsIn(s.path(documentsDir, id.String()))
		if err != nil {
			return err
		}
		for _, n := range slices.Backward(versions) {
			if err := s.removeDocument(id, versionName(n)); err != nil {
				return err
			}
		}
		lost, err := s.Lost(context.Background(), id)
		if err != nil {
			return err
		}
		for _, d := range lost {
			if err := s.removeDocument(id, lostName(d)); err != nil {
				return err
			}
		}
		if len(versions)+len(lost) == 0 {
			return nil
		}
		return syncDir(s.path(documentsDir, id.String()))
	})
}
