package agentd

import (
	"context"
	"time"

	"l2p/agentd/admit"
	"l2p/envelope"
	"l2p/netq/wire"
)

// expel takes another box out of the network for good, and sees to it that it
// can't read the gossip of those who stay. What the box kept is on others
// as well, who make up for its copies by reconciling.
func (a *Agentd) expel(ctx context.Context, req *wire.Expel) (*wire.ExpelReply, error) {
	if err := a.changing.acquire(ctx); err != nil {
		return nil, err
	}
	defer a.changing.release()
	n := a.network()
	if n == nil {
		return nil, errNoNetwork()
	}
	issuer, err := n.needIssuer()
	if err != nil {
		return nil, err
	}
	if req.Box == a.box.Agent() {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Denied, "the founder can't expel itself"), "`l2p leave` takes a box out of its network")
	}
	if _, ok := n.roster.BoxByAgent(req.Box); !ok {
		return nil, envelope.Errorf(envelope.NotFound, "no such box takes part in the network")
	}
	// The key is on disk first: a node that stops in between has expelled
	// nobody yet, and to expel then makes another key.
	key, err := issuer.NewGossipKey(n.currentGossipKey().Serial + 1)
	if err != nil {
		return nil, err
	}
	if err := key.Write(a.state.path(fileGossipKey)); err != nil {
		return nil, err
	}
	if err := issuer.Expel(req.Box, time.Now()); err != nil {
		return nil, err
	}
	n.rosterChanged()
	if err := n.useGossipKey(key); err != nil {
		return nil, err
	}
	told := n.tellRevocations(ctx, key.Encode())
	a.log.Info("a box has been expelled", "box", req.Box, "told", told)
	return &wire.ExpelReply{Told: uint(told), Others: uint(len(n.others()))}, nil
}

func (n *network) currentGossipKey() admit.GossipKey {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gossipKey
}

// learnGossipKey takes another key if it is newer than the current one.
func (n *network) learnGossipKey(data []byte) error {
	key, err := admit.ParseGossipKey(data, n.roster.RootKey())
	if err != nil {
		return err
	}
	n.keyChange.Lock() // of two keys the newer one is on disk in the end
	defer n.keyChange.Unlock()
	if key.Serial <= n.currentGossipKey().Serial {
		return nil
	}
	if err := key.Write(n.node.state.path(fileGossipKey)); err != nil {
		return err
	}
	return n.useGossipKey(key)
}

// useGossipKey has gossip sealed with a key that is on disk.
func (n *network) useGossipKey(key admit.GossipKey) error {
	n.mu.Lock()
	n.gossipKey = key
	n.mu.Unlock()
	return n.members.ReplaceGossipKey(key.Key)
}

// exchangeGossipKey takes the key that another node passes on with a roster
// request, and adds to the answer what that node lacks.
func (n *network) exchangeGossipKey(r *wire.RosterRequest, answer *wire.RosterReply) error {
	if len(r.GossipKey) > 0 {
		if err := n.learnGossipKey(r.GossipKey); err != nil {
			return err
		}
	}
	own := n.currentGossipKey()
	answer.GossipSerial = own.Serial
	if r.GossipSerial < own.Serial {
		answer.GossipKey = own.Encode()
	}
	return nil
}
