// Package discover finds nodes on the local network by multicast DNS (RFC
// 6762) and DNS service discovery (RFC 6763): [Announce] answers queries for
// the service _l2p._udp, [Browse] asks.
//
// What it finds is a claim of whoever answered, fit to be shown to a person or
// to be tried. It must not know who is a member: only a connection proves
// which node is at an address and which network it belongs to.
package discover

import (
	"net"
	"strings"

	"github.com/miekg/dns"

	"l2p/envelope"
)

const (
	service = "_l2p._udp"
	domain  = "local."
	// serviceName is what is asked for.
	serviceName = service + "." + domain

	mdnsPort   = 5353
	txtVersion = "l2p=1" // the first TXT string, version 1 of what follows
	maxRecords = 64      // looked at in one answer
)

// Where queries go.
var (
	group4 = net.IPv4(224, 0, 0, 251)
	group6 = net.ParseIP("ff02::fb")
)

// Info is what a node announces.
type Info struct {
	Network envelope.NetworkID
	Node    envelope.NodeID
	BoxName string
	Port    uint16
}

// Found is a node that answered.
type Found struct {
	Network envelope.NetworkID
	Node    envelope.NodeID
	BoxName string
	Addr    string // host:port; the host is where the answer came from
}

// instance is the node's service instance name: DNS labels have 63 characters
// at most, and a printed node id has more.
func (i Info) instance() string { return "l2p-" + i.Node.String()[len("l2pnode1"):][:32] }

func (i Info) txt() []string {
	return []string{txtVersion, "network=" + i.Network.String(), "node=" + i.Node.String(), "box=" + i.BoxName}
}

// parseTXT is the inverse of Info.txt. Strings that it doesn't know are passed
// over, so that later versions can add some.
func parseTXT(txt []string) (Info, bool) {
	var i Info
	if len(txt) == 0 || txt[0] != txtVersion {
		return i, false
	}
	seen := map[string]bool{}
	for _, s := range txt[1:] {
		key, value, _ := strings.Cut(s, "=")
		if seen[key] {
			return i, false
		}
		seen[key] = true
		var err error
		switch key {
		case "network":
			i.Network, err = envelope.ParseNetworkID(value)
		case "node":
			i.Node, err = envelope.ParseNodeID(value)
		case "box":
			i.BoxName, err = value, envelope.CheckBoxName(value)
		}
		if err != nil {
			return i, false
		}
	}
	return i, seen["network"] && seen["node"] && seen["box"]
}

// parseAnswer returns the nodes that an answer to query number id tells of,
// with their ports.
func parseAnswer(packet []byte, id uint16) []Info {
	var m dns.Msg
	if m.Unpack(packet) != nil || !m.Response || m.Id != id || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil
	}
	records := append(m.Answer, m.Extra...)
	ports := map[string]uint16{}
	texts := map[string][]string{}
	var order []string
	for _, rr := range records[:min(len(records), maxRecords)] {
		name := strings.ToLower(rr.Header().Name)
		if !strings.HasSuffix(name, "."+serviceName) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.SRV:
			ports[name] = rr.Port
		case *dns.TXT:
			if _, again := texts[name]; !again {
				order = append(order, name)
			}
			texts[name] = rr.Txt
		}
	}
	var nodes []Info
	for _, name := range order {
		i, ok := parseTXT(texts[name])
		i.Port = ports[name]
		if ok && i.Port != 0 && name == i.instance()+"."+serviceName {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// interfaces returns those that multicast goes through.
func interfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, envelope.Errorf(envelope.Unavailable, "cannot list network interfaces: %w", err)
	}
	var usable []net.Interface
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagPointToPoint == 0 {
			usable = append(usable, i)
		}
	}
	return usable, nil
}

// addresses returns the IP addresses of an interface.
func addresses(i *net.Interface) []net.IP {
	addrs, err := i.Addrs()
	if err != nil {
		return nil // the interface has gone in between
	}
	var ips []net.IP
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips
}
