package netq

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/semaphore"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A Conn is a connection with a peer that TLS has identified and that
// Authorize has let in. The side that dialled makes requests on it.
type Conn struct {
	e     *Endpoint
	q     *quic.Conn
	proto string
	peer  Peer

	// Of connections that the peer dialled.
	slot    *slot
	share   *semaphore.Weighted
	trusted atomic.Bool // may send more than Hello
	window  atomic.Int64
	session atomic.Value

	// Of connections that this side dialled.
	calls atomic.Int64 // under way
	used  atomic.Int64 // when the last one began or ended, Unix nanoseconds
}

func newConn(e *Endpoint, q *quic.Conn, proto string, p Peer) *Conn {
	c := &Conn{e: e, q: q, proto: proto, peer: p, share: semaphore.NewWeighted(connShare)}
	c.window.Store(startWindow)
	c.used.Store(time.Now().UnixNano())
	return c
}

// Peer returns who is on the other side.
func (c *Conn) Peer() Peer { return c.peer }

// Proto returns the protocol of the connection, such as [ProtoNode].
func (c *Conn) Proto() string { return c.proto }

// Done is closed when the connection is.
func (c *Conn) Done() <-chan struct{} { return c.q.Context().Done() }

// Close closes the connection. Requests under way fail.
func (c *Conn) Close() error { return c.q.CloseWithError(closeDone, "") }

// SetSession keeps a value for later requests on this connection: who a client
// has said, and proven, to be. All values must be of one type.
func (c *Conn) SetSession(v any) { c.session.Store(v) }

// Session returns the value of the last SetSession, or nil.
func (c *Conn) Session() any { return c.session.Load() }

// trust gives a client that has said Hello more than a stranger gets.
func (c *Conn) trust() {
	c.slot.trust()
	c.trusted.Store(true)
}

// allowWindow decides whether the connection's flow-control window may grow.
func (c *Conn) allowWindow(delta int64) bool {
	limit := int64(clientConnWindow)
	switch {
	case !c.trusted.Load():
		limit = startWindow
	case c.proto == ProtoNode:
		limit = nodeConnWindow
	}
	if c.window.Add(delta) > limit {
		c.window.Add(-delta)
		return false
	}
	return true
}

// Buffers and readers that requests and replies pass through.
var (
	heads   = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}
)

const (
	maxPooledHead = 64 << 10
	// inlineData is sent in one write with its body: a copy costs less than a
	// second turn through the stream.
	inlineData = 16 << 10
)

func putHead(b *[]byte) {
	if cap(*b) <= maxPooledHead {
		heads.Put(b)
	}
}

func newReader(r io.Reader) *bufio.Reader {
	br := readers.Get().(*bufio.Reader)
	br.Reset(r)
	return br
}

func putReader(br *bufio.Reader) {
	br.Reset(nil)
	readers.Put(br)
}

// send writes one message.
func send(w io.Writer, t wire.Type, body any, data []byte) error {
	buf := heads.Get().(*[]byte)
	defer putHead(buf)
	head, err := wire.AppendMessage((*buf)[:0], t, body, len(data))
	if err != nil {
		return err
	}
	if len(data) <= inlineData {
		head, data = append(head, data...), nil
	}
	*buf = head
	if _, err := w.Write(head); err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = w.Write(data)
	}
	return err
}

// Call makes a request and waits for its reply until ctx ends. It decodes the
// reply's body into reply, unless that is nil, and returns the reply's data,
// which the caller may keep. A nil body is an empty one. An error reply comes
// back as an *envelope.Error of its kind; when the peer cannot be reached, is
// gone or takes too long, the kind is Unavailable, and Denied when it doesn't
// let us in (of which the side that dialled learns only now).
func (c *Conn) Call(ctx context.Context, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	c.begin()
	defer c.end()
	got, err := c.call(ctx, t, body, data, reply)
	if err != nil {
		return nil, c.failed(ctx, err, t)
	}
	return got, nil
}

func (c *Conn) failed(ctx context.Context, err error, t wire.Type) error {
	return failure(ctx, err, "asking "+t.String()+" of", c.peer.Addr)
}

func (c *Conn) call(ctx context.Context, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	s, err := c.q.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		s.CancelWrite(cutCancelled)
		s.CancelRead(cutCancelled)
	})
	defer stop()

	if err := send(s, t, body, data); err != nil {
		if _, ok := errors.AsType[*quic.StreamError](err); !ok {
			s.CancelWrite(cutCancelled)
			s.CancelRead(cutCancelled)
			return nil, err
		}
		// The peer has cut the request off; its reply says why.
	} else {
		s.Close()
	}
	m, err := receive(s)
	if err != nil {
		s.CancelRead(cutCancelled)
		return nil, err
	}
	switch m.Type {
	case t.Reply():
	case wire.TypeError:
		var e wire.Error
		if err := m.Decode(&e); err != nil {
			return nil, err
		}
		return nil, e.Err()
	default:
		return nil, envelope.Errorf(envelope.Corrupt, "the node answers a %s request with a %s message", t, m.Type)
	}
	if reply != nil {
		if err := m.Decode(reply); err != nil {
			return nil, err
		}
	}
	return m.Data, nil
}

// receive reads the one message of a stream.
func receive(s io.Reader) (*wire.Message, error) {
	br := newReader(s)
	defer putReader(br)
	m, err := wire.ReadMessage(br, wire.Unlimited)
	if err == io.EOF {
		err = envelope.Errorf(envelope.Corrupt, "the node ends the stream without a reply")
	}
	if err != nil {
		return nil, err
	}
	return m, wire.ReadEnd(br)
}

// OpenStream makes a request of type t, with an empty body, that turns the
// stream into a connection. ctx bounds the opening only.
func (c *Conn) OpenStream(ctx context.Context, t wire.Type) (net.Conn, error) {
	s, err := c.q.OpenStreamSync(ctx)
	if err == nil {
		err = send(s, t, nil, nil)
	}
	if err != nil {
		return nil, c.failed(ctx, err, t)
	}
	c.begin()
	return &streamConn{Stream: s, q: c.q, r: s, closed: c.end}, nil
}

func (c *Conn) begin() {
	c.calls.Add(1)
	c.used.Store(time.Now().UnixNano())
}

func (c *Conn) end() {
	c.used.Store(time.Now().UnixNano())
	c.calls.Add(-1)
}

// idle reports whether nothing has been asked on c for idlePooled.
func (c *Conn) idle() bool {
	return c.calls.Load() == 0 && time.Since(time.Unix(0, c.used.Load())) > idlePooled
}

// A streamConn is a stream as a net.Conn.
type streamConn struct {
	*quic.Stream
	q      *quic.Conn
	r      io.Reader // the stream, behind what has been read of it already
	once   sync.Once
	closed func()
}

func (s *streamConn) Read(b []byte) (int, error) { return s.r.Read(b) }

func (s *streamConn) LocalAddr() net.Addr  { return s.q.LocalAddr() }
func (s *streamConn) RemoteAddr() net.Addr { return s.q.RemoteAddr() }

// Close ends both directions. What has been written still arrives.
func (s *streamConn) Close() error {
	err := s.Stream.Close()
	s.Stream.CancelRead(cutCancelled)
	s.once.Do(s.closed)
	return err
}
