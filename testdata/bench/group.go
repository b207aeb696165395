package main

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"l2p/envelope"
)

// group makes a group of n members and compares sealing for it with sealing
// for one person. The members are strangers of whom the home knows documents:
// making n agents by the command would take minutes.
func (s *stage) group(n int) ([]comparison, error) {
	args := []string{s.l2p, "group", "create", "--offline", "--quiet", "all@a-tech"}
	for range n - 1 { // and adam
		id, err := s.stranger()
		if err != nil {
			return nil, err
		}
		args = append(args, "-m", id)
	}
	started := time.Now()
	if err := s.call(args...); err != nil {
		return nil, err
	}
	fmt.Printf("group create with %d members takes %.1f s\n", n, time.Since(started).Seconds())
	var all []comparison
	for _, c := range []comparison{{what: "seal file to null"}, {what: "seal 1 KiB", small: true}} {
		file := s.path("large")
		if c.small {
			file = s.path("small")
		}
		c.ours = s.command("file", "", file, []string{s.l2p, "seal", "--not-me", "-t", "all"})
		c.theirs = s.command("file", "", file, []string{s.l2p, "seal", "--not-me", "-t", "eve"})
		all = append(all, c)
	}
	return all, nil
}

// stranger makes a person's document known to l2p's home, and returns the id.
func (s *stage) stranger() (string, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", err
	}
	d, err := envelope.SignDocument(&envelope.Document{
		Format: 1, Kind: envelope.User, Version: 1, Time: time.Now().UnixMilli(), Recipient: identity.Recipient().String(),
		Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: key.Public().(ed25519.PublicKey)}},
	}, nil, newborn{key})
	if err != nil {
		return "", err
	}
	id := d.ID().String()
	dir := filepath.Join(s.dir, "home", "keystore", "documents", id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return id, os.WriteFile(filepath.Join(dir, "1"), d.Signed().Encode(), 0o600)
}

// A newborn signs the first document of an agent, which has no id before it.
type newborn struct{ key ed25519.PrivateKey }

func (newborn) Agent() envelope.AgentID          { return envelope.AgentID{} }
func (newborn) DocumentVersion() uint64          { return 1 }
func (n newborn) PrivateKey() ed25519.PrivateKey { return n.key }
