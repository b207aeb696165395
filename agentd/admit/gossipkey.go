package admit

import (
	"crypto/ed25519"
	"crypto/rand"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A GossipKey seals the gossip between the nodes of a network, which all share
// it. It keeps strangers out and proves nothing about which member speaks. The
// issuer makes a new one when it expels a box.
type GossipKey struct {
	Serial uint64
	Key    [32]byte
	signed *envelope.Signed
}

// NewGossipKey draws a key and signs it with the root key. serial is 1 for a
// new network, and higher than that of the key before.
func NewGossipKey(root ed25519.PrivateKey, serial uint64) (GossipKey, error) {
	k := wire.GossipKey{Format: 1, Network: envelope.NetworkIDOf(root.Public().(ed25519.PublicKey)), Serial: serial}
	if _, err := rand.Read(k.Key[:]); err != nil {
		return GossipKey{}, err
	}
	s, err := wire.SignGossipKey(&k, root)
	if err != nil {
		return GossipKey{}, err
	}
	return GossipKey{Serial: serial, Key: k.Key, signed: s}, nil
}

// ParseGossipKey decodes and verifies the encoding of a key of the network with
// the given root key.
func ParseGossipKey(data []byte, root ed25519.PublicKey) (GossipKey, error) {
	s, err := envelope.ParseSigned(data, wire.MaxCertSize)
	if err != nil {
		return GossipKey{}, err
	}
	k, err := wire.VerifyGossipKey(s, root)
	if err != nil {
		return GossipKey{}, err
	}
	if k.Network != envelope.NetworkIDOf(root) {
		return GossipKey{}, otherNetwork()
	}
	return GossipKey{Serial: k.Serial, Key: k.Key, signed: s}, nil
}

// Encode returns what ParseGossipKey parses.
func (k GossipKey) Encode() []byte { return k.signed.Encode() }

// ReadGossipKey reads the key from the file that Write has written. An error of
// kind NotFound says that there is none.
func ReadGossipKey(path string, root ed25519.PublicKey) (GossipKey, error) {
	data, err := readFile(path, wire.MaxCertSize)
	if err != nil {
		return GossipKey{}, err
	}
	k, err := ParseGossipKey(data, root)
	if err != nil {
		return GossipKey{}, damaged(path, err)
	}
	return k, nil
}

// Write replaces the file, mode 0600.
func (k GossipKey) Write(path string) error { return writeFile(path, k.Encode()) }
