package netq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"l2p/envelope"
	"l2p/netq/wire"
)

// Serve lets peers in and answers their requests until ctx ends. Requests that
// are under way then have drainTimeout to end. It returns when all handlers
// have. A handler must therefore not wait for Serve to return.
func (e *Endpoint) Serve(ctx context.Context) error {
	if e.listener == nil {
		return envelope.Errorf(envelope.Other, "an endpoint without a handler cannot serve")
	}
	accepting, stop := context.WithCancel(ctx)
	var conns sync.WaitGroup
	conns.Go(func() { e.sweep(accepting) })
	var err error
	for {
		var q *quic.Conn
		if q, err = e.listener.Accept(ctx); err != nil {
			break
		}
		conns.Go(func() { e.serveConn(accepting, q) })
	}
	e.listener.Close()
	stop()
	conns.Wait()
	if ctx.Err() != nil || e.ctx.Err() != nil {
		return nil
	}
	return envelope.Errorf(envelope.Other, "accepting connections: %w", err)
}

// serveConn answers the requests of one connection until it is closed or
// accepting ends.
func (e *Endpoint) serveConn(accepting context.Context, q *quic.Conn) {
	s, ok := slotOf(q.Context())
	if !ok {
		q.CloseWithError(closeBusy, "")
		return
	}
	if err := s.established(); err != nil {
		e.log.Debug("refused a peer", "addr", s.addr, "node", s.peer.Node, "protocol", s.proto, "err", err)
		q.CloseWithError(closeBusy, "")
		return
	}
	c := newConn(e, q, s.proto, s.peer)
	c.slot = s
	c.trusted.Store(s.proto == ProtoNode)
	e.byQUIC.Store(q, c)
	defer e.byQUIC.Delete(q)
	e.mu.Lock()
	e.incoming[c] = struct{}{}
	if s.proto == ProtoNode {
		delete(e.failed, s.peer.Node)
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.incoming, c)
		e.mu.Unlock()
	}()

	var streams sync.WaitGroup
	e.acceptStreams(accepting, c, &streams)
	late := time.AfterFunc(drainTimeout, func() { c.Close() })
	streams.Wait()
	late.Stop()
	// quic-go forgets what it has not sent yet when a connection closes.
	sleep(q.Context(), lingerTimeout)
	c.Close()
}

// acceptStreams starts a goroutine for each request.
func (e *Endpoint) acceptStreams(accepting context.Context, c *Conn, streams *sync.WaitGroup) {
	limit := maxStreamsOfStrangers
	if c.proto == ProtoNode {
		limit = maxStreams
	}
	free := make(chan struct{}, limit)
	for {
		select {
		case free <- struct{}{}:
		case <-c.Done():
			return
		case <-accepting.Done():
			return
		}
		stream, err := c.q.AcceptStream(accepting)
		if err != nil {
			return
		}
		streams.Go(func() {
			defer func() { <-free }()
			defer stream.ReleaseStreamCredit()
			e.serveStream(c, stream)
		})
	}
}

// serveStream answers one request.
func (e *Endpoint) serveStream(c *Conn, s *quic.Stream) {
	br := newReader(s)
	defer putReader(br)
	held := e.budgets.share(c)
	defer held.release()

	r, done, err := e.readRequest(c, s, br, &held)
	defer done()
	if err != nil {
		if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
			err = envelope.Errorf(envelope.Unavailable, "the request took too long to arrive")
		}
		e.refuse(c, s, err)
		return
	}
	if r.Type == wire.TypeGossip {
		e.serveRaw(r, s, br)
		return
	}
	t, body, data, err := e.handle(s.Context(), r)
	if err != nil {
		e.refuse(c, s, err)
		return
	}
	if r.Type == wire.TypeHello && t == wire.TypeWelcome {
		c.trust()
	}
	if err := held.take(s.Context(), requestCost+int64(len(data))); err != nil {
		e.refuse(c, s, err)
		return
	}
	s.SetWriteDeadline(within(replyTimeout, len(data)))
	if err := send(s, t, body, data); err != nil {
		s.CancelWrite(cutAnswered)
		if envelope.KindOf(err) == envelope.Usage || envelope.KindOf(err) == envelope.Full {
			e.log.Error("cannot encode a reply", "type", t, "err", err)
		}
		return
	}
	s.Close()
}

