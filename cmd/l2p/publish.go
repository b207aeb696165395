package main

import (
	"context"
	"slices"
	"strings"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// fullName completes the name of a new agent or group: one without a box is of
// the box whose node is up.
func (s *session) fullName(ctx context.Context, name string) (envelope.Name, error) {
	if strings.Contains(name, "@") {
		return envelope.ParseName(name)
	}
	if err := envelope.CheckLocalName(name); err != nil {
		return envelope.Name{}, err
	}
	client, err := s.operatorIfUp(ctx)
	if err != nil || client.Welcome().BoxName == "" {
		return envelope.Name{}, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is the name of an agent at which box?", quoted(name)),
			"say it as %s@BOX, or make the box's node run (`l2p init`) first", name)
	}
	return envelope.Name{Local: name, Box: client.Welcome().BoxName}, nil
}

// operatorIfUp returns the connection to the own node if it is up and this user
// is its operator, and an error else. It asks for no passphrase.
func (s *session) operatorIfUp(ctx context.Context) (*netq.Client, error) {
	if s.client == nil && s.noNode == nil {
		addr, err := s.endpoint()
		if err != nil {
			return nil, err
		}
		node, _, err := parseEndpoint(addr)
		if err != nil {
			return nil, err
		}
		key, err := s.operatorKey(node)
		if err != nil {
			return nil, err
		}
		if key == nil {
			return nil, envelope.Errorf(envelope.Denied, "only the operator of the box gives out its names")
		}
	}
	client, err := s.nodeIfUp(ctx)
	if err != nil {
		return nil, err
	}
	if !client.Welcome().Operator {
		return nil, envelope.Errorf(envelope.Denied, "only the operator of the box gives out its names")
	}
	return client, nil
}

// publishAgent sends the network those documents of an agent that the keystore has
// and the network lacks.
func (s *session) publishAgent(ctx context.Context, client *netq.Client, id envelope.AgentID) error {
	chain, err := s.keystore.Chain(ctx, id)
	if err != nil {
		return err
	}
	last := chain[len(chain)-1]
	var known uint64
	// Bare, since a large group's key boxes take long.
	for r, err := range client.Records(ctx, wire.ListRecords{Kind: envelope.KindDocument, Owner: id, Bare: true}) {
		if is(err, envelope.NotFound) {
			break
		}
		if err != nil {
			return err
		}
		known = max(known, r.Version.N)
	}
	for _, d := range chain {
		if d.Version <= known {
			continue
		}
		if _, err := client.PutRecord(ctx, envelope.KindDocument, d.Signed().Encode()); err != nil {
			return err
		}
	}
	if last.Group == nil && slices.ContainsFunc(chain[:len(chain)-1], (*envelope.Document).HasAttachments) {
		return s.keystore.Published(ctx, id)
	}
	return nil
}

// An announcement says how far the world knows a new agent or group.
type announcement struct {
	Published bool `json:"published"` // the network has its documents
	Bound     bool `json:"bound"`     // the name means it
}

// announce publishes a new agent or group and binds its name, as far as a node
// is up and this user may, and says what remains to be done.
func (s *session) announce(ctx context.Context, d *envelope.Document, offline bool) (announcement, error) {
	var a announcement
	name, err := envelope.ParseName(d.Name)
	if err != nil {
		return a, err
	}
	todo := "l2p agent bind " + name.Local + " " + d.ID().String()
	if offline {
		s.remark("%s is known in this keystore only; with a node: %s", d.Name, todo)
		return a, nil
	}
	client, err := s.operatorIfUp(ctx)
	switch {
	case is(err, envelope.Unavailable):
		s.remark("no node is up, so %s is known in this keystore only; with one: %s", d.Name, todo)
		return a, nil
	case is(err, envelope.Denied):
		s.remark("the operator of box %s must import what `l2p agent export --public %s` writes, and run: %s", name.Box, d.Name, todo)
		return a, nil
	case err != nil:
		return a, err
	case client.Welcome().BoxName == "":
		s.remark("the node is in no network, so %s is known in this keystore only; after `l2p init` or `l2p join`: %s", d.Name, todo)
		return a, nil
	}
	if d.Group != nil { // nodes check its signature, by the admin's document
		for _, admin := range d.Group.Admins {
			if err := s.publishAgent(ctx, client, admin); err != nil {
				return a, err
			}
		}
	}
	if err := s.publishAgent(ctx, client, d.ID()); err != nil {
		return a, err
	}
	a.Published = true
	if client.Welcome().BoxName != name.Box {
		s.remark("the operator of box %s must run: %s", name.Box, todo)
		return a, nil
	}
	if err := client.Bind(ctx, wire.Bind{Name: name.Local, Agent: d.ID()}); err != nil {
		return a, err
	}
	a.Bound = true
	return a, nil
}

// checkFree refuses a name that means somebody already, before keys are made
// for it.
func (s *session) checkFree(ctx context.Context, name envelope.Name, offline bool) error {
	store, err := s.store()
	if err != nil {
		return err
	}
	if id, err := store.Pinned(name.String()); err == nil {
		return envelope.WithHint(envelope.Errorf(envelope.Conflict, "%s is taken: it means %s", name, id), "take another name")
	}
	if offline {
		return nil
	}
	if _, err := s.operatorIfUp(ctx); err != nil {
		return ctx.Err() // else the box will say when the name is bound
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	id, err := dir.search(ctx, name)
	switch {
	case is(err, envelope.NotFound):
		return nil
	case err != nil:
		return err
	case !id.IsZero():
		return envelope.WithHint(envelope.Errorf(envelope.Conflict, "%s is taken: it means %s", name, id), "take another name")
	}
	return nil
}
