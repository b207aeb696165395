package netq

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"

	"l2p/envelope"
)

// Dial connects to host:port. A zero want takes any node that Authorize lets
// in. Errors are of kind Usage for an address that isn't one, Unavailable where nobody
// answers, Denied for another node than wanted, or what Authorize says.
func (e *Endpoint) Dial(ctx context.Context, addr, proto string, want envelope.NodeID) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	targets, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		var c *Conn
		if c, err = e.dial(ctx, target, proto, want); err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (e *Endpoint) dial(ctx context.Context, addr *net.UDPAddr, proto string, want envelope.NodeID) (*Conn, error) {
	for {
		var p Peer
		q, err := e.transport.Dial(ctx, addr, e.clientTLS(proto, want, addr, &p), clientQUIC(proto))
		if err == nil {
			return newConn(e, q, proto, p), nil
		}
		if t, ok := errors.AsType[*quic.TransportError](err); !ok || !t.Remote || t.ErrorCode != quic.ConnectionRefused {
			return nil, failure(ctx, err, "connecting to", addr)
		}
		// The node is busy, or only just starting: there is time to try again.
		if sleep(ctx, 200*time.Millisecond); ctx.Err() != nil {
			return nil, failure(context.Background(), err, "connecting to", addr)
		}
	}
}

// resolve returns the addresses that host:port stands for.
func resolve(ctx context.Context, addr string) ([]*net.UDPAddr, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []*net.UDPAddr{net.UDPAddrFromAddrPort(ap)}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	port, perr := strconv.ParseUint(service, 10, 16)
	if err != nil || perr != nil || host == "" || port == 0 || len(addr) > 300 {
		return nil, envelope.Errorf(envelope.Usage, "%+.64q is not an address of the form host:port", addr)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, envelope.Errorf(envelope.Unavailable, "looking up %+q: %w", host, err)
	}
	const enough = 4
	var out []*net.UDPAddr
	for _, ip := range ips[:min(len(ips), enough)] {
		out = append(out, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port))))
	}
	return out, nil
}

// A pooled connection is one that Node keeps, or is about to have.
type pooled struct {
	ready chan struct{} // closed when conn or err is set
	conn  *Conn
	err   error
}

// established returns the connection if there is one.
func (p *pooled) established() *Conn {
	select {
	case <-p.ready:
		return p.conn
	default:
		return nil
	}
}

// dead reports whether the connection is closed.
func (p *pooled) dead() bool {
	c := p.established()
	if c == nil {
		return false
	}
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// Node returns the connection to a node on [ProtoNode], and dials addr if there
// is none or it has died. All callers share it: nobody closes it, and it
// closes itself when it hasn't been used for half a minute.
func (e *Endpoint) Node(ctx context.Context, id envelope.NodeID, addr string) (*Conn, error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, envelope.Errorf(envelope.Unavailable, "connecting to %s: the endpoint is closed: %w", addr, net.ErrClosed)
	}
	p := e.pool[id]
	if p == nil || p.dead() {
		p = &pooled{ready: make(chan struct{})}
		e.pool[id] = p
		// The dial belongs to all who wait for it, so it doesn't end when
		// the first of them gives up.
		e.dials.Go(func() { e.fill(p, id, addr) })
	}
	e.mu.Unlock()

	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, envelope.Errorf(envelope.Unavailable, "connecting to %s: %w", addr, context.Cause(ctx))
	}
	if p.err != nil {
		return nil, p.err
	}
	p.conn.used.Store(time.Now().UnixNano())
	return p.conn, nil
}

// Silent reports whether the last attempt to reach a node failed less than
// half a minute ago and no connection has been made since, by either side.
func (e *Endpoint) Silent(id envelope.NodeID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	failed, ok := e.failed[id]
	return ok && time.Since(failed) < silentFor
}

func (e *Endpoint) fill(p *pooled, id envelope.NodeID, addr string) {
	c, err := e.Dial(e.ctx, addr, ProtoNode, id)
	e.mu.Lock()
	p.conn, p.err = c, err
	close(p.ready)
	if err == nil {
		delete(e.failed, id)
	} else {
		e.failed[id] = time.Now()
	}
	gone := e.pool[id] != p || e.closed // dropped meanwhile
	if !gone && err != nil {
		delete(e.pool, id)
	}
	e.mu.Unlock()
	if gone && c != nil {
		c.Close()
	}
}

// sweep closes connections that Node keeps and nobody uses, until ctx ends.
func (e *Endpoint) sweep(ctx context.Context) {
	for {
		if sleep(ctx, idlePooled/3); ctx.Err() != nil {
			return
		}
		var unused []*Conn
		e.mu.Lock()
		for id, p := range e.pool {
			if c := p.established(); p.dead() || c != nil && c.idle() {
				delete(e.pool, id)
				unused = append(unused, c)
			}
		}
		for id, failed := range e.failed {
			if time.Since(failed) >= silentFor {
				delete(e.failed, id)
			}
		}
		e.mu.Unlock()
		for _, c := range unused {
			c.Close()
		}
	}
}
