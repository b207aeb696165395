package netq

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/semaphore"

	"l2p/envelope"
	"l2p/netq/wire"
)

func rawPreamble(typ, reserved uint16, body, data uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = binary.BigEndian.AppendUint16(b, reserved)
	b = binary.BigEndian.AppendUint32(b, body)
	return binary.BigEndian.AppendUint32(b, data)
}

// rawStream opens a stream and writes to it.
func rawStream(t *testing.T, c *Conn, b []byte) *quic.Stream {
	t.Helper()
	s, err := c.q.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	return s
}

// answer reads the Error that a stream ends with.
func answer(s io.Reader) error {
	m, err := receive(s)
	if err != nil {
		return err
	}
	var e wire.Error
	if err := m.Decode(&e); err != nil {
		return err
	}
	return e.Err()
}

// What breaks the format gets an error and never reaches the handler.
func TestBadRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		var served atomic.Int64
		start(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			served.Add(1)
			return echo(ctx, r)
		})})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		ping, put, get := uint16(wire.TypePing), uint16(wire.TypePutRecord), uint16(wire.TypeGetRecord)
		tests := []struct {
			name string
			in   []byte
			kind envelope.ErrorKind
		}{
			{"reserved", append(rawPreamble(ping, 7, 1, 0), 0xa0), envelope.Corrupt},
			{"unknown type", append(rawPreamble(999, 0, 1, 0), 0xa0), envelope.Usage},
			{"a reply", append(rawPreamble(uint16(wire.TypeOK), 0, 1, 0), 0xa0), envelope.Denied},
			{"body over the limit", rawPreamble(get, 0, wire.MaxBody+1, 0), envelope.Full},
			{"data over the limit", rawPreamble(put, 0, 1, wire.MaxRecordData+1), envelope.Full},
			{"cut in the preamble", rawPreamble(ping, 0, 1, 0)[:5], envelope.Corrupt},
			{"cut in the body", append(rawPreamble(ping, 0, 2, 0), 0xa0), envelope.Corrupt},
			{"cut in the data", append(rawPreamble(put, 0, 1, 2), 0xa0, 1), envelope.Corrupt},
			{"bytes behind the end", append(rawPreamble(ping, 0, 1, 0), 0xa0, 0), envelope.Corrupt},
		}
		for _, test := range tests {
			s := rawStream(t, c, test.in)
			s.Close()
			if err := answer(s); err == nil || envelope.KindOf(err) != test.kind {
				t.Errorf("%s: kind %d, want %d: %v", test.name, envelope.KindOf(err), test.kind, err)
			}
		}
		if served.Load() != 0 {
			t.Error("a malformed request reached the handler")
		}
		if _, err := c.Call(t.Context(), wire.TypePing, nil, nil, nil); err != nil {
			t.Errorf("after malformed requests: %v", err)
		}
	})
}

// Who sends too slowly is cut off, and what was set aside for it comes back.
func TestSlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 3)
		server := start(t, 1, Config{PacketConn: conns[0]})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		began := time.Now()
		s := rawStream(t, c, rawPreamble(uint16(wire.TypePing), 0, 1, 0)[:6])
		wantKind(t, answer(s), envelope.Unavailable)
		if took := time.Since(began); took > requestTimeout+time.Second {
			t.Errorf("cut off after %v", took)
		}

		// Two who announce 25 MiB each want more than there is. While they
		// dawdle, a third waits, and gets its turn.
		announce := append(rawPreamble(uint16(wire.TypePutRecord), 0, 1, wire.MaxRecordData), 0xa0)
		rawStream(t, c, announce)
		rawStream(t, dial(t, e, 1, ProtoNode), announce)
		sleep(t.Context(), time.Second)
		other := start(t, 3, Config{PacketConn: conns[2]})
		if err := ping(dial(t, other, 1, ProtoNode)); err != nil {
			t.Errorf("a small request beside: %v", err)
		}
		sleep(t.Context(), time.Until(within(requestTimeout, 2*wire.MaxRecordData)))
		if !server.budgets.node.TryAcquire(nodeBudget) {
			t.Error("memory has not been given back")
		}
	})
}

