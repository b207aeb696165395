package netq

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// ClientConfig says whom a [Client] talks to and as whom.
type ClientConfig struct {
	Addr string             // host:port of the node
	Key  ed25519.PrivateKey // the agent's signing key, or the node's operator key
	// Agent is who holds Key; zero for the operator.
	Agent envelope.AgentID
	// Node or Network says which node must answer: this one, or any of this
	// network. One of them must be set.
	Node    envelope.NodeID
	Network envelope.NetworkID
	// PacketConn is the UDP socket; nil: one of the client's own.
	PacketConn net.PacketConn
	// Slow is called, from another goroutine, when a request about records has
	// had no answer for a second: the node waits for other nodes. It is called
	// once at most; nil: never.
	Slow func()
	// Incomplete is called when too few nodes answered for a list to be sure to
	// have all that there is. It is called once at most; nil: never.
	Incomplete func()
}

// A Client is a program's connection to a node. Its methods make one request
// each and may be called concurrently. Errors are those of [Conn.Call].
type Client struct {
	endpoint *Endpoint
	conn     *Conn
	welcome  wire.Welcome
	// What ClientConfig has of the same names, once.
	slow, incomplete func()
}

// DialClient connects to a node and says Hello. Errors are of kind Unavailable
// when no node answers there, Denied when it is another node than expected
// or doesn't know the key, and WrongNetwork when it belongs to another network.
func DialClient(ctx context.Context, conf ClientConfig) (*Client, error) {
	if conf.Node.IsZero() && conf.Network.IsZero() {
		return nil, envelope.Errorf(envelope.Usage, "it must be known which node or network to talk to")
	}
	if len(conf.Key) != ed25519.PrivateKeySize {
		return nil, envelope.Errorf(envelope.Usage, "talking to a node needs a key")
	}
	pc := conf.PacketConn
	if pc == nil {
		var err error
		if pc, err = net.ListenUDP("udp", nil); err != nil {
			return nil, envelope.Errorf(envelope.Other, "opening a socket: %w", err)
		}
	}
	e, err := Listen(Config{
		PacketConn: pc,
		Identity:   func() Identity { return Identity{Key: conf.Key} },
		Authorize:  func(_ string, p Peer) error { return conf.check(p) },
		Log:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	c := &Client{endpoint: e}
	if conf.Slow != nil {
		c.slow = sync.OnceFunc(conf.Slow)
	}
	if conf.Incomplete != nil {
		c.incomplete = sync.OnceFunc(conf.Incomplete)
	}
	if err := c.hello(ctx, conf); err != nil {
		e.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) hello(ctx context.Context, conf ClientConfig) error {
	var err error
	if c.conn, err = c.endpoint.Dial(ctx, conf.Addr, ProtoClient, conf.Node); err != nil {
		if envelope.KindOf(err) == envelope.Unavailable {
			err = envelope.WithHint(
				envelope.Errorf(envelope.Unavailable, "no node answers at %s", conf.Addr),
				"start it with: agentd")
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.call(ctx, wire.TypeHello, wire.Hello{Agent: conf.Agent}, &c.welcome); err != nil {
		return err
	}
	if !conf.Network.IsZero() && c.welcome.Network != conf.Network {
		return wrongNetwork(conf.Addr, c.welcome.Network, conf.Network)
	}
	return nil
}

// check decides whether p is the node, or of the network, that is wanted.
// Dial has checked the node's id.
func (conf *ClientConfig) check(p Peer) error {
	if conf.Network.IsZero() {
		return nil
	}
	if p.Credentials == nil {
		return wrongNetwork(conf.Addr, envelope.NetworkID{}, conf.Network)
	}
	if got := envelope.NetworkIDOf(p.Credentials.RootKey); got != conf.Network {
		return wrongNetwork(conf.Addr, got, conf.Network)
	}
	_, _, err := wire.VerifyCredentials(p.Credentials, p.Key, time.Now())
	return err
}

func wrongNetwork(addr string, got, want envelope.NetworkID) error {
	if got.IsZero() {
		return envelope.Errorf(envelope.WrongNetwork, "the node at %s is in no network, and not in %s", addr, want)
	}
	return envelope.Errorf(envelope.WrongNetwork, "the node at %s belongs to %s, not to %s", addr, got, want)
}

// Close ends the connection.
func (c *Client) Close() error { return c.endpoint.Close() }

// Welcome returns what the node said when the client connected.
func (c *Client) Welcome() wire.Welcome { return c.welcome }

// Peer returns the node that the client is connected with.
func (c *Client) Peer() Peer { return c.conn.Peer() }

// ask makes a request for which the node may have to wait for other nodes.
func (c *Client) ask(ctx context.Context, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	if c.slow != nil {
		defer time.AfterFunc(slowReply, c.slow).Stop()
	}
	return c.conn.Call(ctx, t, body, data, reply)
}

// call makes a request without data and with a reply without.
func (c *Client) call(ctx context.Context, t wire.Type, body, reply any) error {
	_, err := c.conn.Call(ctx, t, body, nil, reply)
	return err
}
