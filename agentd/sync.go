package agentd

import (
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

const (
	syncEvery   = time.Minute     // rosters are compared with everybody's at least so often
	syncTimeout = 5 * time.Second // of one comparison
	renewEvery  = 24 * time.Hour  // certificates that expire are looked for
)

// renew renews the certificates that this box signs, long before they expire:
// its node's, and those of all boxes where it is the founder. They reach the
// other nodes as every change of the roster does.
func (n *network) renew() error {
	if n.issuer != nil {
		if _, err := n.issuer.Renew(time.Now()); err != nil {
			return err
		}
	}
	if !n.takesPart(n.node.self) {
		return nil
	}
	return n.roster.CertifyNode(n.node.box.key, n.node.nodeKey, 0, time.Now())
}

// credentials is what the node shows in handshakes, encoded; nil if the box has
// been expelled.
func (n *network) credentials() []byte {
	creds, ok := n.roster.Credentials(n.node.self)
	if !ok {
		return nil
	}
	encoded, err := envelope.Encode(creds)
	if err != nil {
		n.node.log.Error("the node's credentials can't be encoded", "err", err)
	}
	return encoded
}

// serveRoster answers with the statements that a caller lacks, and takes
// those that it passes on.
func (n *network) serveRoster(r *wire.RosterRequest) (*wire.RosterReply, error) {
	if len(r.Statements) > wire.MaxStatementsAtOnce {
		return nil, envelope.Errorf(envelope.Full, "%d statements at once, at most %d are allowed", len(r.Statements), wire.MaxStatementsAtOnce)
	}
	n.learn(r.Statements)
	missing, want := n.roster.Missing(r.Have)
	if missing == nil {
		missing = []wire.Statement{}
	}
	return &wire.RosterReply{Network: n.id, RootKey: n.roster.RootKey(), Statements: missing, Want: want}, nil
}

// compareWith has the rosters here and at another node compared soon. It
// doesn't block: if it can't be now, gossip or the next round asks again.
func (n *network) compareWith(id envelope.NodeID) {
	select {
	case n.differ <- id:
	default:
	}
}

// syncLoop compares rosters when gossip says that they differ, and with
// everybody once a minute.
func (n *network) syncLoop() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	n.syncWithAll()
	for {
		select {
		case <-n.ctx.Done():
			return
		case statements := <-n.news:
			n.learn(statements)
		case id := <-n.differ:
			n.syncAndLog(id)
		case <-renew.C:
			if err := n.renew(); err != nil {
				n.node.log.Error("certificates could not be renewed", "err", err)
			}
			n.rosterChanged()
		case <-n.moved:
			n.node.savePeers(n)
		case <-tick.C:
			n.syncWithAll()
			n.node.savePeers(n)
		}
	}
}

func (n *network) syncWithAll() {
	for _, id := range n.others() {
		n.syncAndLog(id)
	}
	n.findFounder()
}

func (n *network) syncAndLog(id envelope.NodeID) {
	if err := n.syncWith(n.ctx, id); err != nil && n.ctx.Err() == nil {
		n.node.log.Debug("rosters not compared", "node", id, "err", err)
	}
}

// findFounder asks the nodes that are alive which of them admits boxes, until
// it is known.
func (n *network) findFounder() {
	n.mu.Lock()
	known := n.issuer != nil || !n.founderNode.IsZero() && n.ring.Contains(n.founderNode)
	n.mu.Unlock()
	if known {
		return
	}
	for _, id := range n.others() {
		ctx, cancel := context.WithTimeout(n.ctx, syncTimeout)
		var s wire.StatusReply
		_, err := n.call(ctx, id, wire.TypeStatus, wire.Empty{}, nil, &s)
		cancel()
		if err == nil && s.Founder {
			n.mu.Lock()
			n.founderNode = id
			n.mu.Unlock()
			return
		}
	}
}

// learn merges statements into the roster and acts on what they change.
func (n *network) learn(statements []wire.Statement) {
	if len(statements) == 0 {
		return
	}
	changed, err := n.roster.Add(statements)
	if err != nil {
		n.node.rejected.add("statement", err.Error())
	}
	if changed {
		n.rosterChanged()
	}
}

// syncWith makes the roster here and that of another node the same.
func (n *network) syncWith(ctx context.Context, id envelope.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	var r wire.RosterReply
	if _, err := n.call(ctx, id, wire.TypeRoster, wire.RosterRequest{Have: n.roster.Hashes(), GossipSerial: n.currentGossipKey().Serial}, nil, &r); err != nil {
		return err
	}
	if r.Network != n.id {
		return envelope.Errorf(envelope.WrongNetwork, "node %s speaks of another network", id.Short())
	}
	n.learn(r.Statements)
	if len(r.GossipKey) > 0 {
		if err := n.learnGossipKey(r.GossipKey); err != nil {
			return err
		}
	}
	wanted := make(map[envelope.Hash]bool, len(r.Want))
	for _, h := range r.Want {
		wanted[h] = true
	}
	// What it lacks goes there: the key last, when it knows who is to have none.
	var key []byte
	if own := n.currentGossipKey(); r.GossipSerial < own.Serial {
		key = own.Encode()
	}
	if len(wanted) == 0 && key == nil {
		return nil
	}
	// Everything but what is wanted counts as known there.
	known := n.roster.Hashes()
	rest := known[:0]
	for _, h := range known {
		if !wanted[h] {
			rest = append(rest, h)
		}
	}
	give, _ := n.roster.Missing(rest)
	return n.give(ctx, id, give, key)
}

// give passes statements on to a node, and with the last of them a gossip key
// unless it is nil.
func (n *network) give(ctx context.Context, id envelope.NodeID, statements []wire.Statement, key []byte) error {
	for {
		part := statements[:min(len(statements), wire.MaxStatementsAtOnce)]
		statements = statements[len(part):]
		request := wire.RosterRequest{Have: n.roster.Hashes(), Statements: part, GossipSerial: n.currentGossipKey().Serial}
		if len(statements) == 0 {
			request.GossipKey = key
		}
		if _, err := n.call(ctx, id, wire.TypeRoster, request, nil, &wire.RosterReply{}); err != nil || len(statements) == 0 {
			return err
		}
	}
}
