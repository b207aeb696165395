package agentd

import (
	"context"
	"time"

	"l2p/agentd/replica"
	"l2p/netq/wire"
)

// welcome introduces the node.
func (a *Agentd) welcome() wire.Welcome {
	w := wire.Welcome{Node: a.self, Box: a.box.Agent(), Software: Software}
	if n := a.network(); n != nil {
		w.Network, w.BoxName = n.id, n.boxName
	}
	return w
}

// status is what `l2p status` shows.
func (a *Agentd) status() wire.StatusReply {
	kept := a.store.Stats()
	s := wire.StatusReply{
		Welcome:  a.welcome(),
		Nodes:    []wire.NodeStatus{},
		Records:  kept.Records,
		Segments: kept.Segments,
		Bytes:    kept.Bytes,
		Damaged:  kept.Damaged,
		DiskFree: kept.Free,
		DiskNeed: kept.Need,
		Requests: a.meter.requests.Load(),
		Failed:   a.meter.failed.Load(),
		Uptime:   int64(time.Since(a.started) / time.Second),
	}
	if n := a.network(); n != nil {
		s.Nodes = n.nodes()
		s.Founder = n.issuer != nil
		s.Behind = n.replica.Behind()
		if scrub := n.replica.Scrubbed(); !scrub.Done.IsZero() {
			s.Scrubbed, s.IndexDamaged = scrub.Done.Unix(), scrub.IndexDamaged
		}
		s.Sent, _ = n.replica.Moved()
		nodes := uint(n.currentRing().Len())
		s.K, s.W, s.R = min(replica.DefaultK, nodes), min(replica.DefaultW, nodes), min(replica.DefaultR, nodes)
		s.Pending = uint(n.waiting())
		s.Refused = n.refusedSince()
	}
	return s
}

// ring answers which nodes there are and, for a ref, who keeps what of it.
func (a *Agentd) ring(ctx context.Context, req *wire.Ring) (reply, error) {
	n := a.network()
	if n == nil {
		return reply{}, errNoNetwork()
	}
	r := wire.RingReply{Nodes: n.nodes()}
	if req.Ref == nil {
		return reply{body: r}, nil
	}
	var err error
	r.Record, r.Segments, err = n.replica.Holders(ctx, *req.Ref)
	return reply{body: r}, err
}
