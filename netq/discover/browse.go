package discover

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"l2p/envelope"
)

const (
	maxFound  = 256  // nodes that Browse returns at most
	maxPacket = 9000 // bytes of an answer, RFC 6762 §17
	questions = 3    // times that Browse asks, since packets get lost
)

// Browse asks for l2p nodes on every interface that has multicast and returns
// who answered within the timeout, each node once, ascending by network, box
// name and node. If ctx ends before, it returns what has come so far. An error
// of kind Unavailable says that there was no interface to ask on.
//
// It asks from a port of its own and takes answers to that port alone (a
// one-shot query, RFC 6762 §5.1), so it needs no share of port 5353, and the
// address at which a node answers is one at which it can be reached.
func Browse(ctx context.Context, timeout time.Duration) ([]Found, error) {
	id, query, err := newQuery()
	if err != nil {
		return nil, err
	}
	usable, err := interfaces()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	b := browser{id: id, found: map[envelope.NodeID]sighting{}}
	var wg sync.WaitGroup
	asked := 0
	for _, i := range usable {
		for _, ask := range []func(*net.Interface) (net.PacketConn, net.Addr, error){socket4, socket6} {
			conn, group, err := ask(&i)
			if err != nil {
				continue // this interface doesn't have this version of IP
			}
			if _, err := conn.WriteTo(query, group); err != nil {
				conn.Close()
				continue
			}
			asked++
			wg.Go(func() { b.listen(conn) })
			wg.Go(func() { repeat(ctx, conn, query, group, timeout/questions) })
		}
	}
	if asked == 0 {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "no network interface lets us ask by multicast"),
			"give the address of a node instead")
	}
	wg.Wait()
	return b.sorted(), nil
}

func newQuery() (uint16, []byte, error) {
	var n [2]byte
	if _, err := rand.Read(n[:]); err != nil {
		return 0, nil, err
	}
	m := new(dns.Msg)
	m.SetQuestion(serviceName, dns.TypePTR)
	m.Id = binary.BigEndian.Uint16(n[:])
	m.RecursionDesired = false
	m.Question[0].Qclass |= 1 << 15 // we would like the answer by unicast, RFC 6762 §5.4
	packet, err := m.Pack()
	return m.Id, packet, err
}

func socket4(i *net.Interface) (net.PacketConn, net.Addr, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, nil, err
	}
	p := ipv4.NewPacketConn(conn)
	if err := errors.Join(p.SetMulticastInterface(i), p.SetMulticastTTL(255)); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, &net.UDPAddr{IP: group4, Port: mdnsPort}, nil
}

func socket6(i *net.Interface) (net.PacketConn, net.Addr, error) {
	conn, err := net.ListenUDP("udp6", nil)
	if err != nil {
		return nil, nil, err
	}
	p := ipv6.NewPacketConn(conn)
	if err := errors.Join(p.SetMulticastInterface(i), p.SetMulticastHopLimit(255)); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, &net.UDPAddr{IP: group6, Port: mdnsPort, Zone: i.Name}, nil
}

// repeat asks again at each interval until ctx ends, and then closes conn,
// which ends listen.
func repeat(ctx context.Context, conn net.PacketConn, query []byte, group net.Addr, interval time.Duration) {
	defer conn.Close()
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := conn.WriteTo(query, group); err != nil {
				continue // the interface may come back before ctx ends
			}
		}
	}
}

// A sighting is one node's best address so far.
type sighting struct {
	info Info
	addr netip.AddrPort
}

type browser struct {
	id uint16

	mu    sync.Mutex
	found map[envelope.NodeID]sighting
}

// listen takes answers until conn is closed.
func (b *browser) listen(conn net.PacketConn) {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier packet, such as port unreachable
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		ip := udp.AddrPort().Addr().Unmap()
		for _, info := range parseAnswer(buf[:n], b.id) {
			b.add(info, netip.AddrPortFrom(ip, info.Port))
		}
	}
}

func (b *browser) add(info Info, addr netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, again := b.found[info.Node]
	if !again && len(b.found) >= maxFound || again && !better(addr, old.addr) {
		return
	}
	b.found[info.Node] = sighting{info, addr}
}

// better prefers addresses that more programs can use: IPv4, then IPv6, then
// IPv6 that means something on one interface only.
func better(a, b netip.AddrPort) bool {
	rank := func(a netip.AddrPort) int {
		switch {
		case a.Addr().Is4():
			return 0
		case !a.Addr().IsLinkLocalUnicast():
			return 1
		}
		return 2
	}
	return rank(a) < rank(b)
}

func (b *browser) sorted() []Found {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Found
	for s := range maps.Values(b.found) {
		list = append(list, Found{Network: s.info.Network, Node: s.info.Node, BoxName: s.info.BoxName,
			Addr: net.JoinHostPort(s.addr.Addr().String(), strconv.Itoa(int(s.addr.Port())))})
	}
	slices.SortFunc(list, func(x, y Found) int {
		return cmp.Or(slices.Compare(x.Network[:], y.Network[:]), cmp.Compare(x.BoxName, y.BoxName), slices.Compare(x.Node[:], y.Node[:]))
	})
	return list
}
