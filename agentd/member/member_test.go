package member

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/quic-go/quic-go/testutils/simnet"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

func testKey(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(n)))
}

func testID(n int) envelope.NodeID {
	return envelope.NodeIDOf(testKey(n).Public().(ed25519.PublicKey))
}

func testAddr(n int) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(n)).To4(), Port: 7000}
}

func testPeer(n int) wire.Peer { return wire.Peer{Node: testID(n), Addr: testAddr(n).String()} }

// A router loses packets between hosts that are cut from each other.
type router struct {
	simnet.PerfectRouter
	cut atomic.Pointer[func(from, to byte) bool]
}

func (r *router) SendPacket(p simnet.Packet) error {
	from, to := p.From.(*net.UDPAddr).IP.To4()[3], p.To.(*net.UDPAddr).IP.To4()[3]
	if cut := r.cut.Load(); cut != nil && (*cut)(from, to) {
		return nil
	}
	return r.PerfectRouter.SendPacket(p)
}

func (r *router) cutWhere(cut func(from, to byte) bool) { r.cut.Store(&cut) }

// A cluster is nodes 1 to n that gossip in a synctest bubble.
type cluster struct {
	t       *testing.T
	net     simnet.Simnet
	router  *router
	mu      sync.Mutex
	allowed map[envelope.NodeID]bool
	nodes   map[int]*testNode
}

type testNode struct {
	*Members
	endpoint *netq.Endpoint
	digest   atomic.Pointer[envelope.Hash]
	changes  atomic.Int64
	differ   sync.Map // NodeID -> bool
}

// Serve answers nothing but gossip.
func (n *testNode) Serve(context.Context, *netq.Request) (wire.Type, any, []byte, error) {
	return 0, wire.Empty{}, nil, nil
}

func (n *testNode) ServeStream(ctx context.Context, _ *netq.Request, conn net.Conn) {
	n.Members.ServeStream(ctx, conn)
}

func newCluster(t *testing.T, hosts int) *cluster {
	c := &cluster{t: t, router: &router{}, allowed: map[envelope.NodeID]bool{}, nodes: map[int]*testNode{}}
	c.net.Router = c.router
	t.Cleanup(func() { c.net.Close() })
	for n := 1; n <= hosts; n++ {
		c.allowed[testID(n)] = true
		conn := c.net.NewEndpoint(testAddr(n), simnet.NodeBiDiLinkSettings{Latency: 2 * time.Millisecond})
		node := &testNode{}
		node.digest.Store(&envelope.Hash{})
		e, err := netq.Listen(netq.Config{
			PacketConn: conn,
			Identity:   func() netq.Identity { return netq.Identity{Key: testKey(n)} },
			Authorize:  func(string, netq.Peer) error { return nil },
			Handler:    node,
			Log:        slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		node.endpoint = e
		c.nodes[n] = node
	}
	c.net.Start()
	return c
}

func (c *cluster) allow(id envelope.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allowed[id]
}

// start starts node n and lets it join the given ones.
func (c *cluster) start(n int, peers ...int) {
	c.t.Helper()
	node := c.nodes[n]
	m, err := New(Config{
		Endpoint:        node.endpoint,
		Key:             testKey(n),
		GossipKey:       [32]byte{1},
		Advertise:       testAddr(n).String(),
		Allowed:         c.allow,
		Digest:          func() envelope.Hash { return *node.digest.Load() },
		OnChange:        func() { node.changes.Add(1) },
		OnRosterDiffers: func(id envelope.NodeID) { node.differ.Store(id, true) },
		Log:             slog.New(slog.DiscardHandler),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	node.Members = m
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- node.endpoint.Serve(ctx) }()
	c.t.Cleanup(func() {
		m.Shutdown()
		cancel()
		<-served
	})
	var list []wire.Peer
	for _, p := range peers {
		list = append(list, testPeer(p))
	}
	if _, err := m.Join(context.Background(), list); err != nil {
		c.t.Errorf("node %d joins: %v", n, err)
	}
}

func (c *cluster) startAll() {
	c.start(1)
	for n := 2; n <= len(c.nodes); n++ {
		c.start(n, 1)
	}
}

// unseen returns which of watchers doesn't see which of watched as alive, or not.
func (c *cluster) unseen(watchers, watched []int, alive bool) (pairs []string) {
	for _, w := range watchers {
		for _, x := range watched {
			if w != x && c.nodes[w].Alive(testID(x)) != alive {
				pairs = append(pairs, fmt.Sprintf("%d of %d", w, x))
			}
		}
	}
	return pairs
}

// wait waits, in simulated time, until the watchers see the watched so.
func (c *cluster) wait(what string, limit time.Duration, watchers, watched []int, alive bool) {
	c.t.Helper()
	start := time.Now()
	for {
		pairs := c.unseen(watchers, watched, alive)
		if len(pairs) == 0 {
			break
		}
		if time.Since(start) > limit {
			c.t.Fatalf("%s: not within %v: alive should be %v, says %s", what, limit, alive, strings.Join(pairs, ", "))
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Logf("%s: after %v", what, time.Since(start))
}

// meetTime is how long nodes may take to know of each other: what gossip, which
// asks nobody for receipts, leaves out, push/pull brings.
const meetTime = 2 * pushPullInterval

func TestKilledNodeIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		c.startAll()
		all, rest := []int{1, 2, 3, 4, 5}, []int{1, 2, 4, 5}
		c.wait("all meet", meetTime, all, all, true)
		if got := c.nodes[2].Addr(testID(3)); got != testAddr(3).String() {
			t.Errorf("node 3 is said to be at %q", got)
		}
		if got := c.nodes[1].Peers(); len(got) != 4 {
			t.Errorf("node 1 remembers %v", got)
		}
		before := c.nodes[1].changes.Load()
		c.router.cutWhere(func(from, to byte) bool { return from == 3 || to == 3 })
		c.wait("noticed", 3*time.Second, rest, []int{3}, false)
		if c.nodes[1].changes.Load() == before {
			t.Error("OnChange wasn't called")
		}
		if c.nodes[1].Addr(testID(3)) == "" {
			t.Error("the address of a dead node was forgotten")
		}
		time.Sleep(2 * time.Minute)
		if len(c.unseen(rest, rest, true)) > 0 {
			t.Error("the others suspect each other")
		}
		c.router.cutWhere(func(from, to byte) bool { return false })
		c.wait("back", 15*time.Second, all, all, true)
	})
}

func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		c.startAll()
		all, few, many := []int{1, 2, 3, 4, 5}, []int{1, 2}, []int{3, 4, 5}
		c.wait("all meet", meetTime, all, all, true)
		c.router.cutWhere(func(from, to byte) bool { return (from <= 2) != (to <= 2) })
		c.wait("parted", 5*time.Second, few, many, false)
		c.wait("parted", 5*time.Second, many, few, false)
		time.Sleep(10 * time.Minute)
		c.router.cutWhere(func(from, to byte) bool { return false })
		c.wait("healed", 20*time.Second, all, all, true)
	})
}

