package keystore

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"l2p/envelope"
)

// MaxLost bounds the lost documents of one group that are kept: an admin who
// makes more does it on purpose. The rest are passed over, beginning with the
// highest numbers, so that nobody keeps others from what has won.
const MaxLost = 256

// lostName is the name of the file of a lost document, beside those of the
// chain, which are numbers.
func lostName(d *envelope.Document) string {
	return strconv.FormatUint(d.Version, 10) + "-" + d.Hash().String()
}

// Lost returns the known documents of a group that are not on its chain,
// oldest first: they lost a fork against it, or go on from an old copy. With it
// the store is a [Lost].
func (s *Store) Lost(ctx context.Context, group envelope.AgentID) ([]*envelope.Document, error) {
	entries, err := os.ReadDir(s.path(documentsDir, group.String()))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fileError(err)
	}
	var lost []*envelope.Document
	for _, e := range entries {
		if !strings.Contains(e.Name(), "-") || strings.HasSuffix(e.Name(), wholeSuffix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := s.readDocument(group, e.Name())
		if err != nil || d.ID() != group || lostName(d) != e.Name() {
			continue // damaged: the network has it
		}
		lost = append(lost, d)
	}
	sortByVersion(lost)
	return lost, nil
}

// GiveWay is AddDocuments for a group that was changed here, but not in the
// network, where somebody else has changed it: run is what the network has. It
// wins then, whatever the numbers say, and what was made here is lost.
func (s *Store) GiveWay(ctx context.Context, run []*envelope.Document) error {
	if len(run) == 0 || run[0].Group == nil {
		return envelope.Errorf(envelope.Usage, "no documents of a group to give way to")
	}
	return s.locked(func() error {
		known, err := s.readChain(run[0].ID())
		if err != nil {
			return err
		}
		return s.addGroup(ctx, known, run, true)
	})
}

// AddUnpublished keeps the next document of a group or an own agent that no other has seen yet. Unlike
// AddDocuments it leaves those before it as they are: with the attachments with
// which they are to be published.
func (s *Store) AddUnpublished(ctx context.Context, d *envelope.Document) error {
	return s.locked(func() error { return s.addUnpublished(ctx, d) })
}

func (s *Store) addUnpublished(ctx context.Context, d *envelope.Document) error {
	known, err := s.readChain(d.ID())
	if err != nil {
		return err
	}
	if err := envelope.VerifyDocument(ctx, d, known, s); err != nil {
		return err
	}
	if len(known) > 0 && known[len(known)-1].Hash() != d.Parent {
		return twoVersions(known[len(known)-1], d)
	}
	return s.writeDocument(d)
}

// addGroup keeps documents of one group, of both sides of a fork if there is
// one. Those that lose are kept beside the chain.
func (s *Store) addGroup(ctx context.Context, known, run []*envelope.Document, prefer bool) error {
	group := run[0].ID()
	lost, err := s.Lost(ctx, group)
	if err != nil {
		return err
	}
	tree, isNew, err := s.growTree(ctx, newGroupTree(known, lost), run)
	if err != nil {
		return err
	}
	last := run[len(run)-1]
	if !isNew && len(known) > 0 && last.Version < known[len(known)-1].Version {
		return older(last, known[len(known)-1])
	}
	chain := tree.winner(known, lost, run, prefer)
	// What loses is written before anything is taken from the chain, and what
	// has won after all is removed last, so that a killed program loses nothing.
	onChain := map[envelope.Hash]bool{}
	for _, d := range chain {
		onChain[d.Hash()] = true
	}
	have, was := newGroupTree(lost), newGroupTree(known)
	room := MaxLost - len(have)
	for _, d := range tree.inOrder() {
		h := d.Hash()
		if onChain[h] || have[h] == d {
			continue
		}
		if have[h] == nil && was[h] == nil {
			if room <= 0 {
				continue
			}
			room--
		}
		if err := s.writeDocumentAs(lostName(d), d); err != nil {
			return err
		}
	}
	if err := s.writeChain(known, chain, commonLength(known, chain)); err != nil {
		return err
	}
	for _, d := range lost {
		if onChain[d.Hash()] {
			if err := s.removeDocument(group, lostName(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// growTree adds documents to a tree of verified ones, after it has verified
// them. It reports whether any was new. One whose parent is missing is an error
// of kind NotFound.
func (s *Store) growTree(ctx context.Context, tree groupTree, documents []*envelope.Document) (groupTree, bool, error) {
	documents = slices.Clone(documents)
	sortByVersion(documents)
	isNew := false
	for _, d := range documents {
		if d.ID() != documents[0].ID() || d.Group == nil {
			return nil, false, envelope.Errorf(envelope.Corrupt, "documents are not one group's")
		}
		if have := tree[d.Hash()]; have != nil {
			if !have.HasAttachments() && d.HasAttachments() {
				tree[d.Hash()] = d
			}
			continue
		}
		path := tree.path(d.Parent)
		if d.Version > 1 && path == nil {
			return nil, false, envelope.Errorf(envelope.NotFound, "the document before version %d of group %s is not known", d.Version, title(d))
		}
		if err := envelope.VerifyDocument(ctx, d, path, s); err != nil {
			return nil, false, err
		}
		tree[d.Hash()], isNew = d, true
	}
	return tree, isNew, nil
}
