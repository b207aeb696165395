package keystore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"l2p/envelope"
)

const (
	agentsDir   = "agents"
	defaultFile = "default"
)

// An Agent is a user or service whose secrets the store keeps.
type Agent struct {
	Document *envelope.Document // the newest known
	Locked   bool               // a passphrase is needed to use it
	// KeysLocal is set where the document carries no locked secrets, so that
	// the agent can be used from this keystore only.
	KeysLocal bool
	Default   bool // commands act as this agent unless told otherwise
}

// ID returns the agent's id.
func (a *Agent) ID() envelope.AgentID { return a.Document.ID() }

// AgentOptions say what agent to create.
type AgentOptions struct {
	Kind envelope.AgentKind // User or Service
	Name string             // the full name claimed, such as adam@a-tech; may be empty
	// Passphrase locks the secrets; empty: none, which leaves them to the
	// mode of their file. It is cleared.
	Passphrase []byte
	Classic    bool // an X25519 identity instead of ML-KEM-768 + X25519
	// KeepKeysLocal leaves the locked secrets out of the document, so that
	// nobody can sign in from another box or try passphrases on them.
	KeepKeysLocal bool
	Recovery      ed25519.PublicKey // see [RecoveryKey]; nil: none
}

// CreateAgent makes an agent with new keys and keeps it. The first agent of a
// store becomes the default one. It returns the unlocked secrets; the document
// to publish is s.Newest. A name that another agent of the store has is an
// error of kind Conflict.
func (s *Store) CreateAgent(ctx context.Context, o AgentOptions) (*Secrets, error) {
	defer clear(o.Passphrase)
	if o.Kind != envelope.User && o.Kind != envelope.Service {
		return nil, envelope.Errorf(envelope.Usage, "a keystore keeps users and services, not a %s", o.Kind)
	}
	if o.Name != "" {
		if _, err := envelope.ParseName(o.Name); err != nil {
			return nil, err
		}
	}
	// Before the passphrase costs its time; under the lock it is checked again.
	if err := s.checkNameFree(o.Name, envelope.AgentID{}); err != nil {
		return nil, err
	}
	secrets, err := newSecrets(o.Classic)
	if err != nil {
		return nil, err
	}
	stored, err := s.store(secrets, o.Passphrase)
	if err != nil {
		return nil, err
	}
	d := &envelope.Document{
		Format: 1, Kind: o.Kind, Version: 1, Time: time.Now().UnixMilli(), Name: o.Name,
		Keys: secrets.publicKeys(), Recipient: secrets.recipient, Recovery: o.Recovery,
	}
	var attachments [][]byte
	if isLocked(stored) && !o.KeepKeysLocal {
		d.Locked, attachments = envelope.AttachmentHash(stored), [][]byte{stored}
	}
	if d, err = envelope.SignDocument(d, attachments, secrets); err != nil {
		return nil, err
	}
	if err := secrets.bind(d); err != nil {
		return nil, err
	}
	return secrets, s.locked(func() error {
		if err := s.checkNameFree(o.Name, d.ID()); err != nil {
			return err
		}
		return s.writeAgent(ctx, []*envelope.Document{d}, d.Version, stored)
	})
}

// store returns secrets as they are kept: locked, or plain without a passphrase.
func (s *Store) store(secrets *Secrets, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return secrets.encode()
	}
	return secrets.lock(passphrase, s.workFactor)
}

// writeAgent makes the agent with the given documents one of the store's. Its
// secrets come last: with them it exists.
func (s *Store) writeAgent(ctx context.Context, run []*envelope.Document, n uint64, stored []byte) error {
	id := run[0].ID()
	if err := s.addDocuments(ctx, run); err != nil {
		return err
	}
	others, err := s.idsIn(agentsDir)
	if err != nil {
		return err
	}
	if err := s.writeSecrets(id, n, stored); err != nil {
		return err
	}
	if len(others) == 0 {
		return s.writeFile([]byte(id.String()+"\n"), defaultFile)
	}
	return nil
}