// readRequest reads a request after it has checked that the peer may make it,
// that it is within its limits and that there is memory for it. done gives the
// request's buffers back; it is never nil.
func (e *Endpoint) readRequest(c *Conn, s *quic.Stream, br *bufio.Reader, held *share) (r *Request, done func(), err error) {
	done = func() {}
	s.SetReadDeadline(time.Now().Add(requestTimeout))
	p, err := wire.ReadPreamble(br)
	if err != nil {
		return nil, done, err
	}
	if err := p.Check(wire.Unlimited); err != nil {
		return nil, done, err
	}
	if p.Type.From()&roleOf(c.proto) == 0 {
		return nil, done, envelope.Errorf(envelope.Denied, "%s requests are not allowed on %s", p.Type, c.proto)
	}
	if c.proto == ProtoClient && p.Type != wire.TypeHello && !c.trusted.Load() {
		return nil, done, envelope.Errorf(envelope.Denied, "a client's first request is Hello, not %s", p.Type)
	}
	if err := held.take(s.Context(), requestCost+int64(p.Body+p.Data+p.Type.Answer())); err != nil {
		return nil, done, err
	}
	r = &Request{Proto: c.proto, Peer: c.peer, Conn: c, Type: p.Type}
	buf := heads.Get().(*[]byte)
	done = func() { putHead(buf) }
	s.SetReadDeadline(within(requestTimeout, p.Body+p.Data))
	if r.Body, err = p.ReadBody(br, *buf); err != nil {
		return nil, done, err
	}
	*buf = r.Body
	if r.Data, err = p.ReadData(br); err != nil {
		return nil, done, err
	}
	if p.Type == wire.TypeGossip {
		s.SetReadDeadline(time.Time{})
		return r, done, nil
	}
	return r, done, wire.ReadEnd(br)
}

// handle calls the handler and survives its panics.
func (e *Endpoint) handle(ctx context.Context, r *Request) (t wire.Type, body any, data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.logPanic(r, p)
			t, body, data, err = 0, nil, nil, errInternal
		}
	}()
	t, body, data, err = e.conf.Handler.Serve(ctx, r)
	if t == 0 {
		t = r.Type.Reply()
	}
	return t, body, data, err
}

func (e *Endpoint) logPanic(r *Request, p any) {
	e.log.Error("a request made the node panic", "type", r.Type, "node", r.Peer.Node, "addr", r.Peer.Addr,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

var errInternal = &envelope.Error{Kind: envelope.Other, Text: "internal error", Hint: "see the node's log"}

// serveRaw hands a stream to the StreamHandler.
func (e *Endpoint) serveRaw(r *Request, s *quic.Stream, br *bufio.Reader) {
	conn := &streamConn{Stream: s, q: r.Conn.q, r: br, closed: func() {}}
	defer conn.Close()
	defer func() {
		if p := recover(); p != nil {
			e.logPanic(r, p)
		}
	}()
	if h, ok := e.conf.Handler.(StreamHandler); ok {
		h.ServeStream(s.Context(), r, conn)
	}
}

// refuse answers a request with an error.
func (e *Endpoint) refuse(c *Conn, s *quic.Stream, err error) {
	s.CancelRead(cutAnswered)
	ours, ok := errors.AsType[*envelope.Error](err)
	if !ok {
		if _, cut := errors.AsType[*quic.StreamError](err); cut || err == io.EOF || c.q.Context().Err() != nil {
			s.CancelWrite(cutAnswered) // the peer has given up itself
			return
		}
		e.log.Warn("a request failed", "node", c.peer.Node, "addr", c.peer.Addr, "err", err)
		if c.proto == ProtoJoin {
			err = errInternal
		}
	} else if error(ours) != err {
		err = &envelope.Error{Kind: ours.Kind, Text: err.Error()}
	}
	s.SetWriteDeadline(time.Now().Add(replyTimeout))
	if send(s, wire.TypeError, wire.ErrorOf(err), nil) != nil {
		s.CancelWrite(cutAnswered)
		return
	}
	s.Close()
}
