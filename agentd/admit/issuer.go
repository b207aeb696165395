package admit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// An Issuer decides who is admitted to a network. Only the founder's box has
// one, because it needs the root key. Its methods may be called from many
// goroutines.
type Issuer struct {
	root   ed25519.PrivateKey
	roster *Roster

	// mu makes each decision whole: who asks for the same name or with the
	// same secret at the same time waits until the first answer is on disk.
	mu          sync.Mutex
	invitations *invitations
	pending     *pending
}

// Found makes a new network: a roster at path with the certificate of the
// founder's box, which must be named like every other.
func Found(path string, root ed25519.PrivateKey, name string, agent envelope.AgentID, boxKey ed25519.PublicKey, now time.Time) (*Roster, error) {
	if err := envelope.CheckBoxName(name); err != nil {
		return nil, err
	}
	cert, err := issueNew(root, name, agent, boxKey, now)
	if err != nil {
		return nil, err
	}
	roster, err := CreateRoster(path, root.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	_, err = roster.Add([]wire.Statement{cert})
	return roster, err
}

// issueNew signs the first certificate of a box. The ring nonce is drawn here,
// after the box has fixed its key, so that nobody chooses where they sit.
func issueNew(root ed25519.PrivateKey, name string, agent envelope.AgentID, boxKey ed25519.PublicKey, now time.Time) (wire.Statement, error) {
	b := Box{Name: name, Agent: agent, Key: boxKey}
	if _, err := rand.Read(b.Nonce[:]); err != nil {
		return wire.Statement{}, err
	}
	return issue(root, &b, now)
}

// issue signs a box certificate.
func issue(root ed25519.PrivateKey, b *Box, now time.Time) (wire.Statement, error) {
	c := &wire.BoxCert{Format: 1, Network: envelope.NetworkIDOf(root.Public().(ed25519.PublicKey)), Name: b.Name, Agent: b.Agent, Key: b.Key, Nonce: b.Nonce}
	c.NotBefore, c.NotAfter = wire.CertTimes(now)
	s, err := wire.SignBoxCert(c, root)
	if err != nil {
		return wire.Statement{}, err
	}
	return wire.Statement{Kind: wire.StatementBox, Data: s.Encode()}, nil
}

// NewIssuer returns the issuer for the network of a roster. It keeps its
// invitations in the file at path, and finishes an admission that a crash
// interrupted.
func NewIssuer(root ed25519.PrivateKey, roster *Roster, path string) (*Issuer, error) {
	if !roster.RootKey().Equal(root.Public()) {
		return nil, envelope.Errorf(envelope.WrongNetwork, "the root key is not that of the network %s", roster.Network())
	}
	inv, err := openInvitations(path)
	if err != nil {
		return nil, err
	}
	if _, err := roster.Add(inv.certificates()); err != nil {
		return nil, err
	}
	return &Issuer{root: root, roster: roster, invitations: inv, pending: newPending()}, nil
}

// Invite makes a ticket that lets one box in under a name. addrs are where the
// founder's node can be reached; ttl is at most MaxInvitationTTL.
func (i *Issuer) Invite(name string, ttl time.Duration, addrs []string, now time.Time) (*wire.Ticket, error) {
	if err := envelope.CheckBoxName(name); err != nil {
		return nil, err
	}
	if ttl < time.Second || ttl > MaxInvitationTTL {
		return nil, envelope.Errorf(envelope.Usage, "an invitation is good for 1 second to %d days", MaxInvitationTTL/(24*time.Hour))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, taken := i.roster.BoxByName(name); taken {
		return nil, nameTaken(name)
	}
	t := &wire.Ticket{Format: 1, Network: i.roster.Network(), Name: name, Expires: now.Add(ttl).Unix(), Addrs: addrs}
	if _, err := rand.Read(t.Secret[:]); err != nil {
		return nil, err
	}
	if _, err := t.Text(); err != nil { // too long, or a bad address: before anything is kept
		return nil, err
	}
	return t, i.invitations.add(invitation{Secret: secretHash(t.Secret[:]), Name: name, Expires: t.Expires}, now)
}

// Ask answers a box that asks for admission from a connection whose TLS key is
// peer and whose other end is at from. A nil error means that the box is
// admitted, its certificate in the roster and on disk. Kind Unavailable means
// that it waits for the operator ([Issuer.Pending]); Denied, Conflict and
// Corrupt are final. A box that is admitted already is told so again, so that
// it may ask as often as answers get lost.
func (i *Issuer) Ask(ask *wire.Ask, peer ed25519.PublicKey, from string, now time.Time) error {
	request, signed, err := wire.ParseJoinRequest(ask.Request)
	if err != nil {
		return err
	}
	if err := i.checkRequest(request, peer); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if admitted, err := i.standing(request); admitted || err != nil {
		return err
	}
	if len(ask.Secret) > 0 {
		return i.redeem(ask.Secret, request, now)
	}
	return i.pending.ask(signed.Hash(), request, from, now)
}

// checkRequest checks what doesn't depend on who has been admitted.
func (i *Issuer) checkRequest(r *wire.JoinRequest, peer ed25519.PublicKey) error {
	if r.Network != i.roster.Network() {
		err := envelope.Errorf(envelope.WrongNetwork, "the request is for another network, %s", r.Network)
		return envelope.WithHint(err, "this one is %s", i.roster.Network())
	}
	if !peer.Equal(ed25519.PublicKey(r.Node)) {
		return envelope.Errorf(envelope.Denied, "the request is another node's")
	}
	d, err := envelope.ParseDocument(r.Document)
	if err != nil {
		return envelope.Errorf(envelope.Corrupt, "join request: the box's document: %w", err)
	}
	if d.Version != 1 || d.Kind != envelope.Box {
		// A later document needs the whole chain to prove the agent.
		return envelope.Errorf(envelope.Denied, "join request: the document must be the first of a box")
	}
	// No other documents are needed to verify the first one of a box.
	if err := envelope.VerifyDocument(context.Background(), d, nil, nil); err != nil {
		return envelope.Errorf(envelope.Corrupt, "join request: the box's document: %w", err)
	}
	if d.ID() != r.Agent || !bytes.Equal(d.SigningKey(), r.Key) {
		return envelope.Errorf(envelope.Corrupt, "join request: the document is another agent's or has another key")
	}
	return nil
}

// standing compares a request with the boxes that take part: the same box
// again is admitted already, and two can't share a name, an agent or a key.
func (i *Issuer) standing(r *wire.JoinRequest) (admitted bool, err error) {
	for _, b := range i.roster.Boxes() {
		sameKey, sameAgent, sameName := b.Key.Equal(ed25519.PublicKey(r.Key)), b.Agent == r.Agent, b.Name == r.Name
		switch {
		case sameKey && sameAgent && sameName:
			return true, nil
		case sameName:
			return false, nameTaken(r.Name)
		case sameAgent || sameKey:
			return false, envelope.Errorf(envelope.Conflict, "the box takes part as %s already", b.Name)
		}
	}
	return false, nil
}

func nameTaken(name string) error {
	return envelope.WithHint(envelope.Errorf(envelope.Conflict, "the network has a box named %s already", name), "choose another name")
}

// redeem lets in who knows the secret of an invitation. The invitation is
// spent, and that is on disk, before the certificate is in the roster.
func (i *Issuer) redeem(secret []byte, r *wire.JoinRequest, now time.Time) error {
	inv, err := i.invitations.find(secretHash(secret), now)
	if err != nil {
		return err
	}
	if inv.Name != r.Name {
		return envelope.Errorf(envelope.Denied, "the ticket is for a box named %s", inv.Name)
	}
	if len(inv.UsedBy) > 0 {
		// The same box would have been found in the roster, were it not revoked since.
		return envelope.WithHint(envelope.Errorf(envelope.Denied, "the ticket has been used"), "ask for a new one")
	}
	cert, err := issueNew(i.root, r.Name, r.Agent, r.Key, now)
	if err != nil {
		return err
	}
	if err := i.invitations.spend(inv.Secret, r.Key, cert.Data, now); err != nil {
		return err
	}
	i.pending.forget(r.Key)
	_, err = i.roster.Add([]wire.Statement{cert})
	return err
}

// Pending returns the boxes that wait for an answer, the longest first.
func (i *Issuer) Pending(now time.Time) []wire.PendingRequest {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pending.list(now)
}

// Admit lets in a box that waits. It learns of it when it asks again.
func (i *Issuer) Admit(request envelope.Hash, now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	w, err := i.pending.find(request, now)
	if err != nil {
		return err
	}
	if admitted, err := i.standing(w.request); admitted || err != nil {
		return err
	}
	cert, err := issueNew(i.root, w.request.Name, w.request.Agent, w.request.Key, now)
	if err != nil {
		return err
	}
	if _, err := i.roster.Add([]wire.Statement{cert}); err != nil {
		return err
	}
	i.pending.forget(w.request.Key)
	return nil
}

// Refuse turns down a box that waits. It is told when it asks again, for a day.
func (i *Issuer) Refuse(request envelope.Hash, now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	w, err := i.pending.find(request, now)
	if err != nil {
		return err
	}
	w.refused = true
	return nil
}

// Renew issues new certificates to those boxes whose own expire within
// [RenewBefore], with the same nonce, so that nothing moves on the ring. It
// reports whether there were any.
func (i *Issuer) Renew(now time.Time) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var renewed []wire.Statement
	for _, b := range i.roster.Boxes() {
		if !due(b.NotAfter, now) {
			continue
		}
		cert, err := issue(i.root, b, now)
		if err != nil {
			return false, err
		}
		renewed = append(renewed, cert)
	}
	if len(renewed) == 0 {
		return false, nil
	}
	return i.roster.Add(renewed)
}

// NewGossipKey is the function of that name, with the network's root key.
func (i *Issuer) NewGossipKey(serial uint64) (GossipKey, error) { return NewGossipKey(i.root, serial) }

// Expel revokes every certificate of a box, for good. The box may be admitted
// again only with a new certificate.
func (i *Issuer) Expel(agent envelope.AgentID, now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	revocations, err := i.roster.revoke(i.root, false, now, func(c *wire.BoxCert) bool { return c.Agent == agent })
	if err != nil {
		return err
	}
	_, err = i.roster.Add(revocations)
	return err
}
