package agentd

import (
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// publishTimeout bounds an attempt to store a record of the box's own.
const publishTimeout = 15 * time.Second

// coordinate answers a client's request for data: it asks the successors.
func (n *network) coordinate(ctx context.Context, req *netq.Request) (reply, error) {
	if req.Type == wire.TypeRoster {
		return decoded(req, func(r *wire.RosterRequest) (reply, error) {
			if len(r.Statements) > 0 {
				return reply{}, envelope.Errorf(envelope.Denied, "only nodes pass on statements")
			}
			answer, err := n.serveRoster(r)
			return reply{body: answer}, err
		})
	}
	switch req.Type {
	case wire.TypePutRecord:
		return decoded(req, func(q *wire.PutRecord) (reply, error) {
			if q.Repair {
				return reply{}, envelope.Errorf(envelope.Denied, "only nodes pass on copies")
			}
			body, err := n.replica.PutRecord(ctx, q.Kind, req.Data)
			return reply{body: body}, err
		})
	case wire.TypeGetRecord:
		return decoded(req, func(q *wire.GetRecord) (reply, error) {
			data, body, err := n.replica.GetRecord(ctx, q.Ref, q.N)
			return reply{body: body, data: data}, err
		})
	case wire.TypeListRecords:
		return decoded(req, func(q *wire.ListRecords) (reply, error) { return page(n.replica.ListRecords(ctx, *q)) })
	case wire.TypeMemberships:
		return decoded(req, func(q *wire.Memberships) (reply, error) { return page(n.replica.Memberships(ctx, *q)) })
	case wire.TypePutSegment:
		return decoded(req, func(q *wire.PutSegment) (reply, error) {
			body, err := n.replica.PutSegment(ctx, *q, req.Data)
			return reply{body: body}, err
		})
	case wire.TypeGetSegment:
		return decoded(req, func(q *wire.GetSegment) (reply, error) {
			frame, err := n.replica.GetSegment(ctx, q.ID)
			return reply{data: frame}, err
		})
	}
	return reply{}, envelope.Errorf(envelope.Usage, "a client can't ask for %s here", req.Type)
}

// page makes a reply of a page of records.
func page(records [][]byte, body wire.RecordsReply, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	data, err := wire.EncodeRecords(records)
	return reply{body: body, data: data}, err
}

// serveNode answers another node of the network.
func (a *Agentd) serveNode(ctx context.Context, req *netq.Request) (reply, error) {
	n := a.network()
	if n == nil {
		return reply{}, errNoNetwork()
	}
	if !n.takesPart(req.Peer.Node) {
		// Its certificate has come with the handshake and is being merged, or
		// it has been revoked since.
		if err := n.authorize(req.Peer); err != nil {
			return reply{}, err
		}
	}
	switch req.Type {
	case wire.TypePing:
		return reply{}, nil
	case wire.TypeStatus:
		return reply{body: a.status()}, nil
	case wire.TypeRoster:
		return decoded(req, func(r *wire.RosterRequest) (reply, error) {
			answer, err := n.serveRoster(r)
			if err == nil {
				err = n.exchangeGossipKey(r, answer)
			}
			return reply{body: answer}, err
		})
	}
	t, body, data, err := n.replica.HandleNode(ctx, req.Peer.Node, req.Type, req.Body, req.Data)
	return reply{t, body, data}, err
}

// document returns an agent's newest document.
func (n *network) document(ctx context.Context, id envelope.AgentID) (*envelope.Document, error) {
	chain, err := n.replica.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	return chain[len(chain)-1], nil
}

// newest returns the newest record of a ref.
func (n *network) newest(ctx context.Context, ref envelope.Ref) (*envelope.Record, error) {
	data, _, err := n.replica.GetRecord(ctx, ref, 0)
	if err != nil {
		return nil, err
	}
	return envelope.ParseRecord(ref.Kind, data)
}

// publish stores a record of the box's own on the ring.
func (n *network) publish(ctx context.Context, kind envelope.RecordKind, s *envelope.Signed) error {
	_, err := n.replica.PutRecord(ctx, kind, s.Encode())
	return err
}
