package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"l2p/envelope"
	"l2p/keystore"
	"l2p/netq"
)

// A directory finds agents and groups: in the keystore and, where a node is
// up, in the network. What comes from there is verified and kept, so that it
// is known offline the next time. It is an envelope.Documents.
type directory struct {
	s      *session
	store  *keystore.Store
	client *netq.Client // nil: offline
	why    error        // why there is no client
	asked  map[envelope.AgentID]bool
	boxes  map[string]envelope.AgentID // of the roster; nil until asked for
	looked map[string]bool             // names that the network was asked for
	gone   map[envelope.Name]bool      // names of boxes that aren't in the network, of which was warned
}

// directory returns the session's directory. It asks the network if a node is
// up, and starts none.
func (s *session) directory(ctx context.Context) (*directory, error) {
	if s.dir != nil {
		return s.dir, nil
	}
	store, err := s.store()
	if err != nil {
		return nil, err
	}
	d := &directory{s: s, store: store, gone: make(map[envelope.Name]bool), asked: make(map[envelope.AgentID]bool), looked: make(map[string]bool)}
	d.client, d.why = s.nodeIfUp(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if d.why != nil && !is(d.why, envelope.Unavailable) {
		s.remark("working offline: %v", d.why)
	}
	s.dir = d
	return d, nil
}

// Chain returns the verified documents of an agent, oldest first.
func (d *directory) Chain(ctx context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	if d.client != nil && !d.asked[id] {
		d.asked[id] = true
		if err := d.refresh(ctx, id); err != nil {
			return nil, err
		}
	}
	chain, err := d.store.Chain(ctx, id)
	if is(err, envelope.NotFound) && d.client == nil {
		err = envelope.WithHint(err, "no node to ask: %v", d.why)
	}
	return chain, err
}

// newest returns the newest document of an agent.
func (d *directory) newest(ctx context.Context, id envelope.AgentID) (*envelope.Document, error) {
	chain, err := d.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	return chain[len(chain)-1], nil
}

// refresh brings the documents of an agent that the network has and the
// keystore has not into the keystore. A network that has none, or older ones
// only, changes nothing: it may not know yet.
func (d *directory) refresh(ctx context.Context, id envelope.AgentID) error {
	known, err := d.store.Chain(ctx, id)
	if err != nil && !is(err, envelope.NotFound) {
		return err
	}
	run, others, err := d.newRun(ctx, id, known, false)
	if err != nil {
		return d.offline(ctx, err, len(known) > 0)
	}
	if len(run) == 0 {
		return nil
	}
	if run[0].Group != nil {
		err := d.learnGroup(ctx, known, run, others, false)
		return d.offline(ctx, err, len(known) > 0)
	}
	if err := d.complete(ctx, run); err != nil {
		return d.offline(ctx, err, len(known) > 0)
	}
	for _, doc := range run {
		if err := d.knowSigners(ctx, doc); err != nil {
			return err
		}
	}
	err = d.store.AddDocuments(ctx, run)
	if errors.Is(err, keystore.ErrOlder) {
		return nil
	}
	if is(err, envelope.Conflict) {
		return envelope.WithHint(err, "the network's wins: `l2p agent forget %s` lets the keystore learn it", id)
	}
	if err == nil {
		d.tellOfNewKeys(known, run)
	}
	return err
}

// offline turns an error of the network into a remark where the keystore can
// answer as well. A network that doesn't answer isn't asked again: each question
// takes seconds.
func (d *directory) offline(ctx context.Context, err error, known bool) error {
	if known && is(err, envelope.Unavailable) && ctx.Err() == nil {
		d.s.remark("working with what the keystore knows: %v", err)
		d.client, d.why = nil, err
		return nil
	}
	return err
}

// complete gets the attachments of those documents of a run whose keys may be
// needed: of a group the last of each epoch, of an own agent the newest.
func (d *directory) complete(ctx context.Context, run []*envelope.Document) error {
	own, err := d.store.Agents()
	if err != nil {
		return err
	}
	for i, doc := range run {
		last := i == len(run)-1
		switch {
		case doc.Group != nil && (last || run[i+1].Group != nil && run[i+1].Group.Epoch != doc.Group.Epoch):
		case last && !doc.Locked.IsZero() && slices.ContainsFunc(own, func(a *keystore.Agent) bool { return a.ID() == doc.ID() }):
		default:
			continue
		}
		whole, err := d.whole(ctx, doc)
		if err != nil {
			return err
		}
		run[i] = whole
	}
	return nil
}

// knowSigners sees to it that the admins who signed a group's document are
// known, as the keystore wants.
func (d *directory) knowSigners(ctx context.Context, doc *envelope.Document) error {
	if doc.Group == nil {
		return nil
	}
	for _, sig := range doc.Signed().Signatures {
		if sig.Signer.IsZero() || sig.Signer == doc.ID() {
			continue
		}
		if _, err := d.Chain(ctx, sig.Signer); err != nil {
			return err
		}
	}
	return nil
}

// agent returns the newest document of the agent or group that people call
// which: a name, the first part of a name in the keystore, or an id.
func (d *directory) agent(ctx context.Context, which string) (*envelope.Document, error) {
	id, err := d.resolve(ctx, which)
	if err != nil {
		return nil, err
	}
	return d.newest(ctx, id)
}

// resolveAll returns the ids that people mean. See agent.
func (d *directory) resolveAll(ctx context.Context, which []string) ([]envelope.AgentID, error) {
	var ids []envelope.AgentID
	for _, w := range which {
		id, err := d.resolve(ctx, w)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// resolve returns the id that which means. See agent.
func (d *directory) resolve(ctx context.Context, which string) (envelope.AgentID, error) {
	if strings.HasPrefix(which, "l2p1") && !strings.Contains(which, "@") {
		return envelope.ParseAgentID(which)
	}
	if !strings.Contains(which, "@") {
		return d.resolveLocal(which)
	}
	name, err := envelope.ParseName(which)
	if err != nil {
		return envelope.AgentID{}, err
	}
	return d.lookup(ctx, name)
}

// resolveLocal finds the one agent or group of the keystore whose name begins
// with local, before the @.
func (d *directory) resolveLocal(local string) (envelope.AgentID, error) {
	if err := envelope.CheckLocalName(local); err != nil {
		return envelope.AgentID{}, envelope.WithHint(err, "say an agent as eve@e-build or by its id")
	}
	names, err := d.store.Names()
	if err != nil {
		return envelope.AgentID{}, err
	}
	agents, err := d.store.Agents()
	if err != nil {
		return envelope.AgentID{}, err
	}
	for _, a := range agents {
		names = append(names, keystore.PinnedName{Name: a.Document.Name, Agent: a.ID()})
	}
	var found keystore.PinnedName
	for _, n := range names {
		if first, _, _ := strings.Cut(n.Name, "@"); first != local || n.Agent == found.Agent {
			continue
		}
		if !found.Agent.IsZero() {
			return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s may be %s or %s", local, found.Name, n.Name), "say the whole name")
		}
		found = n
	}
	if found.Agent.IsZero() {
		return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "the keystore knows no agent or group %s", quoted(local)),
			"say the whole name, such as %s@a-tech", local)
	}
	return found.Agent, nil
}

// lookup returns whom a name means. The keystore pins what it meant first: if
// the network says otherwise, that is an error of kind Conflict.
func (d *directory) lookup(ctx context.Context, name envelope.Name) (envelope.AgentID, error) {
	pinned, err := d.pinned(name.String())
	if err != nil && !is(err, envelope.NotFound) {
		return envelope.AgentID{}, err
	}
	if d.client == nil {
		if pinned.IsZero() {
			return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "%s is not known here", name), "no node to ask: %v", d.why)
		}
		return pinned, nil
	}
	binding, err := d.binding(ctx, name)
	if ctx.Err() != nil {
		return envelope.AgentID{}, ctx.Err()
	}
	if is(err, envelope.NotFound) && !pinned.IsZero() {
		if _, err := d.box(ctx, name.Box); is(err, envelope.NotFound) && !d.client.Welcome().Network.IsZero() && !d.gone[name] {
			d.gone[name] = true
			d.s.warn("box %s is not in the network; taking whom the keystore knows as %s", name.Box, name)
		}
		return pinned, nil
	}
	if err != nil {
		return pinned, d.offline(ctx, err, !pinned.IsZero())
	}
	found := binding.Agent
	if found.IsZero() {
		return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "the name %s means nobody any more", name), "say the agent by its id")
	}
	if own, err := d.s.ownAgent(name.String()); err == nil && own.ID() != found {
		d.s.warn("the keystore has an agent that calls itself %s, but the name means %s", name, found)
	}
	if err := d.store.Pin(name.String(), found); err != nil {
		return found, err
	}
	d.looked[name.String()] = true
	return found, d.store.MarkName(name.String(), binding.Revoked)
}

