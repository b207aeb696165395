package netq

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A line is a socket that can be cut, and that outlives its endpoint.
type line struct {
	net.PacketConn
	cut atomic.Bool
}

func (l *line) Close() error { return nil }

func (l *line) WriteTo(b []byte, addr net.Addr) (int, error) {
	if l.cut.Load() {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, addr)
}

func closed(c *Conn) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// A peer that crashes and comes back says at the next request that the
// connection is gone, and is then reached again.
func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		e := start(t, 2, Config{PacketConn: conns[1]})
		before := &line{PacketConn: conns[0]}
		_, stop := startStop(t, 1, Config{PacketConn: before})
		put := func() (*Conn, error) {
			c, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Call(t.Context(), wire.TypePutRecord, wire.PutRecord{}, make([]byte, 100), nil)
			return c, err
		}
		c, err := put()
		if err != nil {
			t.Fatal(err)
		}
		before.cut.Store(true) // it goes without a word
		stop()
		start(t, 1, Config{PacketConn: &line{PacketConn: conns[0]}})
		began := time.Now()
		same, err := put()
		wantKind(t, err, envelope.Unavailable)
		if took := time.Since(began); same != c || took > time.Second {
			t.Errorf("noticed after %v", took)
		}
		again, err := put()
		if err != nil || again == c {
			t.Errorf("dialled again: %v, %v", again != c, err)
		}
	})
}

// A peer that falls silent is noticed by the idle timeout.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		server := &line{PacketConn: conns[0]}
		start(t, 1, Config{PacketConn: server})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c := dial(t, e, 1, ProtoNode)
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		server.cut.Store(true)
		began := time.Now()
		wantKind(t, ping(c), envelope.Unavailable)
		if took := time.Since(began); took > idleTimeout+time.Second {
			t.Errorf("noticed after %v", took)
		}
		began = time.Now()
		_, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
		wantKind(t, err, envelope.Unavailable)
		if took := time.Since(began); took > dialTimeout {
			t.Errorf("gave up dialling after %v", took)
		}
		if !e.Silent(nodeID(1)) {
			t.Error("that it didn't answer is forgotten")
		}
		sleep(t.Context(), silentFor)
		if e.Silent(nodeID(1)) {
			t.Error("that it didn't answer is remembered for ever")
		}
	})
}

// A peer that didn't answer and then comes by itself is silent no longer.
func TestSilentUntilItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		e := start(t, 1, Config{PacketConn: conns[0]})
		before := &line{PacketConn: conns[1]}
		before.cut.Store(true)
		_, stop := startStop(t, 2, Config{PacketConn: before})
		_, err := e.Node(t.Context(), nodeID(2), simAddr(2).String())
		wantKind(t, err, envelope.Unavailable)
		stop()
		if !e.Silent(nodeID(2)) {
			t.Error("that it didn't answer is forgotten")
		}
		peer := start(t, 2, Config{PacketConn: &line{PacketConn: conns[1]}})
		if err := ping(dial(t, peer, 1, ProtoNode)); err != nil {
			t.Fatal(err)
		}
		if e.Silent(nodeID(2)) {
			t.Error("silent, though it came")
		}
	})
}

func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		server := start(t, 1, Config{PacketConn: conns[0]})
		e := start(t, 2, Config{PacketConn: conns[1]})
		get := func() *Conn {
			c, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
			if err != nil {
				t.Error(err)
			}
			return c
		}
		// Many who ask at one time share one dial.
		var all [20]*Conn
		var asking sync.WaitGroup
		for i := range all {
			asking.Go(func() { all[i] = get() })
		}
		asking.Wait()
		for _, c := range all {
			if c != all[0] {
				t.Fatal("two connections to one node")
			}
		}
		// One who gives up doesn't spoil it for the others.
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		e.Drop(nodeID(1))
		if !closed(all[0]) {
			t.Error("a dropped node keeps its connection")
		}
		_, err := e.Node(gone, nodeID(1), simAddr(1).String())
		wantKind(t, err, envelope.Unavailable)
		c := get()

		// Dropping a node also closes what it dialled itself, and only that.
		server.Drop(nodeID(9))
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		server.Drop(nodeID(2))
		wantKind(t, ping(c), envelope.Denied)

		// Used connections stay, unused ones go.
		c = get()
		for range 5 {
			sleep(t.Context(), idlePooled-time.Second)
			if err := ping(c); err != nil {
				t.Fatal(err)
			}
		}
		sleep(t.Context(), 2*idlePooled)
		if !closed(c) {
			t.Error("an unused connection is kept")
		}
		if err := ping(get()); err != nil {
			t.Error(err)
		}
		e.Close()
		_, err = e.Node(t.Context(), nodeID(1), simAddr(1).String())
		wantKind(t, err, envelope.Unavailable)
	})
}

