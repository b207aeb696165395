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
// first: each follows from the one before by number and hash, so that a
// changed file is noticed. Their signatures were checked before they were
// written. It returns none for an unknown agent.
func (s *Store) readChain(id envelope.AgentID) ([]*envelope.Document, error) {
	versions, err := versionsIn(s.path(documentsDir, id.String()))
	if err != nil {
		return nil, err
	}
	if len(versions) > maxVersions {
		return nil, envelope.Errorf(envelope.Full, "%s has more than %d documents", id, maxVersions)
	}
	chain := make([]*envelope.Document, 0, len(versions))
	for i, n := range versions {
		d, err := s.readDocument(id, n)
		if err == nil && (n != uint64(i)+1 || d.Version != n || d.ID() != id || (i > 0 && d.Parent != chain[i-1].Hash())) {
			err = envelope.Errorf(envelope.Corrupt, "it does not follow from the one before")
		}
		if err != nil {
			return nil, envelope.WithHint(
				envelope.Errorf(envelope.Corrupt, "document %d of %s in the keystore is damaged: %w", n, id, err),
				"remove %+q and fetch the agent anew", s.path(documentsDir, id.String()))
		}
		chain = append(chain, d)
	}
	return chain, nil
}

func (s *Store) readDocument(id envelope.AgentID, n uint64) (*envelope.Document, error) {
	data, err := s.readFile(envelope.MaxSignedSize, documentsDir, id.String(), strconv.FormatUint(n, 10))
	if err != nil {
		return nil, err
	}
	return envelope.ParseDocument(data)
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
// keys, made two documents of one number.
func (s *Store) AddDocuments(ctx context.Context, run []*envelope.Document) error {
	if len(run) == 0 {
		return envelope.Errorf(envelope.Usage, "no documents to add")
	}
	return s.locked(func() error { return s.addDocuments(ctx, run) })
}

func (s *Store) addDocuments(ctx context.Context, run []*envelope.Document) error {
	id := run[0].ID()
	known, err := s.readChain(id)
	if err != nil {
		return err
	}
	for i, d := range run {
		if d.ID() != id || d.Version != run[0].Version+uint64(i) {
			return envelope.Errorf(envelope.Corrupt, "documents do not form a run of one agent's")
		}
	}
	last := run[len(run)-1].Version
	if last < uint64(len(known)) {
		return envelope.Errorf(envelope.Conflict, "version %d of %s is offered as its newest, but version %d is known: %w",
			last, id, len(known), ErrOlder)
	}
	chain := slices.Clone(known)
	for _, d := range run {
		if d.Version <= uint64(len(known)) {
			if have := known[d.Version-1]; have.Hash() != d.Hash() {
				return envelope.Errorf(envelope.Conflict, "%s has two different versions %d: %s is known, %s is offered",
					id, d.Version, have.Hash().Short(), d.Hash().Short())
			}
			continue
		}
		if err := envelope.VerifyDocument(ctx, d, chain, s); err != nil {
			return err
		}
		chain = append(chain, d)
	}
	return s.writeChain(known, run, chain)
}

// writeChain writes those documents of run that are new, or that bring
// attachments that known lacks, and strips those that are superseded. chain is
// what will be known then. Documents are written in order, so that a killed
// program leaves a chain without gaps.
func (s *Store) writeChain(known, run, chain []*envelope.Document) error {
	for _, d := range run {
		keep := keepsAttachments(chain, d.Version)
		if d.Version <= uint64(len(known)) {
			have := known[d.Version-1]
			if !keep || len(have.Signed().Attachments) > 0 || len(d.Signed().Attachments) == 0 {
				continue
			}
			// The signatures that were verified stay; the attachments were
			// checked against the body's hashes when d was parsed.
			whole := *have.Signed()
			whole.Attachments = d.Signed().Attachments
			if err := s.writeDocument(d.ID(), d.Version, whole.Encode()); err != nil {
				return err
			}
			continue
		}
		if !keep {
			d = d.Bare()
		}
		if err := s.writeDocument(d.ID(), d.Version, d.Signed().Encode()); err != nil {
			return err
		}
	}
	for _, d := range known {
		if len(d.Signed().Attachments) > 0 && !keepsAttachments(chain, d.Version) {
			if err := s.writeDocument(d.ID(), d.Version, d.Bare().Signed().Encode()); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepsAttachments reports whether version n of chain is of use with its
// attachments: the newest, and the last of each epoch of a group. Others'
// would only hold secrets under a former passphrase, or key boxes once more.
func keepsAttachments(chain []*envelope.Document, n uint64) bool {
	if n == uint64(len(chain)) {
		return true
	}
	d, next := chain[n-1], chain[n]
	return d.Group != nil && next.Group.Epoch != d.Group.Epoch
}

func (s *Store) writeDocument(id envelope.AgentID, n uint64, data []byte) error {
	return s.writeFile(data, documentsDir, id.String(), strconv.FormatUint(n, 10))
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
			if err := os.Remove(s.path(documentsDir, id.String(), strconv.FormatUint(n, 10))); err != nil {
				return fileError(err)
			}
		}
		if len(versions) == 0 {
			return nil
		}
		return syncDir(s.path(documentsDir, id.String()))
	})
}
