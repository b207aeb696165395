package agentd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"l2p/agentd/admit"
	"l2p/agentd/member"
	"l2p/agentd/replica"
	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A network is what runs while the box is in a network: who takes part, who
// seems alive, and the copies that this node keeps and coordinates.
type network struct {
	node    *Agentd
	id      envelope.NetworkID
	boxName string
	roster  *admit.Roster
	issuer  *admit.Issuer // nil unless this box is the founder
	members *member.Members
	replica *replica.Replica

	ctx    context.Context // ends when the box leaves the network or the node stops
	cancel context.CancelFunc
	work   sync.WaitGroup
	differ chan envelope.NodeID  // nodes to compare rosters with now
	news   chan []wire.Statement // to merge, from handshakes
	moved  chan struct{}         // nodes came, went or have other addresses

	keyChange   sync.Mutex // held while the gossip key is replaced, on disk too
	mu          sync.Mutex
	ring        *ring.Ring
	founderNode envelope.NodeID // zero: not known yet
	gossipKey   admit.GossipKey
	// refused is since when other nodes have refused this one while none has
	// answered it; zero: one has.
	refused time.Time
}

// resume starts the network that the state directory knows, if there is one
// that the box takes part in.
func (a *Agentd) resume() error {
	roster, err := admit.OpenRoster(a.state.path(fileRoster))
	if envelope.KindOf(err) == envelope.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ok := roster.NodeBox(a.self); !ok {
		a.log.Warn("the box has no valid certificate in the network that it knows", "network", roster.Network())
		return nil
	}
	key, err := admit.ReadGossipKey(a.state.path(fileGossipKey), roster.RootKey())
	if err != nil {
		return err
	}
	return a.enter(roster, key)
}

// enter starts taking part in the network of a roster that certifies this node.
func (a *Agentd) enter(roster *admit.Roster, key admit.GossipKey) error {
	box, ok := roster.NodeBox(a.self)
	if !ok {
		return envelope.Errorf(envelope.Denied, "the network's roster has no certificate for this node")
	}
	n := &network{
		node:      a,
		id:        roster.Network(),
		boxName:   box.Name,
		gossipKey: key,
		roster:    roster,
		differ:    make(chan envelope.NodeID, 16),
		news:      make(chan []wire.Statement, 16),
		moved:     make(chan struct{}, 1),
		ring:      ring.New(roster.Nodes()),
	}
	root, err := a.state.key(fileRootKey)
	if err != nil {
		return err
	}
	if root != nil && roster.RootKey().Equal(root.Public()) {
		if n.issuer, err = admit.NewIssuer(root, roster, a.state.path(fileInvitations)); err != nil {
			return err
		}
	}
	if err := n.renew(); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return err
	}
	a.setNetwork(n)
	n.rosterChanged() // what has come since the ring was made
	for _, loop := range []func(){n.run, n.syncLoop, n.publishBox, n.bootstrap, n.announce, n.browse} {
		n.work.Go(loop)
	}
	a.log.Info("taking part", "network", n.id, "box", n.boxName, "nodes", len(roster.Nodes()), "founder", n.issuer != nil)
	return nil
}

// start makes the parts of a network.
func (n *network) start() (err error) {
	a := n.node
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.replica = replica.New(replica.Config{
		Self:  a.self,
		Store: a.store,
		Peers: peers{n},
		Ring:  n.currentRing,
		Alive: n.alive,
		Log:   a.log.With("part", "replica"),

		ScrubRate: a.cfg.ScrubRate,
	})
	n.members, err = member.New(member.Config{
		Endpoint:        a.endpoint,
		Key:             a.nodeKey,
		GossipKey:       n.gossipKey.Key,
		Advertise:       a.addrs()[0],
		Allowed:         n.takesPart,
		Digest:          n.roster.Digest,
		OnChange:        n.nodesChanged,
		OnRosterDiffers: n.compareWith,
		Peers:           a.state.readPeers(),
		Log:             a.log.With("part", "member"),
	})
	if err != nil {
		n.replica.Close()
		n.cancel()
	}
	return err
}

// run reconciles until the network ends.
func (n *network) run() {
	if err := n.replica.Run(n.ctx); err != nil {
		n.node.log.Error("reconciling has ended", "err", err)
	}
}

// pause ends taking part, for now or for good.
func (a *Agentd) pause() {
	n := a.network()
	if n == nil {
		return
	}
	n.members.Leave()
	a.savePeers(n)
	a.setNetwork(nil)
	n.cancel()
	n.work.Wait()
	n.members.Shutdown()
	n.replica.Close()
}

func (a *Agentd) savePeers(n *network) {
	if err := a.state.writePeers(n.members.Peers()); err != nil {
		a.log.Warn("cannot save where the other nodes are", "err", err)
	}
}

