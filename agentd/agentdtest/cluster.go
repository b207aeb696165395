package agentdtest

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"l2p/agentd"
	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A Cluster is boxes of one network, each with one real node, on a simulated
// network. Its methods end the test where something fails that shouldn't.
type Cluster struct {
	t       testing.TB
	network *Network
	boxes   []*box
	clients int // addresses given to clients so far
}

// A box is one company's node and where it keeps its state.
type box struct {
	name   string
	addr   netip.AddrPort
	state  string
	socket *Socket
	cancel context.CancelFunc
	done   chan error // nil while the node is down
}

// New returns a cluster of n boxes: the first founds a network, the others
// join it, each by a ticket. They end with the test.
func New(t testing.TB, n int) *Cluster {
	t.Helper()
	c := NewBoxes(t, n)
	c.Init(0)
	for i := 1; i < n; i++ {
		c.Join(i, 0)
	}
	c.Settle()
	return c
}

// NewBoxes returns n boxes that run and are in no network.
func NewBoxes(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, network: NewNetwork()}
	for i := range n {
		c.boxes = append(c.boxes, &box{
			name:  fmt.Sprintf("box-%d", i),
			addr:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i + 1)}), 9011),
			state: t.TempDir(),
		})
		c.Start(i)
	}
	t.Cleanup(func() {
		for i := range c.boxes {
			c.Stop(i)
		}
	})
	return c
}

// Name returns the name of box i.
func (c *Cluster) Name(i int) string { return c.boxes[i].name }

// Addr returns where node i listens.
func (c *Cluster) Addr(i int) string { return c.boxes[i].addr.String() }

// Start starts node i, on its state of before.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	b := c.boxes[i]
	b.socket = c.network.Listen(b.addr)
	cfg := agentd.Config{State: b.state, PacketConn: b.socket}
	if os.Getenv("L2P_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("box", b.name)
	}
	node, err := agentd.New(cfg)
	if err != nil {
		b.socket.Close()
		c.t.Fatalf("start of %s: %v", b.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func() { b.done <- node.Run(ctx) }()
	synctest.Wait()
}

// Stop stops node i in good order. It does nothing to a node that is down.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	b := c.boxes[i]
	if b.done == nil {
		return
	}
	b.cancel()
	if err := <-b.done; err != nil {
		c.t.Errorf("stop of %s: %v", b.name, err)
	}
	b.socket.Close()
	b.done = nil
}

// Crash ends node i as a power cut does: at one instant it is off the network,
// and its state is what was on disk then. What the process would have done
// afterwards happens to a copy that nobody looks at.
func (c *Cluster) Crash(i int) {
	c.t.Helper()
	b := c.boxes[i]
	b.socket.Unplug()
	after := c.snapshot(i)
	b.cancel()
	<-b.done
	b.socket.Close()
	b.done, b.state = nil, after
}

// snapshot copies the state of node i as it is on disk at this instant.
func (c *Cluster) snapshot(i int) string {
	c.t.Helper()
	synctest.Wait() // nobody writes now
	dir := c.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(c.boxes[i].state)); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// Restart starts a node that is down.
func (c *Cluster) Restart(i int) { c.t.Helper(); c.Start(i) }

// Partition cuts the network in parts: nodes of different parts don't hear of
// each other. Clients reach every node.
func (c *Cluster) Partition(parts ...[]int) {
	side := map[netip.Addr]int{}
	for p, part := range parts {
		for _, i := range part {
			side[c.boxes[i].addr.Addr()] = p
		}
	}
	c.network.partition(side)
}

// Heal ends a partition.
func (c *Cluster) Heal() { c.network.partition(nil) }

// Client connects to node i as its operator.
func (c *Cluster) Client(i int) *netq.Client {
	c.t.Helper()
	client, err := c.Dial(i)
	if err != nil {
		c.t.Fatalf("client of %s: %v", c.boxes[i].name, err)
	}
	return client
}

// Dial is Client, for those who expect it to fail. Whoever gets a client
// closes it before the test ends.
func (c *Cluster) Dial(i int) (*netq.Client, error) {
	return c.DialAs(i, readKey(c.t, c.boxes[i].state, "operator.key"), envelope.AgentID{})
}

