// Package member says who seems alive. It is memberlist (SWIM with Lifeguard,
// arXiv 1707.00788) over the node's own UDP socket: packets go beside QUIC's,
// sealed with the network's gossip key, and the exchange of all that two nodes
// know goes over QUIC streams. docs/admission.md, "Gossip", has the formats.
//
// What it says is a hint. Every member has the gossip key, so any member can
// claim that another is dead; the other then learns of it and comes back under
// a new name. The package must not know the ring, which doesn't move with such
// rumours, nor what is stored.
package member

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// Config says how a node takes part in gossip. Peers and Log may be left out.
type Config struct {
	// Endpoint carries packets and streams. Nobody else may read its packets.
	Endpoint *netq.Endpoint
	// Key is the node's key.
	Key ed25519.PrivateKey
	// GossipKey is shared by all nodes of the network; see ReplaceGossipKey.
	GossipKey [32]byte
	// Advertise is where other nodes reach this one: an IP address and port.
	Advertise string
	// Allowed reports whether a node is in the roster. It must not block, and
	// must not call Members.
	Allowed func(envelope.NodeID) bool
	// Digest returns the digest of the roster, under the same conditions.
	Digest func() envelope.Hash
	// OnChange is called when nodes came or went. The callbacks come one at a
	// time, from a goroutine of Members which waits for them.
	OnChange func()
	// OnRosterDiffers is called when a live node has another roster than this
	// one, and again every few seconds while that is so.
	OnRosterDiffers func(envelope.NodeID)
	// Peers are where nodes were last reached.
	Peers []wire.Peer
	// Log gets memberlist's lines at level debug; nil: slog's default.
	Log *slog.Logger
}

const (
	housekeeping = time.Second     // obituaries, names
	healInterval = 5 * time.Second // between attempts to reach nodes that seem dead
	rebirthPause = 5 * time.Second // between changes of the own name, at least
	maxMourned   = 256             // names that are told of their death at a time
	obituaries   = 3               // times that they are told
	sendQueue    = 256             // packets that wait to be sent
	maxPeers     = 4096            // addresses that are remembered
	healAtOnce   = 3               // nodes that are tried in one attempt
	leaveTimeout = 2 * time.Second // to tell others that this node goes
)

type outgoing struct {
	message []byte
	addr    string
}

// Members is this node's view of who seems alive. Its methods may be called
// from many goroutines.
type Members struct {
	cfg    Config
	log    *slog.Logger
	self   envelope.NodeID
	ip     net.IP
	port   uint16
	sealer *sealer

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	out    chan outgoing
	woken  chan struct{}
	rename chan struct{} // somebody holds the current name for dead
	told   chan struct{} // the roster has changed

	mu      sync.Mutex
	current *gossip
	leaving bool
	alive   map[envelope.NodeID]node
	peers   map[envelope.NodeID]string
	mourned map[string]*obituary
}

type node struct {
	addr   string
	digest digestPrefix
}

type obituary struct {
	addr string
	left int
}

