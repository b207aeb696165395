package envelope

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"github.com/zeebo/blake3"
)

// HashSize is the length of every hash in l2p, in bytes.
const HashSize = 32

// A Hash is a BLAKE3-256 hash. Every hash in l2p is one; what differs is the
// context string that is hashed in front (see [HashOf]).
type Hash [HashSize]byte

// HashOf returns BLAKE3-256(context ‖ parts…). The context says what the hash
// is of, so that a hash of one kind of thing is never the hash of another. It
// ends in a newline, which no context has inside.
func HashOf(context string, parts ...[]byte) Hash {
	h := blake3.New()
	h.WriteString(context)
	for _, p := range parts {
		h.Write(p)
	}
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

// String returns h in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first eight hexadecimal digits of h, for people.
func (h Hash) Short() string { return h.String()[:8] }

// IsZero reports whether h is the zero hash, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// Human-readable parts of the three kinds of printed id.
const (
	agentPrefix   = "l2p"
	nodePrefix    = "l2pnode"
	networkPrefix = "l2pnet"
)

// An AgentID names an agent (user, service, group or box) for ever: it is the
// hash of the agent's first document, keys included, and stays when the keys
// are rotated. It is printed in bech32 as l2p1….
type AgentID [HashSize]byte

// String returns the bech32 form of id.
func (id AgentID) String() string { return bech32String(agentPrefix, id[:]) }

// IsZero reports whether id is the zero id, which stands for "none".
func (id AgentID) IsZero() bool { return id == AgentID{} }

// Short returns the first 12 characters of the printed form after the prefix, for tables.
func (id AgentID) Short() string { return id.String()[:len(agentPrefix)+1+12] }

// ParseAgentID parses the bech32 form of an agent id.
func ParseAgentID(s string) (AgentID, error) {
	var id AgentID
	return id, parseBech32(agentPrefix, "agent id", s, id[:])
}

// A NodeID names a node: it is the hash of the node's public key. It is
// printed in bech32 as l2pnode1….
type NodeID [HashSize]byte

// NodeIDOf returns the id of the node with the given Ed25519 public key.
func NodeIDOf(publicKey []byte) NodeID {
	return NodeID(HashOf("l2p node id v1\n", publicKey))
}

// String returns the bech32 form of id.
func (id NodeID) String() string { return bech32String(nodePrefix, id[:]) }

// IsZero reports whether id is the zero id, which stands for "none".
func (id NodeID) IsZero() bool { return id == NodeID{} }

// Short returns the first 8 characters of the printed form after the prefix, for tables.
func (id NodeID) Short() string { return id.String()[:len(nodePrefix)+1+8] }

// ParseNodeID parses the bech32 form of a node id.
func ParseNodeID(s string) (NodeID, error) {
	var id NodeID
	return id, parseBech32(nodePrefix, "node id", s, id[:])
}

// A NetworkID names a network: it is the hash of the network's root key and
// serves as its fingerprint. It is printed in bech32 as l2pnet1….
type NetworkID [HashSize]byte

// NetworkIDOf returns the id of the network with the given Ed25519 root public key.
func NetworkIDOf(rootKey []byte) NetworkID {
	return NetworkID(HashOf("l2p network id v1\n", rootKey))
}

// String returns the bech32 form of id.
func (id NetworkID) String() string { return bech32String(networkPrefix, id[:]) }

// IsZero reports whether id is the zero id, which stands for "none".
func (id NetworkID) IsZero() bool { return id == NetworkID{} }

// ParseNetworkID parses the bech32 form of a network id.
func ParseNetworkID(s string) (NetworkID, error) {
	var id NetworkID
	return id, parseBech32(networkPrefix, "network id", s, id[:])
}

func bech32String(prefix string, b []byte) string {
	s, err := bech32.EncodeFromBase256(prefix, b)
	if err != nil {
		panic("envelope: bech32 refused 32 bytes: " + err.Error()) // cannot happen
	}
	return s
}

// parseBech32 decodes s, whose prefix must be prefix, into dst. what names the
// thing in errors.
func parseBech32(prefix, what, s string, dst []byte) error {
	if len(s) > 128 {
		return Errorf(Usage, "%s is too long (%d characters)", what, len(s))
	}
	if !strings.HasPrefix(s, prefix+"1") {
		return Errorf(Usage, "%s must start with %s1", what, prefix)
	}
	hrp, data, err := bech32.DecodeToBase256(s)
	if err != nil || hrp != prefix || len(data) != len(dst) || bech32String(prefix, data) != s {
		return Errorf(Usage, "%s %s is mistyped", what, quoteShort(s))
	}
	copy(dst, data)
	return nil
}

// quoteShort quotes untrusted text for an error message, shortened so that a
// hostile value cannot fill a screen.
func quoteShort(s string) string {
	const limit = 64
	if len(s) > limit {
		return fmt.Sprintf("%+q… (%d bytes)", s[:limit], len(s))
	}
	return fmt.Sprintf("%+q", s)
}