// pinned returns whom the keystore takes a name for: what it meant first, or
// an own agent that goes by it.
func (d *directory) pinned(name string) (envelope.AgentID, error) {
	id, err := d.store.Pinned(name)
	if !is(err, envelope.NotFound) {
		return id, err
	}
	a, err := d.store.FindAgent(name)
	if err != nil {
		return envelope.AgentID{}, err
	}
	return a.ID(), nil
}

// search asks the network whom a name means, and verifies the answer from the
// network's root key down: the box's certificate, the box's binding. The zero
// id means nobody any more.
func (d *directory) search(ctx context.Context, name envelope.Name) (envelope.AgentID, error) {
	b, err := d.binding(ctx, name)
	if err != nil {
		return envelope.AgentID{}, err
	}
	return b.Agent, nil
}

// binding is search; it returns all that the box says of the name.
func (d *directory) binding(ctx context.Context, name envelope.Name) (*envelope.Binding, error) {
	box, err := d.box(ctx, name.Box)
	if err != nil {
		return nil, err
	}
	data, _, err := d.client.GetRecord(ctx, envelope.Ref{Kind: envelope.KindBinding, Owner: box, Name: name.Local}, 0)
	if is(err, envelope.NotFound) {
		return nil, envelope.Errorf(envelope.NotFound, "box %s knows no %s", name.Box, name.Local)
	}
	if err != nil {
		return nil, err
	}
	r, err := envelope.ParseRecord(envelope.KindBinding, data)
	if err != nil {
		return nil, err
	}
	if r.Binding.Box != box || r.Binding.Name != name.Local {
		return nil, envelope.Errorf(envelope.Corrupt, "the node answers for another name than %s", name)
	}
	return r.Binding, r.Binding.Verify(ctx, d)
}