// nodesChanged is called when nodes came or went. Where they are is saved at
// once: a node that is killed must find its network again.
func (n *network) nodesChanged() {
	n.replica.Kick()
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

// authorize decides inside a handshake whether a node may connect.
func (n *network) authorize(p netq.Peer) error {
	news, err := n.roster.Authorize(p.Credentials, p.Key, time.Now())
	if err != nil {
		return err
	}
	if len(news) > 0 {
		select { // not here: a handshake must not wait for the disk
		case n.news <- news:
		default: // gossip will tell that rosters differ
		}
	}
	return nil
}

// rosterChanged acts on another roster: the ring follows it, whoever is no
// longer in it is cut off, and the others hear of it.
func (n *network) rosterChanged() {
	n.mu.Lock() // before the roster is read: of two changes the later one stays
	before, now := n.ring, ring.New(n.roster.Nodes())
	n.ring = now
	n.mu.Unlock()
	for _, was := range before.Nodes() {
		if !now.Contains(was.ID) {
			n.node.endpoint.Drop(was.ID)
		}
	}
	if !now.Contains(n.node.self) {
		n.node.log.Warn("this box has been taken out of the network", "network", n.id)
	}
	n.members.RosterChanged()
	n.replica.Kick()
}

func (n *network) currentRing() *ring.Ring {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ring
}

func (n *network) takesPart(id envelope.NodeID) bool {
	_, ok := n.roster.NodeBox(id)
	return ok
}

// others returns the other nodes that take part.
func (n *network) others() []envelope.NodeID {
	var ids []envelope.NodeID
	for _, node := range n.roster.Nodes() {
		if node.ID != n.node.self {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

// alive is a hint.
func (n *network) alive(id envelope.NodeID) bool { return n.members.Alive(id) }

// peers reaches the other nodes of a network, for replica.
type peers struct{ *network }

func (p peers) Call(ctx context.Context, id envelope.NodeID, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	return p.call(ctx, id, t, body, data, reply)
}

// call makes a request of another node. Requests between nodes may be made
// twice, so one that died with its connection (the node has restarted) is made
// again on a new one.
func (n *network) call(ctx context.Context, id envelope.NodeID, t wire.Type, body any, data []byte, reply any) (_ []byte, err error) {
	addr := n.members.Addr(id)
	if addr == "" {
		return nil, envelope.Errorf(envelope.Unavailable, "nobody knows where %s is", n.called(id))
	}
	// Who seems dead and didn't answer a moment ago isn't waited for. When it
	// comes back it says so by gossip, or is found by the attempts that package
	// member makes to reach the dead.
	if !n.alive(id) && n.node.endpoint.Silent(id) {
		return nil, envelope.Errorf(envelope.Unavailable, "%s at %s is down", n.called(id), addr)
	}
	defer func() { err = n.noteRefusal(err) }()
	for again := false; ; again = true {
		conn, err := n.node.endpoint.Node(ctx, id, addr)
		if err != nil {
			return nil, err
		}
		answer, err := conn.Call(ctx, t, body, data, reply)
		if err == nil || again || ctx.Err() != nil || envelope.KindOf(err) != envelope.Unavailable {
			return answer, err
		}
		select {
		case <-conn.Done():
		default:
			return nil, err
		}
	}
}

// noteRefusal remembers whether other nodes let this one in, and tells the
// operator what it means. An expelled box learns of it in this way only.
func (n *network) noteRefusal(err error) error {
	refused := errors.Is(err, netq.ErrRefused)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.refused = time.Time{}
	case refused && n.refused.IsZero():
		n.refused = time.Now()
	}
	if refused {
		return envelope.WithHint(err, "this box was expelled, or its certificate has expired: ask the network's founder for a ticket, and `l2p join` with it")
	}
	return err
}

// called returns how an operator calls a node: by its box.
func (n *network) called(id envelope.NodeID) string {
	if box, ok := n.roster.NodeBox(id); ok {
		return "box " + box.Name
	}
	return "node " + id.Short()
}

// refusedSince returns since when, in Unix seconds, all nodes that could be
// reached have refused this one; 0: they don't.
func (n *network) refusedSince() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused.IsZero() {
		return 0
	}
	return n.refused.Unix()
}

// pauseFor waits for d; it reports false when the network ends first.
func (n *network) pauseFor(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// founder returns the name and, if known, the address of the founder's box.
func (n *network) founder() (box, addr string) {
	n.mu.Lock()
	id := n.founderNode
	n.mu.Unlock()
	if b, ok := n.roster.NodeBox(id); ok {
		return b.Name, n.members.Addr(id)
	}
	return "", ""
}

// nodes returns the nodes as this one sees them.
func (n *network) nodes() []wire.NodeStatus {
	nodes := n.roster.Nodes()
	shares := n.currentRing().Shares()
	list := make([]wire.NodeStatus, 0, len(nodes))
	for _, node := range nodes {
		s := wire.NodeStatus{Node: node.ID, Box: node.Box, Share: shares[node.ID], Self: node.ID == n.node.self}
		if box, ok := n.roster.NodeBox(node.ID); ok {
			s.BoxName = box.Name
		}
		if s.Self {
			s.Addr, s.Alive = n.node.addrs()[0], true
		} else {
			s.Addr, s.Alive = n.members.Addr(node.ID), n.members.Alive(node.ID)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b wire.NodeStatus) int { return slices.Compare([]byte(a.BoxName), []byte(b.BoxName)) })
	return list
}
