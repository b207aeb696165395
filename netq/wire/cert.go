package wire

import "l2p/envelope"

// StatementKind says what a signed statement of the roster is.
type StatementKind uint

const (
	StatementBox        StatementKind = 1 // BoxCert, signed by the network's root key
	StatementNode       StatementKind = 2 // NodeCert, signed by the box's key and the node's
	StatementRevocation StatementKind = 3 // Revocation, signed by the root key or by the box
)

// A Statement is one signed line of the roster.
type Statement struct {
	Kind StatementKind `cbor:"1,keyasint"`
	Data []byte        `cbor:"2,keyasint"` // encoding of an envelope.Signed
}

// A BoxCert admits a box to a network. The root key signs it.
type BoxCert struct {
	Format  uint               `cbor:"1,keyasint"` // 1
	Network envelope.NetworkID `cbor:"2,keyasint"`
	Name    string             `cbor:"3,keyasint"` // of the box and its namespace, unique in the network
	Agent   envelope.AgentID   `cbor:"4,keyasint"` // the box's agent
	Key     []byte             `cbor:"5,keyasint"` // the box's Ed25519 public key, which signs its nodes
	// Nonce places the box's nodes on the ring. The issuer draws it after the
	// box's key is fixed, so that nobody chooses where they sit.
	Nonce     [32]byte `cbor:"6,keyasint"`
	NotBefore int64    `cbor:"7,keyasint"` // Unix seconds
	NotAfter  int64    `cbor:"8,keyasint"` // Unix seconds
}

// A NodeCert says that a node belongs to a box. The box's key signs it, and
// the node's own key does: so nobody certifies a node that isn't theirs.
type NodeCert struct {
	Format  uint               `cbor:"1,keyasint"` // 1
	Network envelope.NetworkID `cbor:"2,keyasint"`
	BoxCert envelope.Hash      `cbor:"3,keyasint"` // hash of the BoxCert's body
	Key     []byte             `cbor:"4,keyasint"` // the node's Ed25519 public key
	// Ordinal, 0 to MaxOrdinal, tells a box's nodes apart on the ring. Of two
	// certificates with one ordinal the higher Serial holds.
	Ordinal   uint   `cbor:"5,keyasint"`
	Serial    uint64 `cbor:"6,keyasint"`
	NotBefore int64  `cbor:"7,keyasint"` // Unix seconds
	NotAfter  int64  `cbor:"8,keyasint"` // Unix seconds
}

// MaxOrdinal is the highest ordinal of a box's nodes: a box has at most 16.
const MaxOrdinal = 15

// A Revocation ends a certificate for good.
type Revocation struct {
	Format  uint               `cbor:"1,keyasint"` // 1
	Network envelope.NetworkID `cbor:"2,keyasint"`
	Cert    envelope.Hash      `cbor:"3,keyasint"` // hash of the certificate's body
	Time    int64              `cbor:"4,keyasint"` // Unix seconds
	// Left is set when the box ends its own certificate or its node's, and
	// signs; unset, the root key signs.
	Left bool `cbor:"5,keyasint,omitempty"`
}

// A GossipKey is the key under which the nodes of a network seal their gossip.
// The root key signs it. Of two the one with the higher Serial holds.
type GossipKey struct {
	Format  uint               `cbor:"1,keyasint"` // 1
	Network envelope.NetworkID `cbor:"2,keyasint"`
	Serial  uint64             `cbor:"3,keyasint"` // 1 and up
	Key     [32]byte           `cbor:"4,keyasint"`
}

// Credentials prove that a node belongs to a network. A node's TLS certificate
// carries them in an extension of its own.
type Credentials struct {
	RootKey []byte `cbor:"1,keyasint"` // 32 bytes; its hash is the network id
	Box     []byte `cbor:"2,keyasint"` // encoding of the Signed BoxCert
	Node    []byte `cbor:"3,keyasint"` // encoding of the Signed NodeCert
}

// A JoinRequest is what a box asks for admission with. The box's key signs it.
type JoinRequest struct {
	Format   uint               `cbor:"1,keyasint"` // 1
	Network  envelope.NetworkID `cbor:"2,keyasint"` // asked to join
	Name     string             `cbor:"3,keyasint"` // wanted
	Document []byte             `cbor:"4,keyasint"` // encoding of the box agent's newest document, a Signed
	Key      []byte             `cbor:"5,keyasint"` // the box's Ed25519 public key
	Agent    envelope.AgentID   `cbor:"6,keyasint"`
	Addr     string             `cbor:"7,keyasint"` // host:port where its node listens; host may be empty: as seen
	Time     int64              `cbor:"8,keyasint"` // Unix seconds, by the box's clock; decides nothing
	// Node is the Ed25519 public key of the node that asks. The request is
	// good only on a connection of that node, so that nobody else can use it.
	Node []byte `cbor:"9,keyasint"`
}

// A Ticket lets one box in. Its text form is bech32 with the prefix l2pticket
// ([Ticket.String], [ParseTicket]).
type Ticket struct {
	Format  uint               `cbor:"1,keyasint"` // 1
	Network envelope.NetworkID `cbor:"2,keyasint"`
	Name    string             `cbor:"3,keyasint"` // of the box invited
	Secret  [16]byte           `cbor:"4,keyasint"`
	Expires int64              `cbor:"5,keyasint"` // Unix seconds
	Addrs   []string           `cbor:"6,keyasint"` // host:port, 1 to 8
}
