package netq

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// The protocols, by their ALPN names. The number at the end is the version: a
// change that an older peer would not understand gets a new one.
const (
	ProtoNode   = "l2p-node/1"   // between admitted nodes of one network
	ProtoClient = "l2p-client/1" // an agent or the operator, to a node
	ProtoJoin   = "l2p-join/1"   // a box that asks for admission, to a node
)

// Time limits.
const (
	idleTimeout    = 4 * time.Second         // a connection on which nothing arrives for so long is dead
	keepAlive      = time.Second             // how often the side that dialled sends something
	dialSilence    = 1500 * time.Millisecond // a handshake ends when nothing arrives for so long
	dialTimeout    = 3 * time.Second         // a handshake takes at most so long
	requestTimeout = 10 * time.Second        // to send a request's preamble and body
	replyTimeout   = 10 * time.Second        // to take a reply without data
	slowestRate    = 64 << 10                // bytes a second that a peer must manage beyond these times
	idlePooled     = 30 * time.Second        // a connection that Node keeps is closed after so long without a call
	slowReply      = time.Second             // after which a client hears that the node waits for others
	silentFor      = 30 * time.Second        // how long a failed attempt to reach a node is remembered
	drainTimeout   = 2 * time.Second         // for requests under way when Serve ends
	lingerTimeout  = 50 * time.Millisecond   // for the last replies to leave before connections are closed
)

// Identity is what an endpoint presents.
type Identity struct {
	Key ed25519.PrivateKey
	// Credentials is an encoded [wire.Credentials]; nil for clients, and for
	// nodes in no network.
	Credentials []byte
}

// A Peer is the other side of a connection. TLS has proven that it holds Key.
type Peer struct {
	Key  ed25519.PublicKey
	Node envelope.NodeID // of Key
	// Credentials are what the peer's certificate carries, decoded and nothing
	// else: Authorize checks them. Nil where there are none.
	Credentials *wire.Credentials
	Addr        net.Addr
}

// Config says how an [Endpoint] behaves.
type Config struct {
	// PacketConn is the UDP socket. The endpoint owns it from now on.
	PacketConn net.PacketConn
	// Identity is called for every handshake, so that a node that joins a
	// network presents its credentials from then on. It must not block.
	Identity func() Identity
	// Authorize decides inside the handshake whether a peer may talk on a
	// protocol; its error refuses it. It is called on both sides of a
	// connection, concurrently, and must not block. The side that dialled gets
	// the error itself; the other learns only that it was refused.
	Authorize func(proto string, p Peer) error
	// Handler answers requests. Without one, the endpoint only dials.
	Handler Handler
	Log     *slog.Logger // nil: slog.Default
}

// A Request is one request of a peer.
type Request struct {
	Proto string
	Peer  Peer
	Conn  *Conn
	Type  wire.Type
	// Body is valid until Serve returns.
	Body []byte
	// Data may be kept.
	Data []byte
}

// Decode reads the request's body into v, the structure that belongs to its
// type. An error is of kind Corrupt.
func (r *Request) Decode(v any) error { return wire.DecodeBody(r.Type, r.Body, v) }

// A Handler answers requests, each on a goroutine of its own.
//
// Requests of a type that the peer's protocol doesn't allow never reach it, nor
// do, on [ProtoClient], any before a Hello that it has answered with Welcome.
type Handler interface {
	// Serve returns the reply. A nil body is an empty one; a zero type is the
	// one that belongs to the request. An error goes to the peer with its
	// kind; one that has no kind is logged, and a stranger doesn't see its
	// text. ctx ends when the peer gives up or is gone, or when the endpoint
	// closes.
	Serve(ctx context.Context, r *Request) (t wire.Type, body any, data []byte, err error)
}

// A StreamHandler is a [Handler] that also takes streams: requests of type
// [wire.TypeGossip], which turn the stream into a connection.
type StreamHandler interface {
	Handler
	// ServeStream owns conn until it returns; it is closed then.
	ServeStream(ctx context.Context, r *Request, conn net.Conn)
}

// roleOf returns which requests may come on a protocol.
func roleOf(proto string) wire.Role {
	switch proto {
	case ProtoNode:
		return wire.FromNode
	case ProtoClient:
		return wire.FromClient
	case ProtoJoin:
		return wire.FromStranger
	}
	return 0
}
