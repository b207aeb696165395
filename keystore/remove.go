package keystore

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"

	"l2p/envelope"
)

// Remove makes an agent of the store a stranger: its secrets are removed, its
// documents stay. published is its newest document as the network has it, with the
// locked secrets, from which [Store.SignIn] can bring it back; where that isn't
// so, nobody could, and nothing is removed: an error of kind Conflict.
func (s *Store) Remove(ctx context.Context, published *envelope.Document) error {
	id := published.ID()
	return s.locked(func() error {
		a, err := s.Agent(id)
		if err != nil {
			return err
		}
		stored, err := s.secretsOf(a.Document)
		if err != nil {
			return err
		}
		defer clear(stored)
		if published.Hash() != a.Document.Hash() || a.KeysLocal || !isLocked(stored) ||
			!bytes.Equal(published.Attachment(published.Locked), stored) {
			return envelope.Errorf(envelope.Conflict, "the network does not have the keys of %s as they are here, so they would be lost", title(a.Document))
		}
		// First it is no longer the default: a program killed in between leaves an
		// agent whom commands can be told to act as.
		if a.Default {
			if err := os.Remove(s.path(defaultFile)); err != nil && !os.IsNotExist(err) {
				return fileError(err)
			}
			if err := syncDir(s.dir); err != nil {
				return err
			}
		}
		dir := s.path(agentsDir, id.String())
		versions, err := versionsIn(dir)
		if err != nil {
			return err
		}
		for _, n := range slices.Backward(versions) {
			if err := os.Remove(s.path(agentsDir, id.String(), strconv.FormatUint(n, 10))); err != nil {
				return fileError(err)
			}
		}
		if err := os.Remove(dir); err != nil {
			return fileError(err)
		}
		return syncDir(s.path(agentsDir))
	})
}
