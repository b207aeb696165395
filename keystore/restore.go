package keystore

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"l2p/envelope"
)

// restoringSuffix makes a keystore's path that of one that is being made from
// a backup, beside it.
const restoringSuffix = ".restoring"

// A Restored says what a backup has brought.
type Restored struct {
	Agents []envelope.AgentID // whose keys were not here before
	// Kept are the names that mean another agent here than in the backup: they go on
	// to do so.
	Kept []string
}

// Restore brings what [Store.Backup] wrote into the store, which must be empty,
// or, with merge, adds to it what it lacks; what is here in a newer version
// stays. The passphrase is cleared; a wrong one is an error of kind Denied.
//
// Everything is checked first, signatures included, in a keystore beside this
// one, which then takes the place of an empty one in a single step. An
// error leaves the store as it was; but where a merge fails for want of room, it may have
// been brought in part, and can be repeated.
func (s *Store) Restore(ctx context.Context, r io.Reader, passphrase []byte, merge bool) (*Restored, error) {
	defer clear(passphrase)
	empty, err := s.isEmpty()
	if err != nil {
		return nil, err
	}
	if !empty && !merge {
		return nil, errNotEmpty(s.dir)
	}
	b, err := openBackup(r, passphrase)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, stored := range b.secrets {
			clear(stored)
		}
	}()
	// Where the keystore is a link, what it leads to is replaced, and what is
	// made beside that is on the same file system.
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return nil, fileError(err)
	}
	beside := s.dir + restoringSuffix
	if err := os.RemoveAll(beside); err != nil { // what a killed program left
		return nil, fileError(err)
	}
	defer os.RemoveAll(beside) // gone already if all goes well
	staged, err := Open(beside)
	if err != nil {
		return nil, err
	}
	restored, err := staged.merge(ctx, b)
	if err != nil {
		return nil, err
	}
	if empty {
		return restored, s.locked(func() error { return s.become(beside) })
	}
	return s.merge(ctx, b)
}

func errNotEmpty(dir string) error {
	return envelope.WithHint(envelope.Errorf(envelope.Conflict, "the keystore %+q is not empty", dir),
		"add what it lacks with --merge, or restore into a new one with --home DIR")
}

// become replaces the empty keystore by the one in dir. The caller holds the lock.
func (s *Store) become(dir string) error {
	if empty, err := s.isEmpty(); err != nil {
		return err
	} else if !empty {
		return errNotEmpty(s.dir)
	}
	// A directory can be renamed to an empty one only. What is in this one holds
	// nothing: another program that works with it at this moment finds no
	// agent before, and all of them after.
	if err := os.RemoveAll(s.path(tmpDir)); err != nil {
		return fileError(err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fileError(err)
	}
	for _, e := range entries {
		if err := os.Remove(s.path(e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fileError(err)
		}
	}
	if err := syscall.Rename(dir, s.dir); err != nil { // os.Rename wouldn't replace even an empty one
		return fileError(err)
	}
	return syncDir(filepath.Dir(s.dir))
}

// merge adds what the store lacks of a backup. Whatever would stop it is looked
// for before anything is written.
func (s *Store) merge(ctx context.Context, b *backup) (*Restored, error) {
	restored := &Restored{}
	return restored, s.locked(func() error {
		ids := b.inOrder()
		older := make(map[envelope.AgentID]bool) // in the backup than here
		for _, id := range ids {
			known, err := s.readChain(id)
			if err != nil {
				return err
			}
			if b.documents[id][0].Group == nil {
				_, _, err = joinRun(known, b.documents[id])
				if older[id] = errors.Is(err, ErrOlder); err != nil && !older[id] {
					return err
				}
			}
			if b.secrets[id] != nil {
				if err := s.checkNameFree(b.documents[id][len(b.documents[id])-1].Name, id); err != nil {
					return err
				}
			}
		}
		for _, id := range ids {
			if err := s.mergeDocuments(ctx, b.documents[id], b.lost[id], older[id]); err != nil {
				return err
			}
		}
		for owner, refs := range b.seen {
			if err := s.mergeSeen(owner, refs); err != nil {
				return err
			}
		}
		var err error
		if restored.Kept, err = s.mergeNames(b.names); err != nil {
			return err
		}
		for _, id := range ids {
			if b.secrets[id] == nil {
				continue
			}
			added, err := s.mergeSecrets(id, b.documents[id][len(b.documents[id])-1].Version, b.secrets[id])
			if err != nil {
				return err
			}
			if added {
				restored.Agents = append(restored.Agents, id)
			}
		}
		if b.standard.IsZero() || b.secrets[b.standard] == nil {
			return nil
		}
		if _, err := s.readFile(256, defaultFile); !isNotFound(err) {
			return err
		}
		return s.writeFile([]byte(b.standard.String()+"\n"), defaultFile)
	})
}

// mergeDocuments adds documents of one agent, unless newer ones are here.
func (s *Store) mergeDocuments(ctx context.Context, chain, lost []*envelope.Document, older bool) error {
	if older {
		return nil
	}
	err := s.addDocuments(ctx, chain)
	if err == nil && len(lost) > 0 {
		err = s.addDocuments(ctx, lost)
	}
	if errors.Is(err, ErrOlder) { // of a group, none of which is news
		return nil
	}
	return err
}

// mergeSeen remembers the newer of what was seen here and there.
func (s *Store) mergeSeen(owner envelope.AgentID, refs []seenRef) error {
	here, err := s.readSeen(owner)
	if err != nil {
		return err
	}
	for _, r := range refs {
		i, ok := slices.BinarySearchFunc(here, r, compareSeen)
		if !ok {
			here = slices.Insert(here, i, r)
		} else if (envelope.Version{N: r.N, Hash: r.Hash}).Newer(envelope.Version{N: here[i].N, Hash: here[i].Hash}) {
			here[i] = r
		}
	}
	data, err := envelope.Encode(seenList{Format: 1, Refs: here})
	if err != nil {
		return envelope.Errorf(envelope.Other, "cannot encode what was seen: %w", err)
	}
	if len(data) > maxSeenSize {
		return envelope.Errorf(envelope.Full, "the keystore has no room to remember more of %s", owner)
	}
	return s.writeFile(data, seenDir, owner.String())
}

// mergeNames pins names that aren't yet, and returns those that mean another
// agent here.
func (s *Store) mergeNames(names []PinnedName) (kept []string, err error) {
	here, err := s.Names()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	for _, n := range names {
		i, ok := findName(here, n.Name)
		if !ok {
			here = slices.Insert(here, i, n)
		} else if here[i].Agent != n.Agent {
			kept = append(kept, n.Name)
		}
	}
	data, err := envelope.Encode(namesList{Format: 1, Names: here})
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot encode the names: %w", err)
	}
	if len(data) > maxNamesSize {
		return nil, envelope.Errorf(envelope.Full, "the keystore has no room for more names")
	}
	return kept, s.writeFile(data, namesFile)
}

// mergeSecrets keeps secrets for version n of an agent's document, unless those
// of the same or a later one are here, and reports whether the agent is new.
func (s *Store) mergeSecrets(id envelope.AgentID, n uint64, stored []byte) (added bool, err error) {
	versions, err := versionsIn(s.path(agentsDir, id.String()))
	if err != nil {
		return false, err
	}
	if len(versions) > 0 && versions[len(versions)-1] >= n {
		return false, nil
	}
	return len(versions) == 0, s.writeSecrets(id, n, stored)
}
