package keystore

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strconv"

	"l2p/envelope"
)

// RotateOptions say what keys an agent gets.
type RotateOptions struct {
	// Passphrase locks the keys, and opens the former ones; empty: none. It
	// is cleared.
	Passphrase []byte
	// Recovery is the agent's public recovery key from now on; nil: as before.
	// Once there is one, Rotate can't change it.
	Recovery ed25519.PublicKey
}

// Rotate gives an agent of the store a new signing key and a new age
// identity. It keeps the former identities, which open what was sealed until
// now. It returns the document to publish.
func (s *Store) Rotate(ctx context.Context, id envelope.AgentID, o RotateOptions) (*envelope.Document, error) {
	defer clear(o.Passphrase)
	former, err := s.Unlock(id, slices.Clone(o.Passphrase))
	if err != nil {
		return nil, err
	}
	d, err := s.Newest(ctx, id)
	if err != nil {
		return nil, err
	}
	next := follow(d)
	if o.Recovery != nil {
		if len(d.Recovery) != 0 && !d.RecoveryKey().Equal(o.Recovery) {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Denied, "%s has a recovery key already, and only that can change it", title(d)),
				"l2p agent recover can")
		}
		next.Recovery = o.Recovery
	}
	secrets, stored, attachments, err := s.renew(next, former, o.Passphrase, d.Locked.IsZero())
	if err != nil {
		return nil, err
	}
	if next, err = envelope.SignDocument(next, attachments, former, secrets); err != nil {
		return nil, err
	}
	return next, s.locked(func() error { return s.replaceSecrets(ctx, next, stored) })
}

// replaceSecrets keeps secrets together with the document that comes with them.
func (s *Store) replaceSecrets(ctx context.Context, d *envelope.Document, stored []byte) error {
	// The document makes them count, so they must be there before it.
	if err := s.writeFile(stored, agentsDir, d.ID().String(), strconv.FormatUint(d.Version, 10)); err != nil {
		return err
	}
	// Those before it may have to be published yet, with what is attached.
	if err := s.addUnpublished(ctx, d); err != nil {
		return err
	}
	return s.writeSecrets(d.ID(), d.Version, stored)
}

// renew draws new keys for d, which is to be signed, and returns them, and as
// they are stored and attached. former may be nil.
func (s *Store) renew(d *envelope.Document, former *Secrets, passphrase []byte, keepKeysLocal bool) (*Secrets, []byte, [][]byte, error) {
	secrets, err := newSecrets(!isHybrid(d.Recipient))
	if err != nil {
		return nil, nil, nil, err
	}
	secrets.agent, secrets.version = d.Agent, d.Version
	if former != nil {
		secrets.identities = append(secrets.identities, former.identities...)
	}
	if len(secrets.identities) > maxOldIdentities {
		return nil, nil, nil, envelope.Errorf(envelope.Full, "%s has had %d keys: there is no room for more", title(d), maxOldIdentities)
	}
	stored, err := s.store(secrets, passphrase)
	if err != nil {
		return nil, nil, nil, err
	}
	d.Keys, d.Recipient, d.Locked = secrets.publicKeys(), secrets.recipient, envelope.Hash{}
	var attachments [][]byte
	if isLocked(stored) && !keepKeysLocal {
		d.Locked, attachments = envelope.AttachmentHash(stored), [][]byte{stored}
	}
	return secrets, stored, attachments, nil
}

// RecoverOptions say what keys a recovered agent gets.
type RecoverOptions struct {
	Passphrase    []byte // locks the new keys; empty: none. It is cleared.
	KeepKeysLocal bool   // as in [AgentOptions]
	Name          string // the full name claimed; empty: the last one, which may be a thief's
	// Earlier are keys that the agent had before, if they could be opened; nil:
	// what was sealed for it until now can't be read any more.
	Earlier *Secrets
	// Recovery replaces the recovery key; nil: it stays.
	Recovery ed25519.PublicKey
}

