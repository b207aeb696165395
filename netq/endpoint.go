package netq

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"l2p/envelope"
)

// Flow-control windows, in bytes: how much a peer may have sent that nobody
// has read yet. What a connection starts with is what a stranger keeps.
const (
	startWindow      = 128 << 10
	streamWindow     = 2 << 20
	clientConnWindow = 2 << 20
	nodeConnWindow   = 8 << 20
)

// MaxPacket is the greatest length of a gossip packet, in bytes.
const MaxPacket = 1400

// An Endpoint is one UDP socket through which a node or client talks.
type Endpoint struct {
	conf      Config
	log       *slog.Logger
	certs     certificates
	transport *quic.Transport
	listener  *quic.Listener // nil without a Handler
	gate      *gate
	budgets   budgets

	ctx   context.Context // ends with Close
	close context.CancelFunc
	dials sync.WaitGroup

	byQUIC sync.Map // *quic.Conn -> *Conn, established ones that peers dialled

	mu       sync.Mutex
	pool     map[envelope.NodeID]*pooled
	failed   map[envelope.NodeID]time.Time // when a dial of Node failed, if none succeeded since
	incoming map[*Conn]struct{}
	closed   bool
}

// Listen makes an endpoint of a socket. With a Handler, Serve has to be called
// for peers to get in.
func Listen(conf Config) (*Endpoint, error) {
	quietQUIC()
	e := &Endpoint{
		conf:     conf,
		log:      conf.Log,
		certs:    certificates{identity: conf.Identity},
		gate:     newGate(),
		budgets:  newBudgets(),
		pool:     make(map[envelope.NodeID]*pooled),
		failed:   make(map[envelope.NodeID]time.Time),
		incoming: make(map[*Conn]struct{}),
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.ctx, e.close = context.WithCancel(context.Background())
	// A node that restarts tells its peers by a stateless reset (RFC 9000
	// §10.3) that the connections they still hold are gone. For that it must
	// come back with the same key.
	reset := quic.StatelessResetKey(envelope.HashOf("l2p stateless reset key v1\n", conf.Identity().Key.Seed()))
	e.transport = &quic.Transport{
		Conn:                conf.PacketConn,
		StatelessResetKey:   &reset,
		ConnContext:         e.connContext,
		VerifySourceAddress: func(net.Addr) bool { return e.gate.crowded() },
	}
	if conf.Handler != nil {
		l, err := e.transport.Listen(e.serverTLS(), e.serverQUIC())
		if err != nil {
			e.close()
			conf.PacketConn.Close()
			return nil, envelope.Errorf(envelope.Other, "listening on %s: %w", conf.PacketConn.LocalAddr(), err)
		}
		e.listener = l
	}
	return e, nil
}

// quietQUIC keeps quic-go from writing to the standard logger that the
// system's greatest socket buffer is smaller than it would like: the usual
// 208 KiB are enough for what we do. The environment is the only switch it has.
var quietQUIC = sync.OnceFunc(func() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(name); !set {
		os.Setenv(name, "true")
	}
})

func baseQUIC() *quic.Config {
	return &quic.Config{
		Versions:              []quic.Version{quic.Version1},
		HandshakeIdleTimeout:  dialSilence,
		MaxIdleTimeout:        idleTimeout,
		MaxIncomingUniStreams: -1,
	}
}

// serverQUIC holds for all peers, because who a peer is turns out only later.
// So everybody starts with a stranger's window, which allowWindow lets grow.
func (e *Endpoint) serverQUIC() *quic.Config {
	c := baseQUIC()
	c.InitialStreamReceiveWindow = startWindow
	c.InitialConnectionReceiveWindow = startWindow
	c.MaxStreamReceiveWindow = streamWindow
	c.MaxConnectionReceiveWindow = nodeConnWindow
	c.AllowConnectionWindowIncrease = e.allowWindow
	c.MaxIncomingStreams = maxStreams
	// A peer that opens and cancels streams at speed must not have more
	// handlers at work than streams allowed.
	c.RequireStreamCreditRelease = true
	return c
}

