package agentd

import (
	"context"
	"fmt"
	"net"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A reply is the answer to a request, in netq's terms.
type reply struct {
	typ  wire.Type // zero: the one that belongs to the request
	body any       // nil: empty
	data []byte
}

// Serve answers one request. netq calls it, from many goroutines.
func (a *Agentd) Serve(ctx context.Context, req *netq.Request) (t wire.Type, body any, data []byte, err error) {
	began := time.Now()
	defer func() { a.meter.request(req, err, time.Since(began)) }()
	var r reply
	switch req.Proto {
	case netq.ProtoClient:
		r, err = a.serveClient(ctx, req)
	case netq.ProtoNode:
		r, err = a.serveNode(ctx, req)
	case netq.ProtoJoin:
		r, err = a.serveStranger(ctx, req)
	default:
		err = envelope.Errorf(envelope.Usage, "unknown protocol")
	}
	switch envelope.KindOf(err) {
	case envelope.Denied, envelope.Corrupt, envelope.WrongNetwork:
		if err != nil {
			a.rejected.add("request", fmt.Sprintf("%s from %s: %v", req.Type, req.Peer.Addr, err))
		}
	}
	return r.typ, r.body, r.data, err
}

// ServeStream gives a gossip stream to memberlist.
func (a *Agentd) ServeStream(ctx context.Context, req *netq.Request, conn net.Conn) {
	if n := a.network(); n != nil && req.Proto == netq.ProtoNode {
		n.members.ServeStream(ctx, conn)
	}
}

// authorize decides inside a handshake whether a peer may talk on a protocol.
// Both sides ask it.
func (a *Agentd) authorize(proto string, p netq.Peer) error {
	err := a.mayConnect(proto, p)
	if err != nil {
		a.rejected.add("handshake", fmt.Sprintf("%s %s: %v", p.Addr, proto, err))
	}
	return err
}

func (a *Agentd) mayConnect(proto string, p netq.Peer) error {
	switch proto {
	case netq.ProtoClient:
		return nil // Hello decides
	case netq.ProtoJoin:
		return nil // a stranger may ask; dialJoin checks what whoever answers says of itself
	case netq.ProtoNode:
		n := a.network()
		if n == nil {
			return envelope.Errorf(envelope.Denied, "this box is in no network")
		}
		return n.authorize(p)
	}
	return envelope.Errorf(envelope.Denied, "unknown protocol")
}

// decoded decodes a request's body and calls f with it.
func decoded[B any](req *netq.Request, f func(*B) (reply, error)) (reply, error) {
	var body B
	if err := req.Decode(&body); err != nil {
		return reply{}, err
	}
	return f(&body)
}