// writeSecrets keeps secrets for version n of a document and drops older ones.
func (s *Store) writeSecrets(id envelope.AgentID, n uint64, stored []byte) error {
	dir := s.path(agentsDir, id.String())
	if err := s.writeFile(stored, agentsDir, id.String(), strconv.FormatUint(n, 10)); err != nil {
		return err
	}
	versions, err := versionsIn(dir)
	if err != nil {
		return err
	}
	for _, old := range versions {
		if old < n {
			if err := os.Remove(s.path(agentsDir, id.String(), strconv.FormatUint(old, 10))); err != nil {
				return fileError(err)
			}
		}
	}
	return syncDir(dir)
}

func (s *Store) checkNameFree(name string, except envelope.AgentID) error {
	if name == "" {
		return nil
	}
	agents, err := s.Agents()
	if err != nil {
		return err
	}
	for _, a := range agents {
		if a.Document.Name == name && a.ID() != except {
			return envelope.Errorf(envelope.Conflict, "this keystore has an agent %s already: %s", name, a.ID())
		}
	}
	return nil
}

// hasSecrets reports whether id is an agent of the store.
func (s *Store) hasSecrets(id envelope.AgentID) (bool, error) {
	versions, err := versionsIn(s.path(agentsDir, id.String()))
	return len(versions) > 0, err
}

// secretsOf returns the kept secrets of an agent of the store, whose newest
// document is d. Those in the document come first: they changed with it, here
// or elsewhere. The caller may clear what it gets.
func (s *Store) secretsOf(d *envelope.Document) ([]byte, error) {
	if !d.Locked.IsZero() {
		if data := d.Attachment(d.Locked); data != nil {
			return bytes.Clone(data), nil
		}
	}
	versions, err := versionsIn(s.path(agentsDir, d.ID().String()))
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(versions) {
		if n <= d.Version {
			return s.readFile(maxSecretsSize, agentsDir, d.ID().String(), strconv.FormatUint(n, 10))
		}
	}
	return nil, envelope.Errorf(envelope.NotFound, "this keystore has no secrets of %s", d.ID())
}

// Agents returns the agents of the store, ascending by name, then id.
func (s *Store) Agents() ([]*Agent, error) {
	ids, err := s.idsIn(agentsDir)
	if err != nil {
		return nil, err
	}
	var agents []*Agent
	for _, id := range ids {
		a, err := s.Agent(id)
		if isNotFound(err) {
			continue // half made, by a program that was killed
		} else if err != nil {
			return nil, err
		}
		agents = append(agents, a)
	}
	slices.SortFunc(agents, func(a, b *Agent) int {
		return cmp.Or(cmp.Compare(a.Document.Name, b.Document.Name), cmp.Compare(a.ID().String(), b.ID().String()))
	})
	return agents, nil
}

// Agent returns an agent of the store. A stranger is an error of kind NotFound.
func (s *Store) Agent(id envelope.AgentID) (*Agent, error) {
	own, err := s.hasSecrets(id)
	if err != nil {
		return nil, err
	}
	if !own {
		return nil, envelope.Errorf(envelope.NotFound, "this keystore has no agent %s", id)
	}
	d, err := s.Newest(context.Background(), id)
	if err != nil {
		return nil, err
	}
	stored, err := s.secretsOf(d)
	if err != nil {
		return nil, err
	}
	defer clear(stored)
	standard, err := s.Default()
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return &Agent{Document: d, Locked: isLocked(stored), KeysLocal: d.Locked.IsZero(), Default: id == standard}, nil
}

// FindAgent returns the agent of the store that has the given name or printed
// id; the default one for "".
func (s *Store) FindAgent(which string) (*Agent, error) {
	if which == "" {
		id, err := s.Default()
		if err != nil {
			return nil, err
		}
		return s.Agent(id)
	}
	if id, err := envelope.ParseAgentID(which); err == nil {
		return s.Agent(id)
	}
	agents, err := s.Agents()
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		if a.Document.Name == which {
			return a, nil
		}
	}
	return nil, envelope.WithHint(envelope.Errorf(envelope.NotFound, "this keystore has no agent %+.64q", which),
		"l2p agent list shows those that it has")
}

