package agentd

import (
	"bytes"
	"crypto/ed25519"
	"time"

	"l2p/envelope"
)

// A box is the agent that this node's box is. It signs the box's nodes and the
// names of its namespace, and reads nothing. It implements envelope.Signer.
type box struct {
	key ed25519.PrivateKey
	doc *envelope.Document // the first, and so far only one
}

// openBox reads the box's key and document, which it makes at first.
func openBox(s *stateDir) (*box, error) {
	key, err := s.makeKey(fileBoxKey)
	if err != nil {
		return nil, err
	}
	b := &box{key: key}
	data, err := s.read(fileBoxDocument)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return b, b.makeDocument(s)
	}
	if b.doc, err = envelope.ParseDocument(data); err != nil {
		return nil, envelope.Errorf(envelope.KindOf(err), "%+q is damaged: %w", s.path(fileBoxDocument), err)
	}
	if b.doc.Kind != envelope.Box || !bytes.Equal(b.doc.SigningKey(), key.Public().(ed25519.PublicKey)) {
		return nil, envelope.Errorf(envelope.Corrupt, "%+q does not belong to the key beside it", s.path(fileBoxDocument))
	}
	return b, nil
}

func (b *box) makeDocument(s *stateDir) error {
	doc, err := envelope.SignDocument(&envelope.Document{
		Format:  1,
		Kind:    envelope.Box,
		Version: 1,
		Time:    time.Now().UnixMilli(),
		Keys:    []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: b.key.Public().(ed25519.PublicKey)}},
	}, nil, b)
	if err != nil {
		return err
	}
	b.doc = doc
	return s.write(fileBoxDocument, doc.Signed().Encode())
}

// Agent returns the box's id; zero while its first document is being made.
func (b *box) Agent() envelope.AgentID {
	if b.doc == nil {
		return envelope.AgentID{}
	}
	return b.doc.ID()
}

// DocumentVersion returns the version of the document that holds the key.
func (b *box) DocumentVersion() uint64 { return 1 }

// PrivateKey returns the box's signing key.
func (b *box) PrivateKey() ed25519.PrivateKey { return b.key }