// Recover gives an agent new keys by its recovery key, and makes it one of the
// store's. chain is all of its documents, oldest first, as the network has
// them: the last is the parent of the recovery document, which is the last that
// the store has then, and is to be published. All keys before are revoked by
// it. A wrong key is an error of kind Denied.
func (s *Store) Recover(ctx context.Context, chain []*envelope.Document, key *RecoveryKey, o RecoverOptions) (*Secrets, error) {
	defer clear(o.Passphrase)
	if len(chain) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "no documents to recover an agent from")
	}
	parent := chain[len(chain)-1]
	if parent.Kind != envelope.User && parent.Kind != envelope.Service {
		return nil, envelope.Errorf(envelope.Usage, "%s is a %s, not a user or service", title(parent), parent.Kind)
	}
	if err := key.Check(parent); err != nil {
		return nil, err
	}
	next := followRecovery(parent)
	if o.Name != "" {
		if _, err := envelope.ParseName(o.Name); err != nil {
			return nil, err
		}
		next.Name = o.Name
	}
	if o.Recovery != nil {
		next.Recovery = o.Recovery
	}
	secrets, stored, attachments, err := s.renew(next, o.Earlier, o.Passphrase, o.KeepKeysLocal)
	if err != nil {
		return nil, err
	}
	if next, err = envelope.SignDocument(next, attachments, recoverySigner{key, parent.ID()}, secrets); err != nil {
		return nil, err
	}
	return secrets, s.locked(func() error {
		if err := s.checkNameFree(next.Name, next.ID()); err != nil {
			return err
		}
		others, err := s.idsIn(agentsDir)
		if err != nil {
			return err
		}
		// The secrets come first: where the store has the former ones, they
		// would be of no use with the new document.
		if err := s.writeFile(stored, agentsDir, next.ID().String(), strconv.FormatUint(next.Version, 10)); err != nil {
			return err
		}
		known, err := s.readChain(next.ID())
		if err != nil {
			return err
		}
		if len(known) > 0 && known[len(known)-1].Hash() == next.Parent {
			err = s.addUnpublished(ctx, next)
		} else {
			err = s.addDocuments(ctx, append(slices.Clone(chain), next))
		}
		if err == nil {
			err = s.writeSecrets(next.ID(), next.Version, stored)
		}
		if err != nil || len(others) > 0 {
			return err
		}
		return s.writeFile([]byte(next.ID().String()+"\n"), defaultFile)
	})
}

// followRecovery returns the recovery document after d, unsigned.
func followRecovery(d *envelope.Document) *envelope.Document {
	next := follow(d)
	next.Version = envelope.RecoveryVersion(d.Version)
	return next
}

// MaxEarlier bounds how many locked secrets a passphrase is tried on, at 0.8 s
// each: a thief may have published any number.
const MaxEarlier = 8

// Earlier looks for the keys that an agent had: in the locked secrets that its
// documents carry, and in what the store has of it. chain is all of its
// documents, those whose secrets are to be tried with attachments; the last ones
// are tried first. What all opens is put together, since a thief can publish
// secrets that lack the agent's own keys. The
// passphrase, which is cleared, may be empty: then only keys that aren't locked
// are found. That there are none is an error of kind NotFound; that the
// passphrase opens none, of kind Denied.
func (s *Store) Earlier(chain []*envelope.Document, passphrase []byte) (*Secrets, error) {
	defer clear(passphrase)
	var candidates [][]byte
	add := func(stored []byte) {
		same := func(c []byte) bool { return string(c) == string(stored) }
		if stored != nil && !slices.ContainsFunc(candidates, same) {
			candidates = append(candidates, stored)
		}
	}
	for _, d := range slices.Backward(chain) {
		// In clear they are nobody's but a thief's.
		if stored := d.Attachment(d.Locked); !d.Locked.IsZero() && isLocked(stored) {
			add(stored)
		}
	}
	id := chain[0].ID()
	versions, err := versionsIn(s.path(agentsDir, id.String()))
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(versions) {
		stored, err := s.readFile(maxSecretsSize, agentsDir, id.String(), strconv.FormatUint(n, 10))
		if err != nil {
			return nil, err
		}
		add(stored)
	}
	if len(candidates) == 0 {
		return nil, envelope.Errorf(envelope.NotFound, "no earlier keys of %s are to be found", title(chain[0]))
	}
	var found *Secrets
	had := map[string]bool{}
	for _, stored := range candidates[:min(len(candidates), MaxEarlier)] {
		if isLocked(stored) && len(passphrase) == 0 {
			continue
		}
		secrets, err := unlock(stored, passphrase)
		if err != nil || !slices.ContainsFunc(chain, func(d *envelope.Document) bool { return secrets.bind(d) == nil }) {
			continue // another passphrase's, or a thief's
		}
		identities := secrets.identities
		if found == nil {
			found, secrets.identities = secrets, nil
		}
		for _, id := range identities {
			if text := identityText(id); !had[text] && len(found.identities) < maxOldIdentities-1 {
				had[text] = true
				found.identities = append(found.identities, id)
			}
		}
	}
	if found == nil {
		return nil, envelope.Errorf(envelope.Denied, "the passphrase opens no earlier keys of %s", title(chain[0]))
	}
	return found, nil
}
