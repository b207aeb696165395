package agentd

import (
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// operatorOnly reports whether a request is the operator's alone.
func operatorOnly(t wire.Type) bool {
	switch t {
	case wire.TypeInit, wire.TypeInvite, wire.TypeJoin, wire.TypeLookAt, wire.TypePending,
		wire.TypeAdmit, wire.TypeExpel, wire.TypeLeave, wire.TypeBind, wire.TypeStop:
		return true
	}
	return false
}

// serveOperator answers what only the operator may ask.
func (a *Agentd) serveOperator(ctx context.Context, req *netq.Request) (reply, error) {
	switch req.Type {
	case wire.TypeInit:
		return decoded(req, func(b *wire.Init) (reply, error) { return reply{}, a.found(ctx, b) })
	case wire.TypeJoin:
		return decoded(req, func(b *wire.Join) (reply, error) { return answer(a.join(ctx, b)) })
	case wire.TypeLookAt:
		return decoded(req, func(b *wire.LookAt) (reply, error) { return answer(a.lookAt(ctx, b)) })
	case wire.TypeStop:
		a.log.Info("the operator asks the node to stop")
		time.AfterFunc(stopDelay, a.stop) // the reply goes first
		return reply{}, nil
	case wire.TypeExpel:
		return decoded(req, func(b *wire.Expel) (reply, error) { return answer(a.expel(ctx, b)) })
	case wire.TypeLeave:
		return reply{}, a.leave(ctx)
	}
	n := a.network()
	if n == nil {
		return reply{}, errNoNetwork()
	}
	switch req.Type {
	case wire.TypeInvite:
		return decoded(req, func(b *wire.Invite) (reply, error) { return answer(n.invite(b)) })
	case wire.TypePending:
		issuer, err := n.needIssuer()
		if err != nil {
			return reply{}, err
		}
		list := issuer.Pending(time.Now())
		if list == nil {
			list = []wire.PendingRequest{}
		}
		return reply{body: wire.PendingReply{Requests: list}}, nil
	case wire.TypeAdmit:
		return decoded(req, func(b *wire.Admit) (reply, error) { return reply{}, n.admit(b) })
	case wire.TypeBind:
		return decoded(req, func(b *wire.Bind) (reply, error) { return reply{}, a.bind(ctx, n, b) })
	}
	return reply{}, envelope.Errorf(envelope.Usage, "unknown request %s", req.Type)
}

// stopDelay lets the reply to Stop leave before the node does.
const stopDelay = 50 * time.Millisecond

// answer makes a reply of what a flow returns.
func answer[B any](body *B, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{body: body}, nil
}
