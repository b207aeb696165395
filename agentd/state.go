package agentd

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"l2p/agentd/admit"
	"l2p/envelope"
)

// Names in a state directory.
const (
	fileNodeKey     = "node.key"
	fileBoxKey      = "box.key"
	fileBoxDocument = "box.document"
	fileOperatorKey = "operator.key"
	fileRootKey     = "root.key"
	fileRoster      = "roster.cbor"
	fileInvitations = "invitations.cbor"
	fileGossipKey   = "gossip.key"
	filePeers       = "peers.cbor"
	fileEndpoint    = "endpoint"
)

// maxStateFile bounds what is read of any one small file, in bytes.
const maxStateFile = 1 << 20

// A stateDir is a node's state directory. Whoever changes it holds the store
// open, whose lock keeps a second node out.
type stateDir struct{ dir string }

// openState makes the directory where it doesn't exist.
func openState(dir string) (*stateDir, error) {
	if dir == "" {
		return nil, envelope.Errorf(envelope.Usage, "agentd needs a state directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, envelope.Errorf(envelope.Other, "make the state directory: %w", err)
	}
	return &stateDir{dir: dir}, nil
}

func (s *stateDir) path(name string) string { return filepath.Join(s.dir, name) }

// read returns the content of a small file, or nil where there is none.
func (s *stateDir) read(name string) ([]byte, error) {
	data, err := os.ReadFile(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, envelope.Errorf(envelope.Other, "read the node's state: %w", err)
	case len(data) > maxStateFile:
		return nil, envelope.Errorf(envelope.Corrupt, "%+q has %d bytes, far more than it should", s.path(name), len(data))
	}
	return data, nil
}

// write replaces a file atomically and durably, with mode 0600.
func (s *stateDir) write(name string, data []byte) error {
	err := admit.ReplaceFile(s.path(name), data)
	if err != nil {
		return envelope.Errorf(envelope.Other, "write the node's state: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// remove deletes a file; that there is none is no error.
func (s *stateDir) remove(name string) error {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return envelope.Errorf(envelope.Other, "change the node's state: %w", err)
	}
	return syncDir(s.dir)
}

// rename moves a file aside within the directory.
func (s *stateDir) rename(from, to string) error {
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		return envelope.Errorf(envelope.Other, "change the node's state: %w", err)
	}
	return syncDir(s.dir)
}

// secret returns the 32 bytes that a file holds as hexadecimal digits, or nil
// where there is no such file.
func (s *stateDir) secret(name string) ([]byte, error) {
	text, err := s.read(name)
	if text == nil || err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != 32 {
		return nil, envelope.Errorf(envelope.Corrupt, "%+q is damaged: it should hold 64 hexadecimal digits", s.path(name))
	}
	return secret, nil
}

// key returns the key in a file, or nil where there is no such file.
func (s *stateDir) key(name string) (ed25519.PrivateKey, error) {
	seed, err := s.secret(name)
	if seed == nil || err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// makeKey returns the key in a file, which it makes where there is none.
func (s *stateDir) makeKey(name string) (ed25519.PrivateKey, error) {
	key, err := s.key(name)
	if key != nil || err != nil {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return key, s.write(name, []byte(hex.EncodeToString(key.Seed())+"\n"))
}
