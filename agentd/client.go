package agentd

import (
	"context"
	"crypto/ed25519"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A session is what a client proved with Hello.
type session struct {
	agent    envelope.AgentID // zero for the operator
	operator bool
}

// serveClient answers a client. What is below Hello in the first switch any
// known agent may ask; the rest is the operator's.
func (a *Agentd) serveClient(ctx context.Context, req *netq.Request) (reply, error) {
	if req.Type == wire.TypeHello {
		return decoded(req, func(h *wire.Hello) (reply, error) { return a.hello(ctx, req, h) })
	}
	who, ok := req.Conn.Session().(session)
	if !ok {
		return reply{}, envelope.Errorf(envelope.Denied, "say Hello first")
	}
	switch req.Type {
	case wire.TypeStatus:
		return reply{body: a.status()}, nil
	case wire.TypeRing:
		return decoded(req, func(r *wire.Ring) (reply, error) { return a.ring(ctx, r) })
	}
	if operatorOnly(req.Type) {
		if !who.operator {
			return reply{}, envelope.WithHint(envelope.Errorf(envelope.Denied, "only the operator of the node may do this"),
				"run it where the node runs, as the user that owns its state directory")
		}
		return a.serveOperator(ctx, req)
	}
	n := a.network()
	if n == nil {
		return reply{}, errNoNetwork()
	}
	return n.coordinate(ctx, req)
}

func errNoNetwork() error {
	return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "this box is in no network yet"),
		"found one with `l2p init BOX`, or join one with `l2p join TICKET`")
}

// hello decides who a client is.
func (a *Agentd) hello(ctx context.Context, req *netq.Request, h *wire.Hello) (reply, error) {
	who := session{agent: h.Agent, operator: h.Agent.IsZero()}
	if who.operator {
		if !req.Peer.Key.Equal(a.operatorKey.Public()) {
			return reply{}, envelope.Errorf(envelope.Denied, "this key is not the operator's")
		}
	} else if err := a.isAgent(ctx, h.Agent, req.Peer.Key); err != nil {
		return reply{}, err
	}
	req.Conn.SetSession(who)
	w := a.welcome()
	w.Operator = who.operator
	return reply{body: w}, nil
}

// isAgent checks that key is the signing key of the agent's newest document.
func (a *Agentd) isAgent(ctx context.Context, id envelope.AgentID, key ed25519.PublicKey) error {
	n := a.network()
	if n == nil {
		return errNoNetwork()
	}
	doc, err := n.document(ctx, id)
	if envelope.KindOf(err) == envelope.NotFound {
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "this network knows no agent %s", id.Short()),
			"the operator of a box can publish it: `l2p agent bind`")
	}
	if err != nil {
		return err
	}
	if !key.Equal(doc.SigningKey()) {
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "this key is not the current key of agent %s", id.Short()),
			"its keys were changed elsewhere: bring the new ones with `l2p agent export` there and `l2p agent import` here")
	}
	return nil
}
