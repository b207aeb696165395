package netq

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		start(t, 1, Config{PacketConn: conns[0]})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
		if err != nil {
			t.Fatal(err)
		}
		var put wire.PutReply
		if _, err := c.Call(t.Context(), wire.TypePutSegment, wire.PutSegment{}, make([]byte, wire.MaxSegmentData), &put); err != nil {
			t.Fatal(err)
		}
		if put.Copies != uint(wire.MaxSegmentData) {
			t.Errorf("the node got %d bytes", put.Copies)
		}
		data, err := c.Call(t.Context(), wire.TypeGetSegment, wire.GetSegment{}, nil, nil)
		if err != nil || len(data) != wire.MaxSegmentData {
			t.Errorf("got %d bytes, %v", len(data), err)
		}
		if _, err := c.Call(t.Context(), wire.TypePutRecord, wire.PutRecord{}, make([]byte, wire.MaxRecordData), &put); err != nil {
			t.Error(err)
		}
		_, err = c.Call(t.Context(), wire.TypePutRecord, wire.PutRecord{}, make([]byte, wire.MaxRecordData+1), &put)
		wantKind(t, err, envelope.Full)
	})
}

// What each side presents is what the other side is asked about.
func TestIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		identity := func(n int) func() Identity {
			creds, err := envelope.Encode(wire.Credentials{RootKey: make([]byte, 32), Box: []byte{byte(n)}, Node: []byte("cert")})
			if err != nil {
				t.Fatal(err)
			}
			return func() Identity { return Identity{Key: testKey(n), Credentials: creds} }
		}
		expect := func(n int) func(string, Peer) error {
			return func(proto string, p Peer) error {
				if proto != ProtoNode || p.Node != nodeID(n) || p.Credentials == nil || !bytes.Equal(p.Credentials.Box, []byte{byte(n)}) || p.Addr.String() != simAddr(n).String() {
					t.Errorf("asked about %s %+v", proto, p)
				}
				return nil
			}
		}
		start(t, 1, Config{PacketConn: conns[0], Identity: identity(1), Authorize: expect(2)})
		e := start(t, 2, Config{PacketConn: conns[1], Identity: identity(2), Authorize: expect(1)})
		c := dial(t, e, 1, ProtoNode)
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		if c.Peer().Node != nodeID(1) || c.Proto() != ProtoNode {
			t.Errorf("connected with %+v", c.Peer())
		}
	})
}

func TestRefused(t *testing.T) {
	denied := envelope.Errorf(envelope.WrongNetwork, "another network")
	counting := func(n *atomic.Int64) Handler {
		return handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			n.Add(1)
			return echo(ctx, r)
		})
	}
	t.Run("by the node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, conns := simulate(t, 2)
			var served atomic.Int64
			start(t, 1, Config{PacketConn: conns[0], Handler: counting(&served), Authorize: func(string, Peer) error { return denied }})
			e := start(t, 2, Config{PacketConn: conns[1]})
			for _, proto := range []string{ProtoNode, ProtoClient, ProtoJoin} {
				c, err := e.Dial(t.Context(), simAddr(1).String(), proto, nodeID(1))
				if err == nil {
					_, err = c.Call(t.Context(), wire.TypeHello, wire.Hello{}, nil, nil)
				}
				wantKind(t, err, envelope.Denied)
			}
			if served.Load() != 0 {
				t.Error("a refused peer reached the handler")
			}
		})
	})
	t.Run("by the one who dials", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, conns := simulate(t, 2)
			start(t, 1, Config{PacketConn: conns[0]})
			e := start(t, 2, Config{PacketConn: conns[1], Authorize: func(string, Peer) error { return denied }})
			_, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
			wantKind(t, err, envelope.WrongNetwork)
		})
	})
	t.Run("another node than wanted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, conns := simulate(t, 2)
			start(t, 1, Config{PacketConn: conns[0]})
			e := start(t, 2, Config{PacketConn: conns[1]})
			_, err := e.Node(t.Context(), nodeID(3), simAddr(1).String())
			wantKind(t, err, envelope.Denied)
		})
	})
	t.Run("a protocol that nobody speaks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, conns := simulate(t, 2)
			start(t, 1, Config{PacketConn: conns[0]})
			e := start(t, 2, Config{PacketConn: conns[1]})
			if _, err := e.Dial(t.Context(), simAddr(1).String(), "l2p-node/2", envelope.NodeID{}); err == nil {
				t.Error("connected")
			}
		})
	})
}

