package member

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"l2p/envelope"
)

// Timings. A node that is killed is noticed after about probeInterval (until
// somebody probes it), probeInterval (until the probe has failed) and
// suspicionMult*probeInterval (for it to object): 2 to 3 s up to a few dozen nodes.
const (
	probeInterval    = 400 * time.Millisecond
	probeTimeout     = 200 * time.Millisecond
	suspicionMult    = 3
	gossipInterval   = 200 * time.Millisecond
	pushPullInterval = 15 * time.Second
	forgetDead       = 15 * time.Second
	streamTimeout    = 4 * time.Second
	awareness        = 2    // times that probes take longer while this node's own health is in doubt (Lifeguard)
	maxNames         = 8    // of one node that are remembered at a time
	messageSize      = 1100 // bytes of a packet before it is sealed
)

// A gossip is this node under one name: one memberlist, its transport and its
// delegates. memberlist calls the Notify methods with its lock held: they
// must not block, and must not call memberlist.
type gossip struct {
	m    *Members
	name string
	list *memberlist.Memberlist

	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once

	// mu guards what memberlist's callbacks keep.
	mu    sync.Mutex
	names map[envelope.NodeID]map[string]string // names of each node, with the meta and address that were verified
	// present is who is alive, by name, as the Notify methods tell it: what
	// memberlist's Members returns it changes without telling anybody.
	present map[string]node
}

func (m *Members) newGossip() (*gossip, error) {
	name, err := newName(m.self)
	if err != nil {
		return nil, err
	}
	g := &gossip{
		m:       m,
		name:    name,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		done:    make(chan struct{}),
		names:   map[envelope.NodeID]map[string]string{},
		present: map[string]node{},
	}
	g.list, err = memberlist.Create(&memberlist.Config{
		Name:                    name,
		Transport:               g,
		AdvertiseAddr:           m.ip.String(),
		AdvertisePort:           int(m.port),
		ProtocolVersion:         memberlist.ProtocolVersion2Compatible,
		TCPTimeout:              streamTimeout,
		IndirectChecks:          3,
		RetransmitMult:          10, // of few nodes, 4 leaves out one in fifty news, until a push/pull
		SuspicionMult:           suspicionMult,
		SuspicionMaxTimeoutMult: 1,
		PushPullInterval:        pushPullInterval,
		ProbeInterval:           probeInterval,
		ProbeTimeout:            probeTimeout,
		DisableTcpPings:         true, // a stream may have to dial first, which says nothing about the peer
		AwarenessMaxMultiplier:  awareness,
		GossipNodes:             3,
		GossipInterval:          gossipInterval,
		GossipToTheDeadTime:     forgetDead,
		Delegate:                g,
		Events:                  g,
		Alive:                   g,
		Logger:                  slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
		HandoffQueueDepth:       1024,
		UDPBufferSize:           messageSize,
		RequireNodeNames:        true,
		QueueCheckInterval:      time.Minute,
	})
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "starting gossip: %w", err)
	}
	return g, nil
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return g.m.ip, int(g.m.port), nil
}

// WriteTo implements memberlist.Transport.
func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport. It never blocks, and
// returns no error before the end: on one, memberlist drops its probe and
// suspects nobody.
func (g *gossip) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	select {
	case <-g.done:
		return time.Time{}, net.ErrClosed
	default:
	}
	g.m.send(b, addr.Addr)
	return time.Now(), nil
}

// PacketCh implements memberlist.Transport.
func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

// DialTimeout implements memberlist.Transport. It is not called: a stream
// needs to know which node it is for.
func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (g *gossip) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	id, ok := nameID(addr.Name)
	if !ok || !g.m.cfg.Allowed(id) {
		return nil, envelope.Errorf(envelope.Denied, "gossip with a node that doesn't take part")
	}
	ctx, cancel := context.WithTimeout(g.m.ctx, timeout)
	defer cancel()
	return g.m.dial(ctx, id, addr.Addr)
}

// Shutdown implements memberlist.Transport.
func (g *gossip) Shutdown() error {
	g.once.Do(func() { close(g.done) })
	return nil
}