// clientQUIC is for connections that this endpoint dials: only it opens
// streams on them, and only it keeps them alive.
func clientQUIC(proto string) *quic.Config {
	c := baseQUIC()
	c.KeepAlivePeriod = keepAlive
	c.MaxIncomingStreams = -1
	c.InitialStreamReceiveWindow = 512 << 10
	c.InitialConnectionReceiveWindow = 1 << 20
	c.MaxStreamReceiveWindow = streamWindow
	c.MaxConnectionReceiveWindow = nodeConnWindow
	if proto == ProtoJoin { // whoever answers there has not been checked yet
		c.InitialConnectionReceiveWindow = 512 << 10
		c.MaxStreamReceiveWindow = 512 << 10
		c.MaxConnectionReceiveWindow = 2 << 20
	}
	return c
}

// allowWindow is called by quic-go with a connection's lock held.
func (e *Endpoint) allowWindow(q *quic.Conn, delta uint64) bool {
	c, ok := e.byQUIC.Load(q)
	return ok && c.(*Conn).allowWindow(int64(delta))
}

// connContext is called by quic-go for the first packet of every connection
// that a peer opens; the context ends with the connection.
func (e *Endpoint) connContext(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	s, err := e.gate.enter(info.RemoteAddr)
	if err != nil {
		e.log.Debug("refused a connection", "addr", info.RemoteAddr, "err", err)
		return nil, err
	}
	context.AfterFunc(ctx, s.leave)
	return context.WithValue(ctx, slotKey{}, s), nil
}

// LocalAddr returns the socket's address.
func (e *Endpoint) LocalAddr() net.Addr { return e.conf.PacketConn.LocalAddr() }

// ReadPacket waits for a gossip packet. Nothing about it is proven, neither
// its contents nor its sender. Only one goroutine may call it.
func (e *Endpoint) ReadPacket(ctx context.Context, b []byte) (int, net.Addr, error) {
	n, addr, err := e.transport.ReadNonQUICPacket(ctx, b)
	if err != nil && ctx.Err() == nil {
		err = net.ErrClosed
	}
	return n, addr, err
}

// WritePacket sends a gossip packet of 1 to MaxPacket bytes. Its first byte
// must be below 0x40, which tells it from QUIC's packets (RFC 9443).
func (e *Endpoint) WritePacket(b []byte, addr net.Addr) error {
	if len(b) == 0 || len(b) > MaxPacket || b[0] >= 0x40 {
		return envelope.Errorf(envelope.Usage, "not a gossip packet: %d bytes", len(b))
	}
	_, err := e.transport.WriteTo(b, addr)
	return err
}

// Drop closes all connections with a node, whoever dialled them. It is
// called when the node is no longer admitted.
func (e *Endpoint) Drop(id envelope.NodeID) {
	e.mu.Lock()
	var conns []*Conn
	if p := e.pool[id]; p != nil {
		delete(e.pool, id)
		if c := p.established(); c != nil {
			conns = append(conns, c)
		}
	}
	for c := range e.incoming {
		if c.peer.Node == id && c.proto == ProtoNode {
			conns = append(conns, c)
		}
	}
	e.mu.Unlock()
	for _, c := range conns {
		c.q.CloseWithError(closeDropped, "")
	}
}

// Close closes all connections and the socket. Call it after Serve has returned.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	var conns []*Conn
	for _, p := range e.pool {
		if c := p.established(); c != nil {
			conns = append(conns, c)
		}
	}
	for c := range e.incoming {
		conns = append(conns, c)
	}
	e.mu.Unlock()

	e.close()
	e.dials.Wait()
	for _, c := range conns {
		c.q.CloseWithError(closeDone, "")
	}
	err := e.transport.Close()
	if cerr := e.conf.PacketConn.Close(); err == nil {
		err = cerr
	}
	return err
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