func TestDialAddress(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"", "host", ":9011", "host:", "host:0", "host:70000", "host:nine", "a:b:c"} {
		if _, err := resolve(t.Context(), addr); envelope.KindOf(err) != envelope.Usage {
			t.Errorf("%q: %v", addr, err)
		}
	}
	got, err := resolve(t.Context(), "[::1]:9011")
	if err != nil || len(got) != 1 || got[0].String() != "[::1]:9011" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 6)
		start(t, 1, Config{PacketConn: conns[0], Handler: handlerFunc(func(ctx context.Context, r *Request) (wire.Type, any, []byte, error) {
			switch r.Type {
			case wire.TypeHasSegments:
				return 0, wire.HasReply{Have: []bool{true}}, nil, nil
			case wire.TypeListRecords: // a page of nothing, and so on for ever
				data, err := wire.EncodeRecords(nil)
				return 0, wire.RecordsReply{More: true}, data, err
			case wire.TypeGetRecord:
				return 0, nil, nil, envelope.Errorf(envelope.NotFound, "no such record")
			case wire.TypeStatus:
				return wire.TypeWelcome, wire.Welcome{}, nil, nil // not its reply
			}
			return echo(ctx, r)
		})})
		ctx := t.Context()
		c, err := DialClient(ctx, ClientConfig{Addr: simAddr(1).String(), Key: testKey(7), Node: nodeID(1), PacketConn: conns[1]})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Welcome().Software != "test" || c.Peer().Node != nodeID(1) {
			t.Errorf("%+v", c.Welcome())
		}
		if r, err := c.PutSegment(ctx, envelope.SegmentID{}, envelope.AgentID{}, []byte("frame")); err != nil || r.Copies != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		if have, err := c.HasSegments(ctx, make([]envelope.SegmentID, 1)); err != nil || !have[0] {
			t.Errorf("%v, %v", have, err)
		}
		_, err = c.HasSegments(ctx, make([]envelope.SegmentID, 2))
		wantKind(t, err, envelope.Corrupt)
		_, _, err = c.GetRecord(ctx, envelope.Ref{}, 0)
		wantKind(t, err, envelope.NotFound)
		_, err = c.Status(ctx)
		wantKind(t, err, envelope.Corrupt)
		n := 0
		for _, err := range c.Records(ctx, wire.ListRecords{Kind: envelope.KindEnvelope}) {
			n++
			wantKind(t, err, envelope.Corrupt)
		}
		if n != 1 {
			t.Errorf("an endless list of nothing yields %d times", n)
		}

		refused := []struct {
			name string
			conf ClientConfig
			kind envelope.ErrorKind
			text string
		}{
			{"nobody there", ClientConfig{Addr: simAddr(99).String(), Key: testKey(7), Node: nodeID(1), PacketConn: conns[2]}, envelope.Unavailable, "start it with: agentd"},
			{"another node", ClientConfig{Addr: simAddr(1).String(), Key: testKey(7), Node: nodeID(5), PacketConn: conns[3]}, envelope.Denied, "not " + nodeID(5).String()},
			{"no network", ClientConfig{Addr: simAddr(1).String(), Key: testKey(7), Network: envelope.NetworkID{1}, PacketConn: conns[4]}, envelope.WrongNetwork, "in no network"},
			{"nothing pinned", ClientConfig{Addr: simAddr(1).String(), Key: testKey(7)}, envelope.Usage, "which node"},
			{"no key", ClientConfig{Addr: simAddr(1).String(), Node: nodeID(1)}, envelope.Usage, "key"},
		}
		for _, test := range refused {
			_, err := DialClient(ctx, test.conf)
			if envelope.KindOf(err) != test.kind || err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: kind %d: %v", test.name, envelope.KindOf(err), err)
			}
		}
	})
}
