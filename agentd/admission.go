package agentd

import (
	"context"
	"crypto/ed25519"
	"slices"
	"time"

	"l2p/agentd/admit"
	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// askTimeout is how long one address may take to answer a box that asks for
// admission.
const askTimeout = 10 * time.Second

// found makes a new network with this box as its founder.
func (a *Agentd) found(ctx context.Context, req *wire.Init) error {
	if err := a.changing.acquire(ctx); err != nil {
		return err
	}
	defer a.changing.release()
	if n := a.network(); n != nil {
		return inNetwork(n)
	}
	if err := envelope.CheckBoxName(req.BoxName); err != nil {
		return err
	}
	if err := a.forgetRoot(); err != nil {
		return err
	}
	root, err := a.state.makeKey(fileRootKey)
	if err != nil {
		return err
	}
	key, err := admit.NewGossipKey(root, 1)
	if err != nil {
		return err
	}
	if err := key.Write(a.state.path(fileGossipKey)); err != nil {
		return err
	}
	now := time.Now()
	roster, err := admit.Found(a.state.path(fileRoster), root, req.BoxName, a.box.Agent(), a.boxKey(), now)
	if err != nil {
		return err
	}
	if err := roster.CertifyNode(a.box.key, a.nodeKey, 0, now); err != nil {
		return err
	}
	return a.enter(roster, key)
}

func inNetwork(n *network) error {
	return envelope.WithHint(
		envelope.Errorf(envelope.Conflict, "this box is %s of the network %s already", n.boxName, n.id),
		"`l2p leave` takes it out")
}

// forgetRoot moves the root key of a network that the box has left out of the
// way, and its invitations. The key stays: who has it speaks for that network.
func (a *Agentd) forgetRoot() error {
	root, err := a.state.key(fileRootKey)
	if root == nil || err != nil {
		return err
	}
	old := envelope.NetworkIDOf(root.Public().(ed25519.PublicKey))
	if err := a.state.remove(fileInvitations); err != nil {
		return err
	}
	return a.state.rename(fileRootKey, "root-"+old.String()+".key")
}

// invite makes a ticket.
func (n *network) invite(inv *wire.Invite) (*wire.InviteReply, error) {
	issuer, err := n.needIssuer()
	if err != nil {
		return nil, err
	}
	if inv.TTL <= 0 || inv.TTL > int64(admit.MaxInvitationTTL/time.Second) {
		return nil, envelope.Errorf(envelope.Usage, "a ticket is good for 1 second to %d days", int(admit.MaxInvitationTTL.Hours()/24))
	}
	t, err := issuer.Invite(inv.BoxName, time.Duration(inv.TTL)*time.Second, n.node.addrs(), time.Now())
	if err != nil {
		return nil, err
	}
	text, err := t.Text()
	if err != nil {
		return nil, err
	}
	return &wire.InviteReply{Ticket: text, Expires: t.Expires}, nil
}

// needIssuer returns the issuer, or an error that says where it is.
func (n *network) needIssuer() (*admit.Issuer, error) {
	if n.issuer != nil {
		return n.issuer, nil
	}
	err := envelope.Errorf(envelope.Denied, "only the network's founder admits boxes, and this box is not the founder")
	if box, addr := n.founder(); addr != "" {
		return nil, envelope.WithHint(err, "ask at %s, %s", box, addr)
	}
	return nil, envelope.WithHint(err, "ask at the box that founded the network")
}

// admit answers a box that waits.
func (n *network) admit(req *wire.Admit) error {
	issuer, err := n.needIssuer()
	if err != nil {
		return err
	}
	if req.Refuse {
		return issuer.Refuse(req.Request, time.Now())
	}
	if err := issuer.Admit(req.Request, time.Now()); err != nil {
		return err
	}
	n.rosterChanged()
	return nil
}

// serveStranger answers a box that asks for admission.
func (a *Agentd) serveStranger(_ context.Context, req *netq.Request) (reply, error) {
	if req.Type != wire.TypeAsk {
		return reply{}, envelope.Errorf(envelope.Denied, "a stranger may only ask for admission")
	}
	n := a.network()
	if n == nil {
		return reply{}, envelope.Errorf(envelope.Unavailable, "the box at this address is in no network")
	}
	issuer, err := n.needIssuer()
	if err != nil {
		return reply{}, err
	}
	return decoded(req, func(ask *wire.Ask) (reply, error) {
		if err := issuer.Ask(ask, req.Peer.Key, req.Peer.Addr.String(), time.Now()); err != nil {
			return reply{}, err
		}
		n.rosterChanged()
		return reply{body: wire.Admission{
			RootKey:    n.roster.RootKey(),
			Statements: n.roster.Statements(),
			GossipKey:  n.currentGossipKey().Encode(),
			Peers:      append(n.members.Peers(), wire.Peer{Node: a.self, Addr: a.addrs()[0]}),
		}}, nil
	})
}

// lookAt asks which network is at an address.
func (a *Agentd) lookAt(ctx context.Context, req *wire.LookAt) (*wire.LookAtReply, error) {
	conn, box, err := a.dialJoin(ctx, req.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return &wire.LookAtReply{Network: conn.Peer().Credentials.Network(), BoxName: box.Name}, nil
}

// dialJoin connects to a node of some network, which its credentials prove.
func (a *Agentd) dialJoin(ctx context.Context, addr string) (*netq.Conn, *wire.BoxCert, error) {
	if err := wire.CheckAddr(addr, false); err != nil {
		return nil, nil, err
	}
	conn, err := a.endpoint.Dial(ctx, addr, netq.ProtoJoin, envelope.NodeID{})
	if err != nil {
		return nil, nil, err
	}
	p := conn.Peer()
	if p.Credentials == nil {
		conn.Close()
		return nil, nil, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the box at %s is in no network", addr),
			"found one there with `l2p init`, or invite it here")
	}
	box, _, err := wire.VerifyCredentials(p.Credentials, p.Key, time.Now())
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, box, nil
}

// join takes the box into a network. A reply that says Waiting is to be
// followed by the same request again.
func (a *Agentd) join(ctx context.Context, req *wire.Join) (*wire.JoinReply, error) {
	want, addrs, secret := req.Network, []string{req.Addr}, []byte(nil)
	name := req.BoxName
	switch {
	case req.Ticket != "" && req.Addr != "":
		return nil, envelope.Errorf(envelope.Usage, "join by a ticket or at an address, not both")
	case req.Ticket != "":
		t, err := wire.ParseTicket(req.Ticket)
		if err != nil {
			return nil, err
		}
		if name != "" && name != t.Name {
			return nil, envelope.Errorf(envelope.Usage, "the ticket is for a box named %s", t.Name)
		}
		want, addrs, secret, name = t.Network, t.Addrs, t.Secret[:], t.Name
	case want.IsZero():
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "which network do you expect at %+q?", req.Addr),
			"compare its fingerprint with what its operator tells you")
	}
	if err := envelope.CheckBoxName(name); err != nil {
		return nil, err
	}
	if err := a.changing.acquire(ctx); err != nil {
		return nil, err
	}
	defer a.changing.release()
	n := a.network()
	if n != nil && n.id != want {
		if err := n.mayLeave(); err != nil {
			return nil, err
		}
	}
	request, err := a.joinRequest(want, name)
	if err != nil {
		return nil, err
	}
	admission, err := a.askAny(ctx, addrs, want, &wire.Ask{Request: request.Encode(), Secret: secret})
	if n != nil && n.id == want {
		// Nothing is to be done, unless the box has been expelled or was away
		// for so long that its certificates have expired. A box that takes part
		// is let in whatever ticket it has; where the issuer isn't to be reached
		// what the box knows itself has to do.
		if admission != nil {
			n.learn(admission.Statements)
			if err := n.renew(); err != nil {
				return nil, err
			}
		}
		if err != nil && (envelope.KindOf(err) != envelope.Unavailable || n.certificateExpiry() < time.Now().Unix()) {
			return nil, err
		}
		if n.takesPart(a.self) {
			reply := n.joined()
			reply.Already = true
			return reply, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case admission == nil:
		return &wire.JoinReply{Waiting: true, Request: request.Hash(), Network: want, BoxName: name}, nil
	}
	if err := a.enterByAdmission(ctx, want, admission); err != nil {
		return nil, err
	}
	return a.network().joined(), nil
}