// deadMessage is memberlist's, by which one member declares another dead.
type deadMessage struct {
	Incarnation uint32
	Node        string
	From        string
}

func forgedDead(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte(msgDead)
	if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(deadMessage{math.MaxUint32, name, "x"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A member that declares another dead, as firmly as can be, evicts it for
// moments only, however often.
func TestForgedDeath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		c.startAll()
		all := []int{1, 2, 3, 4}
		c.wait("all meet", meetTime, all, all, true)
		for round := range 3 {
			victim, attacker := c.nodes[2], c.nodes[4]
			name := victim.generation().name
			for _, n := range []int{1, 2, 3} {
				attacker.send(forgedDead(t, name), testAddr(n).String())
			}
			c.wait("the forgery works", time.Second, []int{1, 3}, []int{2}, false)
			c.wait("the victim is back", 15*time.Second, all, all, true)
			if victim.generation().name == name {
				t.Errorf("round %d: back under the name that was declared dead", round)
			}
		}
		time.Sleep(time.Minute)
		if len(c.unseen(all, all, true)) > 0 {
			t.Error("not all alive a minute later")
		}
	})
}

// aliveMessage is memberlist's.
type aliveMessage struct {
	Incarnation uint32
	Node        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Vsn         []uint8
}

// A member can neither bring in a node that isn't in the roster nor invent
// names and addresses for one that is.
func TestForgedLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		c.start(1)
		c.start(2, 1)
		c.wait("meet", 5*time.Second, []int{1, 2}, []int{1, 2}, true)
		c.mu.Lock()
		c.allowed[testID(9)] = false
		c.mu.Unlock()
		ip, vsn := testAddr(4).IP, []uint8{1, 5, 2, 0, 0, 0}
		name := func(n int) string { return idText(testID(n)) + ".AAAAAAAAAAA" }
		good := aliveMessage{7, name(4), ip, 7000, signMeta(testKey(4), envelope.Hash{}, name(4), ip, 7000), vsn}
		tests := []struct {
			name   string
			change func(*aliveMessage)
			node   int
		}{
			{"not in the roster", func(a *aliveMessage) {
				a.Node, a.Meta = name(9), signMeta(testKey(9), envelope.Hash{}, name(9), ip, 7000)
			}, 9},
			{"another's name", func(a *aliveMessage) { a.Meta = signMeta(testKey(2), envelope.Hash{}, name(4), ip, 7000) }, 4},
			{"another address", func(a *aliveMessage) { a.Addr = testAddr(2).IP }, 4},
			{"another port", func(a *aliveMessage) { a.Port = 7001 }, 4},
			{"another start", func(a *aliveMessage) { a.Node = idText(testID(4)) + ".BBBBBBBBBBA" }, 4},
			{"no meta", func(a *aliveMessage) { a.Meta = nil }, 4},
			{"changed digest", func(a *aliveMessage) { a.Meta[3] ^= 1 }, 4},
			{"unknown protocol", func(a *aliveMessage) { a.Vsn = []uint8{5, 5, 5, 0, 0, 0} }, 4},
			{"no protocol", func(a *aliveMessage) { a.Vsn = nil }, 4},
			{"no address", func(a *aliveMessage) { a.Addr = nil }, 4},
		}
		send := func(a aliveMessage) {
			var b bytes.Buffer
			b.WriteByte(msgAlive)
			if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(a); err != nil {
				t.Fatal(err)
			}
			c.nodes[2].send(b.Bytes(), testAddr(1).String())
			time.Sleep(100 * time.Millisecond)
		}
		for _, tt := range tests {
			a := good
			a.Meta = bytes.Clone(good.Meta)
			tt.change(&a)
			send(a)
			if c.nodes[1].Alive(testID(tt.node)) || c.nodes[1].Addr(testID(tt.node)) != "" {
				t.Errorf("%s: believed", tt.name)
			}
		}
		send(good)
		if !c.nodes[1].Alive(testID(4)) {
			t.Error("what the node signed itself was not believed: the cases above show nothing")
		}
	})
}