// packet hands a message to memberlist.
func (g *gossip) packet(message []byte, from net.Addr) {
	select {
	case g.packets <- &memberlist.Packet{Buf: message, From: from, Timestamp: time.Now()}:
	case <-g.done:
	}
}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps out whoever
// isn't in the roster, and names and addresses that their node didn't sign.
func (g *gossip) NotifyAlive(n *memberlist.Node) error {
	id, ok := nameID(n.Name)
	if !ok {
		return envelope.Errorf(envelope.Corrupt, "malformed name")
	}
	if n.Name == g.name {
		return nil
	}
	// A protocol version that others don't speak would make memberlist refuse
	// every push/pull that mentions the node.
	const version = memberlist.ProtocolVersion2Compatible
	if n.PMin > version || n.PMax < version || n.PCur != version || n.DMin != 0 || n.DMax != 0 || n.DCur != 0 {
		return envelope.Errorf(envelope.Corrupt, "unknown version of gossip")
	}
	if !g.m.cfg.Allowed(id) {
		return envelope.Errorf(envelope.Denied, "the node doesn't take part")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	claim := string(n.Meta) + n.Address()
	if g.names[id][n.Name] == claim {
		return nil
	}
	if !verifyMeta(n.Meta, n.Name, n.Addr, n.Port) {
		return envelope.Errorf(envelope.Corrupt, "the node didn't sign this")
	}
	if _, known := g.names[id][n.Name]; !known && len(g.names[id]) >= maxNames {
		return envelope.Errorf(envelope.Full, "the node has too many names")
	}
	if g.names[id] == nil {
		g.names[id] = map[string]string{}
	}
	g.names[id][n.Name] = claim
	return nil
}

// forgetNames drops the names of nodes that don't seem alive.
func (g *gossip) forgetNames() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, names := range g.names {
		for name := range names {
			if _, alive := g.present[name]; !alive {
				delete(names, name)
			}
		}
		if len(names) == 0 {
			delete(g.names, id)
		}
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (g *gossip) NotifyJoin(n *memberlist.Node) {
	g.m.unmourn(n.Name)
	g.NotifyUpdate(n)
}

// NotifyLeave implements memberlist.EventDelegate. Whoever is declared dead
// here is told so, in case it lives.
func (g *gossip) NotifyLeave(n *memberlist.Node) {
	if n.Name != g.name {
		g.m.mourn(n.Name, n.Address())
	}
	g.mu.Lock()
	delete(g.present, n.Name)
	g.mu.Unlock()
	g.m.wake()
}

// NotifyUpdate implements memberlist.EventDelegate. An address doesn't change
// without the meta, which signs it.
func (g *gossip) NotifyUpdate(n *memberlist.Node) {
	info, _ := parseMeta(n.Meta, n.Name)
	g.mu.Lock()
	g.present[n.Name] = node{addr: n.Address(), digest: info.digest}
	g.mu.Unlock()
	g.m.wake()
}

// alive returns who is alive, by any name, without this node.
func (g *gossip) alive() map[envelope.NodeID]node {
	g.mu.Lock()
	defer g.mu.Unlock()
	alive := map[envelope.NodeID]node{}
	for name, n := range g.present {
		if id, ok := nameID(name); ok && id != g.m.self {
			alive[id] = n
		}
	}
	return alive
}

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	return signMeta(g.m.cfg.Key, g.m.cfg.Digest(), g.name, g.m.ip, g.m.port)
}

// NotifyMsg implements memberlist.Delegate. The only message is an obituary:
// the sender holds the name in it for dead.
func (g *gossip) NotifyMsg(b []byte) {
	if string(b) == g.name {
		g.m.reborn()
	}
}

// GetBroadcasts implements memberlist.Delegate.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}

// linger is how long memberlist's last probe may go on after stop: it doesn't
// listen to the end, nor does it say when it is there.
const linger = awareness * probeInterval

// stop ends the memberlist, whose goroutines are gone after linger.
func (g *gossip) stop() { _ = g.list.Shutdown() } // returns no errors but the transport's, which has none
