package netq

import (
	"net"
	"net/netip"
	"sync"

	"l2p/envelope"
)

// How many connections peers may have to this endpoint.
const (
	maxConns              = 1024 // in all, handshakes included
	maxHandshakes         = 256
	maxHandshakesPerAddr  = 64 // per IP address
	retryHandshakes       = 32 // from so many on, a peer first proves its address (QUIC Retry)
	maxStrangers          = 128
	maxStrangersPerAddr   = 32
	maxConnsPerNode       = 8 // of one key; a peer that restarts leaves dead ones behind for a while
	maxConnsPerClient     = 64
	maxConnsPerStranger   = 4
	maxStreams            = 128 // requests under way on a node's connection
	maxStreamsOfStrangers = 32  // on any other
)

// A gate counts connections, so that nobody can have too many.
type gate struct {
	mu         sync.Mutex
	conns      int
	handshakes int
	strangers  int
	shakingAt  map[netip.Addr]int // handshakes by address
	strangeAt  map[netip.Addr]int // strangers by address
	byKey      map[connKey]int
}

type connKey struct {
	proto string
	node  envelope.NodeID
}

func newGate() *gate {
	return &gate{
		shakingAt: make(map[netip.Addr]int),
		strangeAt: make(map[netip.Addr]int),
		byKey:     make(map[connKey]int),
	}
}

// A slot is one connection's place at the gate, from its first packet on.
type slot struct {
	gate *gate
	addr net.Addr
	ip   netip.Addr

	// Set by the handshake.
	proto string
	peer  Peer

	// Guarded by gate.mu.
	state slotState
}

type slotState int

const (
	shaking  slotState = iota
	stranger           // on the join protocol, or a client before its Hello
	known
	left
)

var errBusy = &envelope.Error{
	Kind: envelope.Unavailable,
	Text: "the node has too many connections",
	Hint: "try again later",
}

// enter gives a slot to a peer that starts a handshake.
func (g *gate) enter(addr net.Addr) (*slot, error) {
	s := &slot{gate: g, addr: addr, ip: ipOf(addr)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns >= maxConns || g.handshakes >= maxHandshakes || g.shakingAt[s.ip] >= maxHandshakesPerAddr {
		return nil, errBusy
	}
	g.conns++
	g.handshakes++
	g.shakingAt[s.ip]++
	return s, nil
}

// crowded reports whether peers should prove their address before they get a slot.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.handshakes >= retryHandshakes
}

// established counts s as what it turned out to be. Its error means that the
// connection must be closed.
func (s *slot) established() error {
	key := connKey{s.proto, s.peer.Node}
	limit, state := maxConnsPerNode, known
	switch s.proto {
	case ProtoClient:
		limit, state = maxConnsPerClient, stranger
	case ProtoJoin:
		limit, state = maxConnsPerStranger, stranger
	}
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.state != shaking {
		return errBusy // gone already
	}
	if g.byKey[key] >= limit ||
		state == stranger && (g.strangers >= maxStrangers || g.strangeAt[s.ip] >= maxStrangersPerAddr) {
		return errBusy
	}
	g.unshake(s)
	g.byKey[key]++
	if state == stranger {
		g.strangers++
		g.strangeAt[s.ip]++
	}
	s.state = state
	return nil
}

// trust makes a stranger known.
func (s *slot) trust() {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.state == stranger {
		s.gate.unstrange(s)
		s.state = known
	}
}

// leave gives the slot back.
func (s *slot) leave() {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch s.state {
	case left:
		return
	case shaking:
		g.unshake(s)
	case stranger:
		g.unstrange(s)
		fallthrough
	case known:
		decrease(g.byKey, connKey{s.proto, s.peer.Node})
	}
	g.conns--
	s.state = left
}

func (g *gate) unshake(s *slot) {
	g.handshakes--
	decrease(g.shakingAt, s.ip)
}

func (g *gate) unstrange(s *slot) {
	g.strangers--
	decrease(g.strangeAt, s.ip)
}

func decrease[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// ipOf returns the IP address of a, or the zero Addr for what has none.
func ipOf(a net.Addr) netip.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		ip := u.AddrPort().Addr().Unmap()
		if ip.Is6() {
			// Whoever has one IPv6 address usually has 2^64 of them.
			if p, err := ip.WithZone("").Prefix(64); err == nil {
				return p.Addr()
			}
		}
		return ip
	}
	return netip.Addr{}
}
