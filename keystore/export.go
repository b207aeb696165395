package keystore

import (
	"bytes"
	"context"
	"encoding/pem"

	"l2p/envelope"
)

const (
	exportMagic = "l2p-agent/v1\n"
	exportLabel = "L2P AGENT"

	// MaxExportSize is the most bytes that Import reads.
	MaxExportSize = 16 << 20
)

// An exported is the content of an exported agent.
type exported struct {
	Documents [][]byte `cbor:"1,keyasint"`
	Version   uint64   `cbor:"2,keyasint"` // of the document that the secrets are for
	Secrets   []byte   `cbor:"3,keyasint"` // as they are kept: locked or plain
}

// Export returns an agent of the store, documents and secrets, to be imported
// elsewhere. The secrets stay locked as they are; those of an agent without a
// passphrase are in clear. Armored, it is text.
func (s *Store) Export(ctx context.Context, id envelope.AgentID, armored bool) ([]byte, error) {
	if _, err := s.Agent(id); err != nil {
		return nil, err
	}
	chain, err := s.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	stored, err := s.secretsOf(last)
	if err != nil {
		return nil, err
	}
	e := exported{Version: last.Version, Secrets: stored}
	for _, d := range chain {
		e.Documents = append(e.Documents, d.Signed().Encode())
	}
	data, err := envelope.Encode(e)
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot encode the agent: %w", err)
	}
	data = append([]byte(exportMagic), data...)
	if len(data) > MaxExportSize {
		return nil, envelope.Errorf(envelope.Full, "agent has %d bytes, more than the limit of %d", len(data), MaxExportSize)
	}
	if armored {
		return pem.EncodeToMemory(&pem.Block{Type: exportLabel, Bytes: data}), nil
	}
	return data, nil
}

// Import makes an exported agent, armored or not, one of the store's and
// returns it. An agent that is here already gains newer documents at most;
// documents that differ from those known are refused, as AddDocuments does,
// and so is another agent's name.
func (s *Store) Import(ctx context.Context, data []byte) (*Agent, error) {
	run, e, err := parseExported(data)
	if err != nil {
		return nil, err
	}
	last := run[len(run)-1]
	if !isLocked(e.Secrets) {
		secrets, err := parseSecrets(e.Secrets)
		if err == nil {
			err = secrets.bind(last)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.adopt(ctx, run, e.Version, e.Secrets); err != nil {
		return nil, err
	}
	return s.Agent(last.ID())
}

// SignIn makes an agent whose documents were found in the network one of the
// store's: they must carry the locked secrets, which the passphrase opens. It is
// cleared. run is all of the agent's documents, oldest first.
func (s *Store) SignIn(ctx context.Context, run []*envelope.Document, passphrase []byte) (*Secrets, error) {
	defer clear(passphrase)
	if len(run) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "no documents to sign in with")
	}
	last := run[len(run)-1]
	if last.Locked.IsZero() || last.Attachment(last.Locked) == nil {
		return nil, envelope.WithHint(envelope.Errorf(envelope.NotFound, "the document of %s does not carry its keys", title(last)),
			"bring them with l2p agent export and import")
	}
	stored := last.Attachment(last.Locked)
	if !isLocked(stored) {
		return nil, envelope.Errorf(envelope.Corrupt, "the secrets in the document of %s are not locked", title(last))
	}
	secrets, err := unlock(stored, passphrase)
	if err != nil {
		return nil, envelope.Errorf(envelope.KindOf(err), "cannot unlock %s: %w", title(last), err)
	}
	if err := secrets.bind(last); err != nil {
		return nil, err
	}
	return secrets, s.adopt(ctx, run, last.Version, stored)
}

// adopt makes an agent from elsewhere one of the store's.
func (s *Store) adopt(ctx context.Context, run []*envelope.Document, n uint64, stored []byte) error {
	last := run[len(run)-1]
	if last.Kind != envelope.User && last.Kind != envelope.Service {
		return envelope.Errorf(envelope.Corrupt, "a keystore keeps users and services, not a %s", last.Kind)
	}
	return s.locked(func() error {
		if err := s.checkNameFree(last.Name, last.ID()); err != nil {
			return err
		}
		versions, err := versionsIn(s.path(agentsDir, last.ID().String()))
		if err != nil {
			return err
		}
		if len(versions) > 0 && versions[len(versions)-1] >= n {
			return s.addDocuments(ctx, run) // its secrets stay as they are here
		}
		return s.writeAgent(ctx, run, n, stored)
	})
}

func parseExported(data []byte) ([]*envelope.Document, *exported, error) {
	if len(data) > 2*MaxExportSize {
		return nil, nil, envelope.Errorf(envelope.Corrupt, "exported agent has more than %d bytes", MaxExportSize)
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != exportLabel || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			return nil, nil, envelope.Errorf(envelope.Corrupt, "malformed armor of an exported agent")
		}
		data = block.Bytes
	}
	data, ok := bytes.CutPrefix(data, []byte(exportMagic))
	if !ok {
		return nil, nil, envelope.WithHint(envelope.Errorf(envelope.Corrupt, "this is not an exported agent"),
			"l2p agent export makes one")
	}
	var e exported
	if err := envelope.Decode(data, MaxExportSize, &e); err != nil {
		return nil, nil, err
	}
	if len(e.Documents) == 0 || len(e.Secrets) == 0 || len(e.Secrets) > maxSecretsSize {
		return nil, nil, envelope.Errorf(envelope.Corrupt, "malformed exported agent")
	}
	var run []*envelope.Document
	for _, encoded := range e.Documents {
		d, err := envelope.ParseDocument(encoded)
		if err != nil {
			return nil, nil, err
		}
		run = append(run, d)
	}
	if e.Version != run[len(run)-1].Version {
		return nil, nil, envelope.Errorf(envelope.Corrupt, "malformed exported agent")
	}
	return run, &e, nil
}
