package agentd

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/discover"
	"l2p/netq/wire"
)

const (
	browseEvery   = 2 * time.Minute
	browseFor     = 3 * time.Second
	bootstrapWait = 10 * time.Second // between attempts, while nobody is reached
	publishWait   = 5 * time.Second  // between attempts to store the box's document
)

// announce tells the local network where the node is, until the network ends.
func (n *network) announce() {
	port := n.node.port()
	if !n.node.cfg.MDNS || port == 0 {
		return
	}
	info := discover.Info{Network: n.id, Node: n.node.self, BoxName: n.boxName, Port: port}
	if err := discover.Announce(n.ctx, info, n.node.log); err != nil && n.ctx.Err() == nil {
		n.node.log.Warn("cannot announce the node on the local network", "err", err)
	}
}

// browse looks for nodes of the own network on the local one, now and again.
// Others that answer are no concern of ours.
func (n *network) browse() {
	if !n.node.cfg.MDNS {
		return
	}
	for {
		found, err := discover.Browse(n.ctx, browseFor)
		if err != nil && n.ctx.Err() == nil {
			n.node.log.Debug("cannot look for nodes on the local network", "err", err)
		}
		var met []wire.Peer
		for _, f := range found {
			if f.Network == n.id && f.Node != n.node.self && n.takesPart(f.Node) && !n.alive(f.Node) {
				met = append(met, wire.Peer{Node: f.Node, Addr: f.Addr})
			}
		}
		n.meet(met)
		if !n.pauseFor(browseEvery) {
			return
		}
	}
}

// bootstrap goes to the addresses that the configuration names, until another
// node is alive or there are no others.
func (n *network) bootstrap() {
	n.meet(n.node.state.readPeers())
	for len(n.node.cfg.Bootstrap) > 0 {
		if slices.ContainsFunc(n.others(), n.alive) {
			return
		}
		var met []wire.Peer
		for _, addr := range n.node.cfg.Bootstrap {
			conn, err := n.node.endpoint.Dial(n.ctx, addr, netq.ProtoNode, envelope.NodeID{})
			if err != nil {
				n.node.log.Debug("cannot reach a bootstrap address", "addr", addr, "err", err)
				continue
			}
			met = append(met, wire.Peer{Node: conn.Peer().Node, Addr: addr})
			conn.Close()
		}
		n.meet(met)
		if !n.pauseFor(bootstrapWait) {
			return
		}
	}
}

// meet exchanges what is known of the network with nodes.
func (n *network) meet(nodes []wire.Peer) {
	if len(nodes) == 0 {
		return
	}
	if _, err := n.members.Join(n.ctx, nodes); err != nil && n.ctx.Err() == nil {
		n.node.log.Debug("no other node reached", "err", err)
	}
	for _, p := range nodes {
		n.compareWith(p.Node)
	}
}

// publishBox stores the box's document on the ring, where those who check its
// names look for it.
func (n *network) publishBox() {
	for {
		ctx, cancel := context.WithTimeout(n.ctx, publishTimeout)
		err := n.publish(ctx, envelope.KindDocument, n.node.box.doc.Signed())
		cancel()
		if err == nil {
			return
		}
		n.node.log.Debug("the box's document isn't stored yet", "err", err)
		if !n.pauseFor(publishWait) {
			return
		}
	}
}

// joinAtStart does what --join asks for.
func (a *Agentd) joinAtStart(ctx context.Context) {
	if a.cfg.Join == "" || a.network() != nil {
		return
	}
	req := &wire.Join{Ticket: a.cfg.Join}
	for {
		r, err := a.join(ctx, req)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !r.Waiting:
			return
		case err != nil && envelope.KindOf(err) != envelope.Unavailable:
			a.log.Error("cannot join the network", "err", err)
			return
		case err != nil:
			a.log.Warn("cannot join the network yet", "err", err)
		}
		t := time.NewTimer(publishWait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// port is the UDP port that the node listens on, or 0 if its socket has none.
func (a *Agentd) port() uint16 {
	var ap netip.AddrPort
	var addr net.Addr = a.endpoint.LocalAddr()
	ap, _ = addrPort(addr)
	return ap.Port()
}