// New starts gossip. The caller must call Shutdown.
func New(cfg Config) (*Members, error) {
	at, err := netip.ParseAddrPort(cfg.Advertise)
	if err != nil || at.Port() == 0 || at.Addr().IsUnspecified() || at.Addr().Zone() != "" {
		return nil, envelope.Errorf(envelope.Usage, "%+q is not an address at which other nodes reach this one", cfg.Advertise)
	}
	s, err := newSealer(cfg.GossipKey)
	if err != nil {
		return nil, err
	}
	m := &Members{
		cfg:     cfg,
		log:     cfg.Log,
		self:    envelope.NodeIDOf(cfg.Key.Public().(ed25519.PublicKey)),
		ip:      at.Addr().Unmap().AsSlice(),
		port:    at.Port(),
		sealer:  s,
		out:     make(chan outgoing, sendQueue),
		woken:   make(chan struct{}, 1),
		rename:  make(chan struct{}, 1),
		told:    make(chan struct{}, 1),
		alive:   map[envelope.NodeID]node{},
		peers:   map[envelope.NodeID]string{},
		mourned: map[string]*obituary{},
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	for _, p := range cfg.Peers {
		m.remember(p)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if m.current, err = m.newGossip(); err != nil {
		m.cancel()
		return nil, err
	}
	m.wg.Go(m.receiveLoop)
	m.wg.Go(m.sendLoop)
	m.wg.Go(m.loop)
	return m, nil
}

// Join exchanges all that is known with the given nodes, at the same time, and
// returns how many answered. The error is one of those that didn't; it is nil
// where any did.
func (m *Members) Join(ctx context.Context, peers []wire.Peer) (int, error) {
	for _, p := range peers {
		m.remember(p)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	joined, first := 0, error(nil)
	slots := make(chan struct{}, 8)
	for _, p := range peers {
		if p.Node == m.self {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := m.joinOne(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				joined++
			} else if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	if joined > 0 {
		first = nil
	}
	return joined, first
}

func (m *Members) joinOne(ctx context.Context, p wire.Peer) error {
	addr, err := resolve(ctx, p.Addr)
	if err != nil {
		return err
	}
	g := m.generation()
	if g == nil || ctx.Err() != nil {
		return envelope.Errorf(envelope.Unavailable, "gossip has ended")
	}
	if _, err = g.list.Join([]string{idText(p.Node) + "/" + addr.String()}); err != nil {
		return envelope.Errorf(envelope.Unavailable, "no gossip with %s at %s: %w", p.Node.Short(), addr, err)
	}
	return nil
}

// resolve keeps memberlist from asking DNS in ways of its own.
func resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(addr); err == nil {
		return at, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, envelope.Errorf(envelope.Usage, "%+q is not host:port", addr)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return netip.AddrPort{}, envelope.Errorf(envelope.Unavailable, "no address for %+q: %w", host, err)
	}
	return netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
}

// Alive reports whether a node of the roster seems alive. This node always does.
func (m *Members) Alive(id envelope.NodeID) bool {
	m.mu.Lock()
	_, alive := m.alive[id]
	m.mu.Unlock()
	return id == m.self || alive && m.cfg.Allowed(id)
}

// Addr returns where a node is or was last reached, host:port, or "".
func (m *Members) Addr(id envelope.NodeID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.alive[id]; ok {
		return n.addr
	}
	return m.peers[id]
}

// Peers returns where the nodes of the roster were last reached, ascending by
// node, without this one. It is what to remember across a restart.
func (m *Members) Peers() []wire.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var peers []wire.Peer
	for id, addr := range m.peers {
		if m.cfg.Allowed(id) {
			peers = append(peers, wire.Peer{Node: id, Addr: addr})
		}
	}
	slices.SortFunc(peers, func(a, b wire.Peer) int { return slices.Compare(a.Node[:], b.Node[:]) })
	return peers
}

// Saw tells where a node has just been reached by other means.
func (m *Members) Saw(p wire.Peer) { m.remember(p) }

// RosterChanged tells other nodes of this node's new digest.
func (m *Members) RosterChanged() { signal(m.told) }

// ReplaceGossipKey seals packets with another key from now on. For a few seconds
// those that come under the key before are read as well.
func (m *Members) ReplaceGossipKey(key [32]byte) error { return m.sealer.replace(key) }

// ServeStream answers a push/pull on a stream that a node has opened. It
// returns when the stream is done with or ctx ends.
func (m *Members) ServeStream(ctx context.Context, conn net.Conn) {
	s := newPushPullStream(conn)
	defer s.Close()
	g := m.generation()
	if g == nil {
		return
	}
	select {
	case g.streams <- s:
	case <-g.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-s.closed:
	case <-g.done:
	case <-ctx.Done():
	}
}

// Leave tells the others that this node goes. Call Shutdown afterwards.
func (m *Members) Leave() {
	m.mu.Lock()
	m.leaving = true
	g := m.current
	m.mu.Unlock()
	if g != nil {
		if err := g.list.Leave(leaveTimeout); err != nil {
			m.log.Debug("gossip: leave", "err", err)
		}
	}
}

// Shutdown ends gossip, in about a second. When it returns, no callback is
// running or will come, and all goroutines are gone. It doesn't close the
// endpoint, of which it stops reading packets.
func (m *Members) Shutdown() {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
	m.mu.Lock()
	g := m.current
	m.current = nil
	m.mu.Unlock()
	if g != nil {
		g.stop()
		time.Sleep(linger)
	}
}

func (m *Members) generation() *gossip {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

func (m *Members) remember(p wire.Peer) {
	if p.Node == m.self || p.Node.IsZero() || wire.CheckAddr(p.Addr, false) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.peers[p.Node]; known || len(m.peers) < maxPeers {
		m.peers[p.Node] = p.Addr
	}
}

func (m *Members) dial(ctx context.Context, id envelope.NodeID, addr string) (net.Conn, error) {
	c, err := m.cfg.Endpoint.Node(ctx, id, addr)
	if err != nil {
		return nil, err
	}
	conn, err := c.OpenStream(ctx, wire.TypeGossip)
	if err != nil {
		return nil, err
	}
	s := newPushPullStream(conn)
	go func() { // ends with the stream, and ends it at Shutdown
		select {
		case <-m.ctx.Done():
			s.Close()
		case <-s.closed:
		}
	}()
	return s, nil
}

// send queues a message. Where the queue is full it is lost, as packets are.
func (m *Members) send(message []byte, addr string) {
	select {
	case m.out <- outgoing{message, addr}:
	default:
	}
}

func (m *Members) sendLoop() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case o := <-m.out:
			if err := m.write(o); err != nil {
				m.log.Debug("gossip: packet not sent", "addr", o.addr, "err", err)
			}
		}
	}
}

func (m *Members) write(o outgoing) error {
	at, err := netip.ParseAddrPort(o.addr)
	if err != nil {
		return err
	}
	packet, err := m.sealer.seal(o.message)
	if err != nil {
		return err
	}
	return m.cfg.Endpoint.WritePacket(packet, net.UDPAddrFromAddrPort(at))
}

func (m *Members) receiveLoop() {
	buf := make([]byte, netq.MaxPacket)
	for {
		n, from, err := m.cfg.Endpoint.ReadPacket(m.ctx, buf)
		if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			m.log.Debug("gossip: packet not received", "err", err)
			continue
		}
		if message := m.sealer.open(buf[:n]); message != nil && acceptable(message) {
			if g := m.generation(); g != nil {
				g.packet(message, from)
			}
		}
	}
}
