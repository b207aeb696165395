package netq

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A simulation is a network in a synctest bubble.
type simulation struct {
	t   *testing.T
	net *simnet.Simnet
}

// simulate returns a network of sockets at the addresses 10.0.0.1 and so on,
// with 5 ms of delay one way.
func simulate(t *testing.T, sockets int) (*simulation, []net.PacketConn) {
	s := &simulation{t: t, net: &simnet.Simnet{Router: &simnet.PerfectRouter{}}}
	conns := make([]net.PacketConn, sockets)
	for i := range conns {
		conns[i] = s.net.NewEndpoint(simAddr(i+1), simnet.NodeBiDiLinkSettings{Latency: 5 * time.Millisecond})
	}
	s.net.Start()
	t.Cleanup(func() {
		for _, c := range conns { // a socket that nobody reads blocks its link
			c.Close()
		}
		s.net.Close()
	})
	return s, conns
}

// simAddr returns the nth address. The simulated network tells the 4-byte and
// the 16-byte form of an address apart; everything here uses the shorter one.
func simAddr(n int) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(10, 0, byte(n>>8), byte(n)).To4(), Port: 7000}
}

func testKey(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 30), byte(n>>8), byte(n)))
}

func nodeID(n int) envelope.NodeID {
	return envelope.NodeIDOf(testKey(n).Public().(ed25519.PublicKey))
}

func anyone(string, Peer) error { return nil }

// handlerFunc is a Handler.
type handlerFunc func(ctx context.Context, r *Request) (wire.Type, any, []byte, error)

func (f handlerFunc) Serve(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
	return f(ctx, r)
}

// echo answers Hello, and each other request with its own data.
var echo = handlerFunc(func(_ context.Context, r *Request) (wire.Type, any, []byte, error) {
	switch r.Type {
	case wire.TypeHello:
		return 0, wire.Welcome{Node: nodeID(1), Software: "test"}, nil, nil
	case wire.TypePutRecord, wire.TypePutSegment:
		return 0, wire.PutReply{Copies: uint(len(r.Data)), Want: 3}, nil, nil
	case wire.TypeGetSegment:
		return 0, wire.Empty{}, make([]byte, wire.MaxSegmentData), nil
	}
	return 0, wire.Empty{}, nil, nil
})

// start serves an endpoint until the test ends. Zero fields of conf are filled
// in: node n's key, everybody allowed, the echo handler.
func start(t testing.TB, n int, conf Config) *Endpoint {
	t.Helper()
	e, _ := startStop(t, n, conf)
	return e
}

// startStop is start, for an endpoint that ends before the test does.
func startStop(t testing.TB, n int, conf Config) (*Endpoint, func()) {
	t.Helper()
	if conf.Identity == nil {
		conf.Identity = func() Identity { return Identity{Key: testKey(n)} }
	}
	if conf.Authorize == nil {
		conf.Authorize = anyone
	}
	if conf.Handler == nil {
		conf.Handler = echo
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	e, err := Listen(conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := e.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		serving.Wait()
		e.Close()
	})
	t.Cleanup(stop)
	return e, stop
}

func wantKind(t *testing.T, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of kind %d", kind)
	}
	if got := envelope.KindOf(err); got != kind {
		t.Fatalf("error of kind %d, want %d: %v", got, kind, err)
	}
}

// dial connects endpoint e to the simulated address n.
func dial(t *testing.T, e *Endpoint, n int, proto string) *Conn {
	t.Helper()
	c, err := e.Dial(t.Context(), simAddr(n).String(), proto, envelope.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hello makes a client known.
func hello(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.Call(t.Context(), wire.TypeHello, wire.Hello{}, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func ping(c *Conn) error {
	_, err := c.Call(context.Background(), wire.TypePing, nil, nil, nil)
	return err
}