// DialAs connects to node i with a key and as an agent, zero for the operator.
func (c *Cluster) DialAs(i int, key ed25519.PrivateKey, agent envelope.AgentID) (*netq.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.clients++
	ip := netip.AddrFrom4([4]byte{10, 1, byte(c.clients >> 8), byte(c.clients)})
	socket := c.network.Listen(netip.AddrPortFrom(ip, 40000))
	client, err := netq.DialClient(ctx, netq.ClientConfig{
		Addr: c.Addr(i), Key: key, Agent: agent, Node: c.Node(i), PacketConn: socket,
	})
	if err != nil {
		socket.Close()
	}
	return client, err
}

// Node returns the id of node i.
func (c *Cluster) Node(i int) envelope.NodeID {
	return envelope.NodeIDOf(readKey(c.t, c.boxes[i].state, "node.key").Public().(ed25519.PublicKey))
}

func readKey(t testing.TB, dir, name string) ed25519.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		t.Fatalf("%s holds no key", name)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// Do runs f with a client of node i and a deadline of one minute.
func (c *Cluster) Do(i int, f func(ctx context.Context, client *netq.Client) error) error {
	c.t.Helper()
	client, err := c.Dial(i)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return f(ctx, client)
}

// must is Do where nothing may fail.
func (c *Cluster) must(i int, what string, f func(ctx context.Context, client *netq.Client) error) {
	c.t.Helper()
	if err := c.Do(i, f); err != nil {
		c.t.Fatalf("%s at %s: %v", what, c.boxes[i].name, err)
	}
}

// Init makes box i the founder of a network.
func (c *Cluster) Init(i int) {
	c.t.Helper()
	c.must(i, "init", func(ctx context.Context, client *netq.Client) error { return client.Init(ctx, c.boxes[i].name) })
}

// Ticket returns a ticket of founder for box i.
func (c *Cluster) Ticket(i, founder int) string {
	c.t.Helper()
	var ticket string
	c.must(founder, "invite", func(ctx context.Context, client *netq.Client) error {
		r, err := client.Invite(ctx, wire.Invite{BoxName: c.boxes[i].name, TTL: 3600})
		ticket = r.Ticket
		return err
	})
	return ticket
}

// Join takes box i into the network of founder, by a ticket.
func (c *Cluster) Join(i, founder int) {
	c.t.Helper()
	ticket := c.Ticket(i, founder)
	c.must(i, "join", func(ctx context.Context, client *netq.Client) error {
		_, err := client.Join(ctx, wire.Join{Ticket: ticket})
		return err
	})
}

// Status returns what node i says of itself and the others.
func (c *Cluster) Status(i int) *wire.StatusReply {
	c.t.Helper()
	var s *wire.StatusReply
	c.must(i, "status", func(ctx context.Context, client *netq.Client) (err error) {
		s, err = client.Status(ctx)
		return err
	})
	return s
}

// settleTimeout is the longest that a cluster takes until all see all.
const settleTimeout = 3 * time.Minute

// Settle waits until each of the given boxes (none: of those that are up) sees
// every other, and nobody else alive.
func (c *Cluster) Settle(boxes ...int) {
	c.t.Helper()
	if len(boxes) == 0 {
		for i, b := range c.boxes {
			if b.done != nil {
				boxes = append(boxes, i)
			}
		}
	}
	for deadline := time.Now().Add(settleTimeout); ; time.Sleep(time.Second) {
		open := c.unsettled(boxes)
		if open == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the cluster hasn't settled after %v: %s", settleTimeout, open)
		}
	}
}

func (c *Cluster) unsettled(boxes []int) string {
	for _, i := range boxes {
		alive := 0
		for _, n := range c.Status(i).Nodes {
			if n.Alive {
				alive++
			}
		}
		if alive != len(boxes) {
			return fmt.Sprintf("%s sees %d nodes alive of %d", c.boxes[i].name, alive, len(boxes))
		}
	}
	return ""
}