// Requests come only on the protocols that they belong to, and a client says
// Hello first.
func TestRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		var served atomic.Int64
		start(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			if r.Type == wire.TypeHello {
				var h wire.Hello
				if err := r.Decode(&h); err != nil || !h.Agent.IsZero() {
					return 0, nil, nil, envelope.Errorf(envelope.Denied, "who are you?")
				}
				r.Conn.SetSession("operator")
			} else {
				served.Add(1)
			}
			if r.Proto == ProtoClient && r.Conn.Session() != "operator" {
				t.Errorf("%s in session %v", r.Type, r.Conn.Session())
			}
			return echo(ctx, r)
		})})
		e := start(t, 2, Config{PacketConn: conns[1]})
		refused := func(c *Conn, types ...wire.Type) {
			t.Helper()
			for _, typ := range types {
				_, err := c.Call(t.Context(), typ, nil, nil, nil)
				if envelope.KindOf(err) != envelope.Denied {
					t.Errorf("%s on %s: %v", typ, c.Proto(), err)
				}
			}
		}
		client := dial(t, e, 1, ProtoClient)
		refused(client, wire.TypeStatus, wire.TypePing, wire.TypeAsk, wire.TypeOK)
		_, err := client.Call(t.Context(), wire.TypeHello, wire.Hello{Agent: envelope.AgentID{1}}, nil, nil)
		wantKind(t, err, envelope.Denied)
		refused(client, wire.TypeStatus)
		hello(t, client)
		refused(client, wire.TypePing, wire.TypeAsk, wire.TypeOK)
		refused(dial(t, e, 1, ProtoNode), wire.TypeHello, wire.TypeInit, wire.TypeAsk, wire.TypeError)
		refused(dial(t, e, 1, ProtoJoin), wire.TypeHello, wire.TypePutRecord, wire.TypePing, wire.TypeGossip)
		if served.Load() != 0 {
			t.Error("a request reached the handler that must not")
		}
		if _, err := client.Call(t.Context(), wire.TypePutSegment, wire.PutSegment{}, []byte("x"), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		var log bytes.Buffer
		var failure any
		start(t, 1, Config{
			PacketConn: conns[0],
			Log:        slog.New(slog.NewTextHandler(&log, nil)),
			Handler: handlerFunc(func(context.Context, *Request) (wire.Type, any, []byte, error) {
				if err, ok := failure.(error); ok {
					return 0, nil, nil, err
				}
				if failure != nil {
					panic(failure)
				}
				return 0, nil, nil, nil
			}),
		})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)

		failure = envelope.WithHint(envelope.Errorf(envelope.NotDurable, "one copy"), "try later")
		err := ping(c)
		wantKind(t, err, envelope.NotDurable)
		if err.Error() != "one copy; try later" {
			t.Errorf("%q", err)
		}
		failure = errors.New("disk broken")
		wantKind(t, ping(c), envelope.Other)
		if !strings.Contains(log.String(), "disk broken") {
			t.Error("an error without a kind is not in the log")
		}
		_, err = dial(t, e, 1, ProtoJoin).Call(t.Context(), wire.TypeAsk, wire.Ask{}, nil, nil)
		wantKind(t, err, envelope.Other)
		if strings.Contains(err.Error(), "disk") {
			t.Errorf("a stranger is told: %v", err)
		}
		log.Reset()
		failure = "out of cheese"
		wantKind(t, ping(c), envelope.Other)
		if strings.Count(log.String(), "out of cheese") != 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("the log of a panic:\n%s", log.String())
		}
		failure = nil
		if err := ping(c); err != nil {
			t.Errorf("after a panic: %v", err)
		}
	})
}

// A caller that gives up gets away at once, and the handler learns of it.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		left := make(chan struct{})
		start(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, _ *Request) (wire.Type, any, []byte, error) {
			<-ctx.Done()
			close(left)
			return 0, nil, nil, ctx.Err()
		})})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Call(ctx, wire.TypePing, nil, nil, nil)
		wantKind(t, err, envelope.Unavailable)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		<-left
		if time.Since(began) > 1100*time.Millisecond {
			t.Errorf("the handler learns of it after %v", time.Since(began))
		}
	})
}

// When Serve ends, replies that are under way still arrive.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		_, stop := startStop(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			sleep(ctx, time.Second)
			return echo(ctx, r)
		})})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		done := make(chan error)
		go func() { done <- ping(c) }()
		sleep(t.Context(), 500*time.Millisecond)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantKind(t, ping(c), envelope.Unavailable)
	})
}

type streamEcho struct{ Handler }

func (streamEcho) ServeStream(_ context.Context, _ *Request, conn net.Conn) { io.Copy(conn, conn) }

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		start(t, 1, Config{PacketConn: conns[0], Handler: streamEcho{echo}})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		conn, err := c.OpenStream(t.Context(), wire.TypeGossip)
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr().String() != simAddr(1).String() {
			t.Errorf("remote address %s", conn.RemoteAddr())
		}
		for _, want := range []string{"push", "pull"} {
			got := make([]byte, len(want))
			if _, err := conn.Write([]byte(want)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v", got, err)
			}
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("read past the deadline")
		}
		conn.Close()
		conn.Close()
		if c.calls.Load() != 0 {
			t.Errorf("%d calls under way after Close", c.calls.Load())
		}
	})
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 3)
		a := start(t, 1, Config{PacketConn: conns[0]})
		b := start(t, 2, Config{PacketConn: conns[1]})
		got := make(chan string, 10)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() {
			buf := make([]byte, MaxPacket)
			for {
				n, from, err := a.ReadPacket(ctx, buf)
				if err != nil {
					stopped <- err
					return
				}
				got <- from.String() + " " + string(buf[:n])
			}
		}()
		c := dial(t, b, 1, ProtoNode)
		if err := b.WritePacket([]byte("\x01gossip"), simAddr(1)); err != nil {
			t.Fatal(err)
		}
		if p := <-got; p != simAddr(2).String()+" \x01gossip" {
			t.Errorf("%q", p)
		}
		// Garbage of all kinds from a third side harms neither.
		for first := range 256 {
			for _, n := range []int{1, 20, 1300} {
				junk := bytes.Repeat([]byte{byte(first)}, n)
				conns[2].WriteTo(junk, simAddr(1))
			}
			sleep(t.Context(), 10*time.Millisecond)
			for len(got) > 0 {
				<-got
			}
		}
		if err := ping(c); err != nil {
			t.Errorf("after garbage: %v", err)
		}
		for _, bad := range []string{"", "\x40quic", strings.Repeat("\x01", MaxPacket+1)} {
			wantKind(t, b.WritePacket([]byte(bad), simAddr(1)), envelope.Usage)
		}
		cancel()
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("ReadPacket ends with %v", err)
		}
	})
}
