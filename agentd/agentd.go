// Package agentd is one node of an l2p network: the only place where the
// parts of a node meet. [New] opens a state directory, [Agentd.Run] serves it
// until its context ends. The program agentd is this package and a handful of
// flags.
//
// What each part decides stands in its own package: who may take part in
// admit, where data belongs in ring, how copies are kept in replica, what is
// on disk in store, who seems alive in member, what goes over the wire in
// netq. This package holds the keys, starts and stops the parts in the right
// order, and says who may ask for what.
//
// It must not know the keystore: a node can't open what it keeps.
//
// # State directory
//
// A node keeps everything in one directory of mode 0700:
//
//	node.key      the node's Ed25519 key, 64 hexadecimal digits of seed; its TLS identity
//	box.key       the box's key, which signs its nodes and its namespace
//	box.document  the box agent's first document, a Signed
//	operator.key  who connects with this key is the node's operator
//	root.key      the network's root key, in the founder's box only
//	roster.cbor   the signed statements about who takes part
//	gossip.key    shared by the network's nodes, 64 hexadecimal digits
//	peers.cbor    where other nodes were last seen
//	endpoint      "l2pnode1…@host:port", there while the node listens
//	index/ records/ segments/ format lock  what the node keeps (package store)
//
// Keys have mode 0600. All files are replaced atomically.
package agentd

import (
	"context"
	"log/slog"
	"net"
)

// DefaultListen is where a node listens unless told otherwise: UDP, every
// address of the machine.
const DefaultListen = ":9011"

// Software is how a node introduces itself.
const Software = "l2p-agentd/0.1"

// A Config says what a node needs to run. Only State is required.
type Config struct {
	// State is the state directory. It is made where it doesn't exist.
	State string
	// Listen is the UDP address, host:port; DefaultListen if empty. Port 0 is
	// any free port.
	Listen string
	// PacketConn, if set, is used instead of a socket at Listen. Run closes it.
	PacketConn net.PacketConn
	// Bootstrap are addresses, host:port, of nodes of the same network, tried
	// beside those that the state directory remembers.
	Bootstrap []string
	// Join is a ticket, or host:port of a node to ask for admission, for a
	// box that is in no network yet. A box that is in one ignores it.
	Join string
	// MDNS makes the node announce itself on the local network and look for
	// nodes of its own network there.
	MDNS bool
	// Log receives what an operator should know; nil: nothing is logged.
	Log *slog.Logger
}

// An Agentd is one node. Make it with [New], run it once with Run.
type Agentd struct {
	cfg   Config
	state *stateDir
}

// New opens the state directory.
func New(cfg Config) (*Agentd, error) {
	state, err := openState(cfg.State)
	if err != nil {
		return nil, err
	}
	return &Agentd{cfg: cfg, state: state}, nil
}

// Run serves until ctx ends.
func (a *Agentd) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