// box returns the agent of the box of that name in the network.
func (d *directory) box(ctx context.Context, name string) (envelope.AgentID, error) {
	if d.boxes == nil {
		network := d.client.Welcome().Network
		if network.IsZero() {
			return envelope.AgentID{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "the node is in no network, so it knows no box %s", name), "make one with `l2p init`, or join one with `l2p join`")
		}
		var err error
		if d.boxes, err = d.boxesIn(ctx, network); err != nil {
			return envelope.AgentID{}, err
		}
	}
	box, ok := d.boxes[name]
	if !ok {
		return envelope.AgentID{}, envelope.Errorf(envelope.NotFound, "the network has no box %s", quoted(name))
	}
	return box, nil
}

// groupsOf returns the groups that list an agent: those that the keystore knows
// and those that the network finds.
func (d *directory) groupsOf(ctx context.Context, member envelope.AgentID) ([]envelope.AgentID, error) {
	groups, err := d.store.GroupsOf(ctx, member)
	if err != nil || d.client == nil {
		return groups, err
	}
	for doc, err := range d.client.Memberships(ctx, member) {
		if is(err, envelope.NotFound) {
			break
		}
		if err != nil {
			return groups, d.offline(ctx, err, true)
		}
		// Who says that is a node; the group's own documents decide.
		if !slices.Contains(groups, doc.ID()) {
			groups = append(groups, doc.ID())
		}
	}
	return groups, nil
}

// called returns how to call an agent in a message: by name and id where the
// name is known to be the agent's, and else by id and what it says of itself.
func (d *directory) called(ctx context.Context, id envelope.AgentID) string {
	chain, err := d.Chain(ctx, id)
	if err != nil {
		return id.String()
	}
	claim := chain[len(chain)-1].Name
	if claim == "" {
		return id.String()
	}
	if d.isName(ctx, claim, id) {
		return claim + " (" + id.String() + ")"
	}
	return id.String() + " (which calls itself " + claim + ")"
}

// isName reports whether a name is known to mean an agent.
func (d *directory) isName(ctx context.Context, claim string, id envelope.AgentID) bool {
	if pinned, err := d.pinned(claim); err == nil {
		return pinned == id
	}
	name, err := envelope.ParseName(claim)
	if err != nil || d.client == nil {
		return false
	}
	found, err := d.lookup(ctx, name)
	return err == nil && found == id
}