// A client that opens and cancels requests at speed has no more handlers at
// work than it may have requests.
func TestStreamFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		var now, most atomic.Int64
		release := make(chan struct{})
		start(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			if r.Type == wire.TypeStatus {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				<-release // deaf to ctx
				now.Add(-1)
			}
			return echo(ctx, r)
		})})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoClient)
		hello(t, c)
		var calls sync.WaitGroup
		for range 500 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				c.Call(ctx, wire.TypeStatus, nil, nil, nil)
			})
		}
		calls.Wait()
		if n := most.Load(); n == 0 || n > maxStreamsOfStrangers {
			t.Errorf("%d handlers at work, at most %d allowed", n, maxStreamsOfStrangers)
		}
		close(release)
		sleep(t.Context(), time.Second)
		if _, err := c.Call(t.Context(), wire.TypePutSegment, wire.PutSegment{}, nil, nil); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

// A deaf socket sends and hears nothing.
type deaf struct{ net.PacketConn }

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

// Two hundred who start handshakes and never end them keep nobody out.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attackers = 200
		_, conns := simulate(t, attackers+2)
		server := start(t, 1, Config{PacketConn: conns[0]})
		for _, pc := range conns[2:] {
			a, err := Listen(Config{PacketConn: deaf{pc}, Identity: func() Identity { return Identity{Key: testKey(9)} }, Authorize: anyone})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Close() })
			go a.Dial(t.Context(), simAddr(1).String(), ProtoNode, envelope.NodeID{})
		}
		sleep(t.Context(), 100*time.Millisecond)
		server.gate.mu.Lock()
		open := server.gate.handshakes
		server.gate.mu.Unlock()
		if open == 0 || open > retryHandshakes {
			t.Errorf("%d half-open handshakes", open)
		}
		e := start(t, 2, Config{PacketConn: conns[1]})
		if err := ping(dial(t, e, 1, ProtoNode)); err != nil {
			t.Error(err)
		}
		sleep(t.Context(), 10*time.Second)
		server.gate.mu.Lock()
		defer server.gate.mu.Unlock()
		if g := server.gate; g.handshakes != 0 || len(g.shakingAt) != 0 || g.conns != 1 {
			t.Errorf("%d handshakes and %d connections are left", g.handshakes, g.conns)
		}
	})
}