// joinRequest returns the request to join a network under a name: the same one
// as long as the box asks for the same, so that it can be told by its hash.
func (a *Agentd) joinRequest(network envelope.NetworkID, name string) (*envelope.Signed, error) {
	r := wire.JoinRequest{
		Format:   1,
		Network:  network,
		Name:     name,
		Document: a.box.doc.Signed().Encode(),
		Key:      a.boxKey(),
		Agent:    a.box.Agent(),
		Addr:     a.addrs()[0],
		Node:     a.nodeKey.Public().(ed25519.PublicKey),
	}
	if last := a.asked; last != nil {
		r.Time = last.Time
		if r.Network == last.Network && r.Name == last.Name && r.Addr == last.Addr {
			return wire.SignJoinRequest(&r, a.box.key) // Ed25519 signs the same the same way
		}
	}
	r.Time = time.Now().Unix()
	a.asked = &r
	return wire.SignJoinRequest(&r, a.box.key)
}

// askAny asks for admission at the first address that answers. It returns nil
// and no error while the request waits for the operator.
func (a *Agentd) askAny(ctx context.Context, addrs []string, want envelope.NetworkID, ask *wire.Ask) (*wire.Admission, error) {
	var first error
	for _, addr := range addrs {
		admission, answered, err := a.ask(ctx, addr, want, ask)
		if answered {
			return admission, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// ask asks for admission at one address. answered tells a final answer from an
// address at which nobody of the network is to be reached.
func (a *Agentd) ask(ctx context.Context, addr string, want envelope.NetworkID, ask *wire.Ask) (_ *wire.Admission, answered bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, _, err := a.dialJoin(ctx, addr)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	if got := conn.Peer().Credentials.Network(); got != want {
		return nil, false, envelope.WithHint(
			envelope.Errorf(envelope.WrongNetwork, "at %s is another network, %s", addr, got), "expected %s", want)
	}
	var admission wire.Admission
	switch _, err := conn.Call(ctx, wire.TypeAsk, ask, nil, &admission); {
	case err == nil:
		// Where it was reached counts for more than what it thinks of itself.
		at := wire.Peer{Node: conn.Peer().Node, Addr: addr}
		admission.Peers = append(slices.DeleteFunc(admission.Peers, func(p wire.Peer) bool { return p.Node == at.Node }), at)
		return &admission, true, nil
	case envelope.KindOf(err) == envelope.Unavailable && len(ask.Secret) == 0:
		return nil, true, nil // it waits
	case envelope.KindOf(err) == envelope.Unavailable:
		return nil, false, err
	default:
		return nil, true, err
	}
}

// enterByAdmission takes the box into the network that admitted it. What the
// box keeps stays, and goes to its places on the new ring by and by.
func (a *Agentd) enterByAdmission(ctx context.Context, want envelope.NetworkID, adm *wire.Admission) error {
	if len(adm.RootKey) != ed25519.PublicKeySize || envelope.NetworkIDOf(adm.RootKey) != want {
		return envelope.Errorf(envelope.WrongNetwork, "the answer came from another network than %s", want)
	}
	key, err := admit.ParseGossipKey(adm.GossipKey, adm.RootKey)
	if err != nil {
		return err
	}
	if n := a.network(); n != nil {
		if err := a.quit(ctx, n); err != nil {
			return err
		}
	}
	if err := a.forgetRoot(); err != nil {
		return err
	}
	if err := key.Write(a.state.path(fileGossipKey)); err != nil {
		return err
	}
	if err := a.state.writePeers(adm.Peers); err != nil {
		return err
	}
	roster, err := admit.CreateRoster(a.state.path(fileRoster), adm.RootKey)
	if err != nil {
		return err
	}
	if _, err := roster.Add(adm.Statements); err != nil {
		return err
	}
	if err := roster.CertifyNode(a.box.key, a.nodeKey, 0, time.Now()); err != nil {
		return err
	}
	return a.enter(roster, key)
}

// joined is the reply to a box that is in the network.
func (n *network) joined() *wire.JoinReply {
	return &wire.JoinReply{Network: n.id, BoxName: n.boxName, Boxes: uint(len(n.roster.Boxes()))}
}
