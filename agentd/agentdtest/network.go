// Package agentdtest runs many real nodes in one process, over a simulated
// network and under simulated time. Tests of the whole use it: a [Cluster] of
// boxes is founded, crashed, restarted and cut in pieces, while real clients
// write and read.
//
// Call everything inside a testing/synctest bubble. It must not know how a
// node works inside: it starts nodes by agentd.New and speaks to them by netq,
// as the programs do.
package agentdtest

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// latency of every packet of the simulated network.
const latency = 2 * time.Millisecond

// mtu of the simulated network, bytes of UDP payload.
const mtu = 1472

// A Network carries packets between simulated addresses. It is the only place
// that uses quic-go's simnet, whose interface isn't promised.
type Network struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]simnet.PacketReceiver
	side  map[netip.Addr]int // which part of a partition an address is in; none: reaches every part
}

// NewNetwork returns a network without hosts.
func NewNetwork() *Network {
	return &Network{hosts: map[netip.AddrPort]simnet.PacketReceiver{}, side: map[netip.Addr]int{}}
}

// AddNode is called by simnet.
func (n *Network) AddNode(addr net.Addr, r simnet.PacketReceiver) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addrPort(addr)] = r
}

// SendPacket is called by simnet. As on a real network, a packet to nobody, or
// over a cut, is lost without an error.
func (n *Network) SendPacket(p simnet.Packet) error {
	from, to := addrPort(p.From), addrPort(p.To)
	n.mu.Lock()
	r := n.hosts[to]
	a, cutA := n.side[from.Addr()]
	b, cutB := n.side[to.Addr()]
	n.mu.Unlock()
	if r != nil && !(cutA && cutB && a != b) {
		r.RecvPacket(p)
	}
	return nil
}

// Listen returns a packet connection at addr. A host that was there before
// gets no more packets.
func (n *Network) Listen(addr netip.AddrPort) *Socket {
	up := &uplink{network: n}
	link := &simnet.SimulatedLink{
		Latency:          latency,
		UplinkSettings:   simnet.LinkSettings{MTU: mtu},
		DownlinkSettings: simnet.LinkSettings{MTU: mtu},
		UploadPacket:     up,
	}
	conn := simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(addr), link)
	n.AddNode(conn.LocalAddr(), link)
	link.Start()
	return &Socket{SimConn: conn, network: n, link: link, up: up}
}

// partition cuts the network: packets between addresses of different sides
// are lost. Addresses of no side reach everybody.
func (n *Network) partition(side map[netip.Addr]int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.side = side
}

// A Socket is a simulated UDP socket.
type Socket struct {
	*simnet.SimConn
	network *Network
	link    *simnet.SimulatedLink
	up      *uplink
	once    sync.Once
}

// Unplug takes the socket off the network at once, as a power cut does: its
// owner isn't told. It may be called more than once.
func (s *Socket) Unplug() {
	s.up.cut.Store(true)
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	at := addrPort(s.LocalAddr())
	if s.network.hosts[at] == simnet.PacketReceiver(s.link) {
		delete(s.network.hosts, at)
	}
}

// Close ends the socket and its link.
func (s *Socket) Close() error {
	s.once.Do(func() {
		s.Unplug()
		s.SimConn.Close()
		s.link.Close()
	})
	return nil
}

// An uplink leads from one socket into the network, until it is cut.
type uplink struct {
	network *Network
	cut     atomic.Bool
}

func (u *uplink) AddNode(net.Addr, simnet.PacketReceiver) {}

func (u *uplink) SendPacket(p simnet.Packet) error {
	if u.cut.Load() {
		return nil
	}
	return u.network.SendPacket(p)
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
