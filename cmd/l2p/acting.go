package main

import (
	"context"
	"strings"

	"l2p/envelope"
	"l2p/keystore"
)

// openKeystore opens a keystore. Tests replace it: they can't wait for scrypt.
var openKeystore = keystore.Open

// store returns the keystore, opened on first use.
func (s *session) store() (*keystore.Store, error) {
	if s.keystore == nil {
		store, err := openKeystore(s.keystoreDir())
		if err != nil {
			return nil, err
		}
		s.keystore = store
	}
	return s.keystore, nil
}

// ownAgent returns the agent of the keystore that which says: a name, a local
// part that only one agent has, an id, or "" for the default one.
func (s *session) ownAgent(which string) (*keystore.Agent, error) {
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	if which == "" || strings.Contains(which, "@") || envelope.CheckLocalName(which) != nil {
		return store.FindAgent(which)
	}
	agents, err := store.Agents()
	if err != nil {
		return nil, err
	}
	var found *keystore.Agent
	for _, a := range agents {
		local, _, _ := strings.Cut(a.Document.Name, "@")
		if local != which {
			continue
		}
		if found != nil {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s may be %s or %s", quoted(which), title(found.Document), title(a.Document)),
				"say the whole name")
		}
		found = a
	}
	if found == nil {
		return store.FindAgent(which) // an id, or an error that says so
	}
	return found, nil
}

// acting returns the agent that the command acts as: --as or the default one.
func (s *session) acting() (*keystore.Agent, error) { return s.ownAgent(s.as) }

// secrets returns the keys of the agent that the command acts as, unlocked on
// first use.
func (s *session) secrets(ctx context.Context) (*keystore.Secrets, error) {
	if s.unlocked == nil {
		a, err := s.acting()
		if err != nil {
			return nil, err
		}
		if s.unlocked, err = s.unlock(ctx, a); err != nil {
			return nil, err
		}
	}
	return s.unlocked, nil
}

// unlock returns the keys of an agent of the keystore.
func (s *session) unlock(ctx context.Context, a *keystore.Agent) (secrets *keystore.Secrets, err error) {
	if !a.Locked {
		return s.keystore.Unlock(a.ID(), nil)
	}
	if secrets := s.fromKeeper(ctx, a); secrets != nil {
		return secrets, nil
	}
	err = s.withPassphrase(ctx, title(a.Document), func(passphrase []byte) error {
		secrets, err = s.keystore.Unlock(a.ID(), passphrase)
		return err
	})
	return secrets, err
}

// identities returns what opens content for the agent that the command acts
// as: its own identities and those of the groups that it is in. With online
// unset only groups count that the keystore knows.
func (s *session) identities(ctx context.Context, online bool) ([]envelope.Identity, error) {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	var docs envelope.Documents = s.keystore
	groupsOf := s.keystore.GroupsOf
	if online {
		dir, err := s.directory(ctx)
		if err != nil {
			return nil, err
		}
		docs, groupsOf = dir, dir.groupsOf
	}
	identities, err := keystore.IdentitiesFor(ctx, secrets, docs, groupsOf)
	if len(identities) == 0 {
		return nil, err
	}
	// Else err tells of groups that can't be opened, such as those that the
	// agent has been removed from: no trouble of this envelope's.
	return identities, nil
}

// title is how people know an agent: by the name it claims, or its id.
func title(d *envelope.Document) string {
	if d.Name != "" {
		return d.Name
	}
	return d.ID().String()
}
