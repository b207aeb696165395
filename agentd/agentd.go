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
//	invitations.cbor  tickets that are good or used, in the founder's box only
//	roster.cbor   the signed statements about who takes part
//	gossip.key    shared by the network's nodes, a Signed
//	peers.cbor    where other nodes were last seen
//	endpoint      "l2pnode1…@host:port", there while the node listens
//	index/ records/ segments/ format lock  what the node keeps (package store)
//
// Keys have mode 0600. All files are replaced atomically.
package agentd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
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
	// Join is a ticket for a box that is in no network yet. A box that is in
	// one ignores it.
	Join string
	// MDNS makes the node announce itself on the local network and look for
	// nodes of its own network there.
	MDNS bool
	// Metrics is the TCP address on the machine's loopback, host:port, where
	// GET /metrics answers in Prometheus' text format; none if empty.
	Metrics string
	// QuotaAgent is how many bytes of segments the node keeps for one agent
	// before it refuses more; 0: no quota.
	QuotaAgent uint64
	// ScrubRate is how many bytes a second the node reads at most to find out
	// whether what it keeps is damaged; 0: 8 MiB.
	ScrubRate uint64
	// Log receives what an operator should know; nil: nothing is logged.
	Log *slog.Logger
}

// An Agentd is one node. Make it with [New], run it once with Run.
type Agentd struct {
	cfg         Config
	log         *slog.Logger
	state       *stateDir
	store       *store.Store
	nodeKey     ed25519.PrivateKey
	operatorKey ed25519.PrivateKey
	box         *box
	self        envelope.NodeID
	started     time.Time
	meter       *meter
	rejected    *rejections
	changing    turn // of the network that the box is in
	endpoint    *netq.Endpoint
	stop        context.CancelFunc

	// asked is the last request for admission; held by who has changing.
	asked *wire.JoinRequest

	mu  sync.Mutex
	net *network // nil while the box is in none
}

// New opens the state directory, and makes what is missing there. An error of
// kind Conflict says that a node runs there already.
func New(cfg Config) (_ *Agentd, err error) {
	a := &Agentd{cfg: cfg, log: cfg.Log, changing: newTurn()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.cfg.Listen == "" {
		a.cfg.Listen = DefaultListen
	}
	a.meter = newMeter(a)
	a.rejected = newRejections(a.log, a.meter.rejected)
	if a.state, err = openState(cfg.State); err != nil {
		return nil, err
	}
	if a.store, err = store.Open(cfg.State, store.Options{Log: a.log, Quota: cfg.QuotaAgent}); err != nil {
		return nil, err
	}
	if err := a.openKeys(); err != nil {
		a.store.Close()
		return nil, err
	}
	return a, nil
}

func (a *Agentd) openKeys() (err error) {
	if a.nodeKey, err = a.state.makeKey(fileNodeKey); err != nil {
		return err
	}
	if a.operatorKey, err = a.state.makeKey(fileOperatorKey); err != nil {
		return err
	}
	a.self = envelope.NodeIDOf(a.nodeKey.Public().(ed25519.PublicKey))
	a.box, err = openBox(a.state)
	return err
}

// Run serves until ctx ends or the operator asks it to stop. Then it finishes
// the requests under way, tells the others that it goes, and closes what New
// has opened. A stop in good order is no error.
func (a *Agentd) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.store.Close()) }()
	ctx, a.stop = context.WithCancel(ctx)
	defer a.stop()
	a.started = time.Now()
	if err := a.listen(); err != nil {
		return err
	}
	defer a.endpoint.Close()

	var background sync.WaitGroup
	defer background.Wait()
	defer a.stop()
	if a.cfg.Metrics != "" {
		l, err := listenMetrics(a.cfg.Metrics)
		if err != nil {
			return err
		}
		background.Go(func() {
			if err := a.meter.serve(ctx, l); err != nil {
				a.log.Error("metrics are not served any more", "err", err)
			}
		})
		a.log.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
	}
	background.Go(func() { a.rejected.run(ctx) })
	if err := a.resume(); err != nil {
		return err
	}
	defer func() {
		a.changing <- struct{}{} // nobody enters a network any more
		a.pause()
	}()
	if err := a.writeEndpoint(); err != nil {
		return err
	}
	defer a.state.remove(fileEndpoint)
	background.Go(func() { a.joinAtStart(ctx) })
	a.log.Info("listening", "addr", a.endpoint.LocalAddr(), "node", a.self)
	err = a.endpoint.Serve(ctx)
	a.log.Info("stopping")
	return err
}

// listen makes the endpoint.
func (a *Agentd) listen() (err error) {
	conn := a.cfg.PacketConn
	if conn == nil {
		if _, _, err := net.SplitHostPort(a.cfg.Listen); err != nil {
			return UsageError("--listen %+q is not host:port", a.cfg.Listen)
		}
		if conn, err = net.ListenPacket("udp", a.cfg.Listen); err != nil {
			return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "cannot listen on %+q: %w", a.cfg.Listen, err),
				"is another agentd running? choose another address with --listen")
		}
	}
	a.endpoint, err = netq.Listen(netq.Config{
		PacketConn: conn,
		Identity:   a.identity,
		Authorize:  a.authorize,
		Handler:    a,
		Log:        a.log,
	})
	return err
}

// identity is what the node presents in its next handshake.
func (a *Agentd) identity() netq.Identity {
	id := netq.Identity{Key: a.nodeKey}
	if n := a.network(); n != nil {
		id.Credentials = n.credentials()
	}
	return id
}

// network returns the network that the box is in, or nil.
func (a *Agentd) network() *network {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.net
}

func (a *Agentd) setNetwork(n *network) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.net = n
}

// writeEndpoint tells programs on this machine where the node is.
func (a *Agentd) writeEndpoint() error {
	return a.state.write(fileEndpoint, []byte(a.self.String()+"@"+localAddr(a.endpoint.LocalAddr())+"\n"))
}

// addrs are the addresses at which others may reach the node; at least one.
func (a *Agentd) addrs() []string {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		a.log.Warn("cannot list the machine's addresses", "err", err)
	}
	if addrs := reachableAddrs(a.endpoint.LocalAddr(), interfaces); len(addrs) > 0 {
		return addrs
	}
	return []string{localAddr(a.endpoint.LocalAddr())}
}

func (a *Agentd) boxKey() ed25519.PublicKey { return a.box.key.Public().(ed25519.PublicKey) }

// A turn lets one at a time through. Unlike a mutex it may be held across I/O,
// because whoever waits for it can give up.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) acquire(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return envelope.Errorf(envelope.Unavailable, "the box is joining or leaving a network: %w", context.Cause(ctx))
	}
}

func (t turn) release() { <-t }