// One key gets so many connections and no more; they come back when closed.
func TestConnectionsOfOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		start(t, 1, Config{PacketConn: conns[0]})
		e := start(t, 2, Config{PacketConn: conns[1]})
		var open []*Conn
		for range maxConnsPerNode {
			c := dial(t, e, 1, ProtoNode)
			if err := ping(c); err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		wantKind(t, ping(dial(t, e, 1, ProtoNode)), envelope.Unavailable)
		open[0].Close()
		sleep(t.Context(), time.Second)
		if err := ping(dial(t, e, 1, ProtoNode)); err != nil {
			t.Error(err)
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	g := newGate()
	enter := func(host int) *slot {
		s, err := g.enter(simAddr(host))
		if err != nil {
			return nil
		}
		return s
	}
	empty := func() {
		t.Helper()
		if g.conns != 0 || g.handshakes != 0 || g.strangers != 0 || len(g.shakingAt)+len(g.strangeAt)+len(g.byKey) != 0 {
			t.Errorf("not empty: %+v", g)
		}
	}
	fill := func(n int, proto string, host func(i int) int) (in []*slot) {
		for i := range n {
			s := enter(host(i))
			if s == nil {
				return in
			}
			if s.proto, s.peer = proto, (Peer{Node: envelope.NodeID{byte(i), byte(i >> 8)}}); proto != "" && s.established() != nil {
				s.leave()
				return in
			}
			in = append(in, s)
		}
		return in
	}
	same := func(int) int { return 1 }
	spread := func(i int) int { return i }
	for _, test := range []struct {
		name  string
		proto string // none: handshakes
		host  func(int) int
		want  int
	}{
		{"handshakes", "", spread, maxHandshakes},
		{"handshakes of an address", "", same, maxHandshakesPerAddr},
		{"strangers", ProtoJoin, spread, maxStrangers},
		{"strangers of an address", ProtoClient, same, maxStrangersPerAddr},
		{"nodes", ProtoNode, spread, maxConns},
	} {
		in := fill(2*maxConns, test.proto, test.host)
		if len(in) != test.want {
			t.Errorf("%s: %d got in, want %d", test.name, len(in), test.want)
		}
		for _, s := range in {
			s.leave()
			s.leave()
			if s.established() == nil {
				t.Error("who has left is established")
			}
		}
		empty()
	}
	// A client that is known makes room for the next stranger.
	in := fill(maxStrangersPerAddr, ProtoClient, same)
	if fill(1, ProtoJoin, same) != nil {
		t.Error("a stranger too many")
	}
	in[0].trust()
	in[0].trust()
	in = append(in, fill(1, ProtoJoin, same)...)
	if len(in) != maxStrangersPerAddr+1 {
		t.Error("no room for a stranger though a client is known")
	}
	for _, s := range in {
		s.leave()
	}
	empty()

	if a, b := ipOf(&net.UDPAddr{IP: net.ParseIP("2001:db8::1")}), ipOf(&net.UDPAddr{IP: net.ParseIP("2001:db8::2:3"), Zone: "x"}); a != b {
		t.Errorf("%s and %s count apart", a, b)
	}
	if a, b := ipOf(&net.UDPAddr{IP: net.ParseIP("::ffff:10.0.0.1")}), ipOf(simAddr(1)); a != b {
		t.Errorf("%s and %s count apart", a, b)
	}
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := semaphore.NewWeighted(100)
		one := func() share {
			return share{conn: semaphore.NewWeighted(80), total: total, limit: 60}
		}
		a, b := one(), one()
		if a.take(t.Context(), 1000) != nil || a.n != 60 {
			t.Fatalf("holds %d of the 60 that one may", a.n)
		}
		if a.take(t.Context(), 10) != nil || a.n != 60 {
			t.Errorf("less is wanted: holds %d", a.n)
		}
		if b.take(t.Context(), 30) != nil {
			t.Fatal("no room for 30")
		}
		wantKind(t, b.take(t.Context(), 50), envelope.Unavailable)
		if b.n != 0 {
			t.Errorf("holds %d after it failed", b.n)
		}
		a.release()
		a.release()
		b.release()
		if !total.TryAcquire(100) || !a.conn.TryAcquire(80) || !b.conn.TryAcquire(80) {
			t.Error("not everything came back")
		}
		new(share).release()
	})
}

func TestAllowWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		proto   string
		trusted bool
		want    int64
	}{
		{ProtoJoin, false, startWindow},
		{ProtoClient, false, startWindow},
		{ProtoClient, true, clientConnWindow},
		{ProtoNode, true, nodeConnWindow},
	} {
		c := &Conn{proto: test.proto}
		c.window.Store(startWindow)
		c.trusted.Store(test.trusted)
		window := int64(startWindow)
		for c.allowWindow(window) {
			window *= 2
		}
		if window != test.want || c.window.Load() != test.want {
			t.Errorf("%s, trusted %v: window grows to %d, want %d", test.proto, test.trusted, window, test.want)
		}
	}
}

// FuzzRequest lets a peer send anything at all on a stream.
func FuzzRequest(f *testing.F) {
	for _, typ := range []wire.Type{wire.TypePing, wire.TypePutRecord, wire.TypeGossip, wire.TypeRoster} {
		var b bytes.Buffer
		if err := wire.WriteMessage(&b, typ, nil, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) {
			_, conns := simulate(t, 2)
			start(t, 1, Config{PacketConn: conns[0], Handler: streamEcho{handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
				if len(r.Body) > r.Type.Limits().Body || len(r.Data) > r.Type.Limits().Data || r.Type.From()&wire.FromNode == 0 {
					t.Errorf("a %s request with %d and %d bytes reached the handler", r.Type, len(r.Body), len(r.Data))
				}
				return echo(ctx, r)
			})}})
			e := start(t, 2, Config{PacketConn: conns[1]})
			c := dial(t, e, 1, ProtoNode)
			s, err := c.q.OpenStreamSync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Write(in)
			s.Close()
			io.Copy(io.Discard, s)
			if err := ping(c); err != nil {
				t.Fatal(err)
			}
		})
	})
}
