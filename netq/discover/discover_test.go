package discover

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"

	"l2p/envelope"
)

func testInfo(n byte) Info {
	return Info{Network: envelope.NetworkID{n}, Node: envelope.NodeID{n, 1}, BoxName: "a-tech", Port: 9011}
}

// answer returns what the responder of a node answers to query 7.
func answer(t testing.TB, i Info, change func(*dns.Msg)) []byte {
	t.Helper()
	zone, err := mdns.NewMDNSService(i.instance(), service, domain, i.instance()+"."+domain, int(i.Port), []net.IP{net.IPv4(192, 0, 2, 1)}, i.txt())
	if err != nil {
		t.Fatal(err)
	}
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Response: true, Authoritative: true}, Compress: true,
		Answer: zone.Records(dns.Question{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET})}
	change(m)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func txt(m *dns.Msg) *dns.TXT {
	for _, rr := range m.Answer {
		if t, ok := rr.(*dns.TXT); ok {
			return t
		}
	}
	panic("no TXT record")
}

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	i := testInfo(1)
	same := func(*dns.Msg) {}
	if got := parseAnswer(answer(t, i, same), 7); !slices.Equal(got, []Info{i}) {
		t.Fatalf("got %+v, want %+v", got, i)
	}
	later := answer(t, i, func(m *dns.Msg) { txt(m).Txt = append(txt(m).Txt, "colour=blue") })
	if got := parseAnswer(later, 7); !slices.Equal(got, []Info{i}) {
		t.Errorf("a string of a later version: got %+v", got)
	}
	set := func(n int, s string) func(*dns.Msg) { return func(m *dns.Msg) { txt(m).Txt[n] = s } }
	tests := []struct {
		name   string
		change func(*dns.Msg)
	}{
		{"a query", func(m *dns.Msg) { m.Response = false }},
		{"another query's", func(m *dns.Msg) { m.Id = 8 }},
		{"an error", func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }},
		{"another operation", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }},
		{"empty", func(m *dns.Msg) { m.Answer = nil }},
		{"port 0", func(m *dns.Msg) {
			for _, rr := range m.Answer {
				if s, ok := rr.(*dns.SRV); ok {
					s.Port = 0
				}
			}
		}},
		{"no port", func(m *dns.Msg) {
			m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSRV })
		}},
		{"another instance", func(m *dns.Msg) { txt(m).Hdr.Name = "l2p-x." + serviceName }},
		{"another service", func(m *dns.Msg) { txt(m).Hdr.Name = i.instance() + "._http._tcp.local." }},
		{"another node", set(2, "node="+envelope.NodeID{9}.String())},
		{"version 2", set(0, "l2p=2")},
		{"mistyped network", set(1, i.txt()[1]+"q")},
		{"no network", set(1, "x=y")},
		{"network twice", set(2, i.txt()[1])},
		{"control characters", set(3, `box=a\027[2Jtech`)},
		{"raw escape", set(3, "box=\x1b]0;owned\x07")},
		{"capitals", set(3, "box=A-Tech")},
		{"long box name", set(3, "box="+strings.Repeat("a", 200))},
		{"no box", set(3, "box")},
		{"no strings", func(m *dns.Msg) { txt(m).Txt = []string{""} }},
		{"behind too many records", func(m *dns.Msg) {
			ptr := m.Answer[0]
			m.Answer = append(slices.Repeat([]dns.RR{ptr}, maxRecords), m.Answer...)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := parseAnswer(answer(t, i, tt.change), 7); len(got) != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
	for n := range later {
		parseAnswer(later[:n], 7) // must not panic
	}
}

func TestTwoInOneAnswer(t *testing.T) {
	t.Parallel()
	one, two := testInfo(1), testInfo(2)
	packet := answer(t, one, func(m *dns.Msg) {
		var other dns.Msg
		if err := other.Unpack(answer(t, two, func(*dns.Msg) {})); err != nil {
			t.Fatal(err)
		}
		m.Extra = other.Answer
	})
	if got := parseAnswer(packet, 7); !slices.Equal(got, []Info{one, two}) {
		t.Errorf("got %+v", got)
	}
}

// The instance name and each string fit where DNS puts them, whatever the names.
func TestInfoFits(t *testing.T) {
	t.Parallel()
	i := testInfo(3)
	i.BoxName = strings.Repeat("a", 63)
	if len(i.instance()) > 63 {
		t.Errorf("instance name of %d characters", len(i.instance()))
	}
	for _, s := range i.txt() {
		if len(s) > 255 {
			t.Errorf("TXT string of %d characters", len(s))
		}
	}
	if back, ok := parseTXT(i.txt()); !ok || back.BoxName != i.BoxName || back.Network != i.Network || back.Node != i.Node {
		t.Errorf("came back as %+v, %v", back, ok)
	}
}

func TestBrowserKeepsBestAndFew(t *testing.T) {
	t.Parallel()
	b := browser{found: map[envelope.NodeID]sighting{}}
	i := testInfo(1)
	for _, addr := range []string{"[fe80::1%eth0]:9011", "[2001:db8::1]:9011", "192.0.2.1:9011", "[2001:db8::2]:9011", "192.0.2.2:9011"} {
		b.add(i, netip.MustParseAddrPort(addr))
	}
	if got := b.sorted(); len(got) != 1 || got[0].Addr != "192.0.2.1:9011" {
		t.Errorf("got %+v", got)
	}
	for n := range 2 * maxFound {
		other := i
		other.Node = envelope.NodeID{5, byte(n), byte(n >> 8)}
		b.add(other, netip.MustParseAddrPort("192.0.2.9:1"))
	}
	if n := len(b.sorted()); n != maxFound {
		t.Errorf("%d nodes kept, want %d", n, maxFound)
	}
}

func TestAnnounceRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Info){
		"network": func(i *Info) { i.Network = envelope.NetworkID{} },
		"node":    func(i *Info) { i.Node = envelope.NodeID{} },
		"port":    func(i *Info) { i.Port = 0 },
		"box":     func(i *Info) { i.BoxName = "A Tech" },
	} {
		i := testInfo(1)
		change(&i)
		// A context with a deadline: if it were accepted, Announce would return nil at its end.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := Announce(ctx, i, nil); envelope.KindOf(err) != envelope.Usage {
			t.Errorf("%s: got %v, want an error of kind Usage", name, err)
		}
		cancel()
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer(f, testInfo(1), func(*dns.Msg) {}))
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, i := range parseAnswer(packet, 7) {
			if back, ok := parseTXT(i.txt()); !ok || i.Port == 0 || envelope.CheckBoxName(back.BoxName) != nil {
				t.Fatalf("let %+v through", i)
			}
		}
	})
}