// Default returns the id of the agent that commands act as.
func (s *Store) Default() (envelope.AgentID, error) {
	data, err := s.readFile(256, defaultFile)
	if isNotFound(err) {
		// A program killed after it made the first agent.
		if ids, err := s.idsIn(agentsDir); err == nil && len(ids) == 1 {
			return ids[0], nil
		}
		return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "this keystore has no default agent"),
			"make one with l2p agent create")
	} else if err != nil {
		return envelope.AgentID{}, err
	}
	id, err := envelope.ParseAgentID(strings.TrimSuffix(string(data), "\n"))
	if err != nil {
		return id, envelope.Errorf(envelope.Corrupt, "file %+q is damaged: %w", s.path(defaultFile), err)
	}
	return id, nil
}

// SetDefault makes id, an agent of the store, the one that commands act as.
func (s *Store) SetDefault(id envelope.AgentID) error {
	if _, err := s.Agent(id); err != nil {
		return err
	}
	return s.locked(func() error { return s.writeFile([]byte(id.String()+"\n"), defaultFile) })
}

// Unlock returns the secrets of an agent of the store. It takes about 0.8 s
// where there is a passphrase, so a program does it once. The passphrase is
// cleared. A wrong one is an error of kind Denied.
func (s *Store) Unlock(id envelope.AgentID, passphrase []byte) (*Secrets, error) {
	defer clear(passphrase)
	a, err := s.Agent(id)
	if err != nil {
		return nil, err
	}
	stored, err := s.secretsOf(a.Document)
	if err != nil {
		return nil, err
	}
	defer clear(stored)
	secrets, err := unlock(stored, passphrase)
	if err != nil {
		return nil, envelope.Errorf(envelope.KindOf(err), "cannot unlock %s: %w", title(a.Document), err)
	}
	return secrets, secrets.bind(a.Document)
}

// title is how messages call an agent.
func title(d *envelope.Document) string {
	if d.Name != "" {
		return d.Name
	}
	return d.ID().String()
}

// Passwd changes the passphrase of an agent of the store; empty: from none, to
// none. Both are cleared. It returns the agent's newest document, which is a
// new one to publish where documents carry the locked secrets. Those before it
// keep theirs until they are known to be published ([Store.Published]). Who has
// seen an older document can still use the older passphrase on it: the keys
// stay.
func (s *Store) Passwd(ctx context.Context, id envelope.AgentID, from, to []byte) (*envelope.Document, error) {
	defer clear(to)
	secrets, err := s.Unlock(id, from)
	if err != nil {
		return nil, err
	}
	stored, err := s.store(secrets, to)
	if err != nil {
		return nil, err
	}
	d, err := s.Newest(ctx, id)
	if err != nil {
		return nil, err
	}
	if d.Locked.IsZero() {
		return d, s.locked(func() error { return s.writeSecrets(id, d.Version, stored) })
	}
	next := follow(d)
	next.Locked = envelope.Hash{}
	var attachments [][]byte
	if isLocked(stored) {
		next.Locked, attachments = envelope.AttachmentHash(stored), [][]byte{stored}
	}
	if next, err = envelope.SignDocument(next, attachments, secrets); err != nil {
		return nil, err
	}
	return next, s.locked(func() error { return s.replaceSecrets(ctx, next, stored) })
}

// follow returns the version after d, unsigned, with nothing changed.
func follow(d *envelope.Document) *envelope.Document {
	return &envelope.Document{
		Format: 1, Kind: d.Kind, Version: d.Version + 1, Agent: d.ID(), Parent: d.Hash(), Time: time.Now().UnixMilli(),
		Name: d.Name, Keys: d.Keys, Recipient: d.Recipient, Locked: d.Locked, Group: d.Group,
		Recovery: d.Recovery,
	}
}
