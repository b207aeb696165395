package agentd

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// maxAddrs is how many addresses of its own a node tells, at most: what a
// ticket has room for.
const maxAddrs = 8

// localAddr returns the address at which a program on the same machine reaches
// a node that listens at addr.
func localAddr(addr net.Addr) string {
	ap, ok := addrPort(addr)
	switch {
	case !ok:
		return addr.String()
	case ap.Addr().IsUnspecified():
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ap.Port())))
	}
	return ap.String()
}

// reachableAddrs returns the addresses, host:port, at which others may reach a
// node that listens at addr: addr itself, or for a wildcard those of the
// machine's interfaces. Loopback is there only where nothing else is.
func reachableAddrs(addr net.Addr, interfaces []net.Addr) []string {
	ap, ok := addrPort(addr)
	if !ok {
		return []string{addr.String()}
	}
	if !ap.Addr().IsUnspecified() {
		return []string{ap.String()}
	}
	var near, far []netip.Addr
	for _, a := range interfaces {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		switch {
		case ip.IsLoopback():
			near = append(near, ip)
		case ip.IsGlobalUnicast(): // private addresses included, link-local ones not: they need a zone
			far = append(far, ip)
		}
	}
	if len(far) == 0 {
		far = near
	}
	// IPv4 first: it is what more machines on a LAN can use.
	slices.SortStableFunc(far, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	var addrs []string
	for _, ip := range far[:min(len(far), maxAddrs)] {
		addrs = append(addrs, netip.AddrPortFrom(ip, ap.Port()).String())
	}
	return addrs
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	if u, ok := a.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
	}
	ap, err := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), err == nil
}