func TestRosterDiffers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.startAll()
		c.wait("all meet", meetTime, []int{1, 2, 3}, []int{1, 2, 3}, true)
		time.Sleep(time.Minute)
		if _, told := c.nodes[1].differ.Load(testID(3)); told {
			t.Fatal("told of a difference where there is none")
		}
		c.nodes[3].digest.Store(&envelope.Hash{9})
		c.nodes[3].RosterChanged()
		time.Sleep(3 * time.Second)
		for _, n := range []int{1, 2} {
			if _, told := c.nodes[n].differ.Load(testID(3)); !told {
				t.Errorf("node %d wasn't told that node 3 has another roster", n)
			}
			if _, told := c.nodes[n].differ.Load(testID(3 - n)); told {
				t.Errorf("node %d was told that node %d has another roster", n, 3-n)
			}
		}
	})
}

// A node that is taken out of the roster doesn't seem alive any more, at once;
// one that comes into it is seen soon.
func TestRosterDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.allowed[testID(3)] = false
		c.start(1)
		c.start(2, 1)
		c.wait("meet", 5*time.Second, []int{1, 2}, []int{1, 2}, true)
		c.start(3, 1)
		time.Sleep(30 * time.Second)
		if c.nodes[1].Alive(testID(3)) || c.nodes[2].Alive(testID(3)) {
			t.Fatal("a node that isn't in the roster is said to be alive")
		}
		set := func(in bool) {
			c.mu.Lock()
			c.allowed[testID(3)] = in
			c.mu.Unlock()
			for _, n := range c.nodes {
				n.RosterChanged()
			}
		}
		set(true)
		c.wait("admitted", 20*time.Second, []int{1, 2, 3}, []int{1, 2, 3}, true)
		set(false)
		if c.nodes[1].Alive(testID(3)) {
			t.Error("alive after it was expelled")
		}
	})
}

func TestLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.startAll()
		all := []int{1, 2, 3}
		c.wait("all meet", meetTime, all, all, true)
		c.nodes[3].Leave()
		c.wait("gone", 2*time.Second, []int{1, 2}, []int{3}, false)
		time.Sleep(10 * time.Second)
		if c.nodes[1].Alive(testID(3)) {
			t.Error("it came back though it leaves")
		}
	})
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"", "10.0.0.1", "0.0.0.0:7000", "[::]:7000", "host:7000", "10.0.0.1:0", "[fe80::1%eth0]:7000"} {
		if _, err := New(Config{Advertise: addr, Key: testKey(1)}); envelope.KindOf(err) != envelope.Usage {
			t.Errorf("%q: got %v, want an error of kind Usage", addr, err)
		}
	}
}
