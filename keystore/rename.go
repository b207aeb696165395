package keystore

import (
	"context"

	"l2p/envelope"
)

// Rename makes an agent of the store go by another full name: one that a box
// gives to whom it had not before, perhaps another box. It keeps id and keys.
// secrets are the agent's, unlocked. It returns the document to publish.
func (s *Store) Rename(ctx context.Context, secrets *Secrets, name string) (*envelope.Document, error) {
	if _, err := envelope.ParseName(name); err != nil {
		return nil, err
	}
	a, err := s.Agent(secrets.agent)
	if err != nil {
		return nil, err
	}
	if a.Document.Name == name {
		return nil, envelope.Errorf(envelope.Usage, "%s goes by that name already", title(a.Document))
	}
	next := follow(a.Document)
	next.Name = name
	var attachments [][]byte
	if !next.Locked.IsZero() {
		locked := a.Document.Attachment(next.Locked)
		if locked == nil {
			return nil, envelope.Errorf(envelope.NotFound, "the document of %s came without its locked keys", title(a.Document))
		}
		attachments = [][]byte{locked}
	}
	if next, err = envelope.SignDocument(next, attachments, secrets); err != nil {
		return nil, err
	}
	return next, s.locked(func() error {
		if err := s.checkNameFree(name, secrets.agent); err != nil {
			return err
		}
		return s.addDocuments(ctx, []*envelope.Document{next})
	})
}
