package envelope

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
)

// after returns a copy of p's document as its next version, to be changed.
func after(p *player) *Document {
	d := *p.doc
	d.Version, d.Agent, d.Parent, d.signed = p.doc.Version+1, p.Agent(), p.doc.Hash(), nil
	if d.Group != nil {
		g := *d.Group
		g.Members, g.Admins, g.Boxes = slices.Clone(g.Members), slices.Clone(g.Admins), slices.Clone(g.Boxes)
		d.Group = &g
	}
	return &d
}

// keysOf gives d the keys of p.
func keysOf(d *Document, p *player) {
	d.Keys = p.doc.Keys
	if d.Recipient != "" {
		d.Recipient = p.doc.Recipient
	}
}

// A claim signs as somebody, whether that is true or not.
type claim struct {
	*player
	agent   AgentID
	version uint64
}

func (c claim) Agent() AgentID          { return c.agent }
func (c claim) DocumentVersion() uint64 { return c.version }

// TestChainRules breaks one rule of docs/keys.md in each second document.
func TestChainRules(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam := s.adam.Agent()
	fresh := newPlayer(t, "fresh", User, true)
	newKeys := func(d *Document) { keysOf(d, fresh) }
	newEpoch := func(d *Document) { newKeys(d); d.Group.Epoch, d.Group.Previous = 2, Hash{1} }
	same := func(*Document) {}
	old := claim{s.adam, adam, 1}
	tests := map[string]struct {
		of      *player
		change  func(d *Document)
		signers []Signer
		ok      bool
	}{
		"user":                     {s.adam, same, []Signer{old}, true},
		"service":                  {s.learn, same, []Signer{s.learn}, true},
		"box":                      {s.box, same, []Signer{s.box}, true},
		"another name":             {s.adam, func(d *Document) { d.Name = "adam@e-build" }, []Signer{old}, true},
		"another recipient":        {s.adam, func(d *Document) { d.Recipient = s.carl.doc.Recipient }, []Signer{old}, true},
		"kind changed":             {s.adam, func(d *Document) { d.Kind = Service }, []Signer{old}, false},
		"agent of another":         {s.adam, func(d *Document) { d.Agent = s.eve.Agent() }, []Signer{old}, false},
		"parent of another":        {s.adam, func(d *Document) { d.Parent = s.eve.doc.Hash() }, []Signer{old}, false},
		"signed by another":        {s.adam, same, []Signer{s.eve}, false},
		"another in his name":      {s.adam, same, []Signer{claim{s.eve, adam, 1}}, false},
		"as another version":       {s.adam, same, []Signer{claim{s.adam, adam, 2}}, false},
		"as nobody":                {s.adam, same, []Signer{claim{s.adam, AgentID{}, 1}}, false},
		"twice":                    {s.adam, same, []Signer{old, old}, false},
		"new key":                  {s.adam, newKeys, []Signer{old, claim{fresh, adam, 2}}, true},
		"new key alone":            {s.adam, newKeys, []Signer{claim{fresh, adam, 2}}, false},
		"new key silent":           {s.adam, newKeys, []Signer{old}, false},
		"new key first":            {s.adam, newKeys, []Signer{claim{fresh, adam, 2}, old}, false},
		"new key by another":       {s.adam, newKeys, []Signer{old, claim{s.eve, adam, 2}}, false},
		"new key as version 1":     {s.adam, newKeys, []Signer{old, claim{fresh, adam, 1}}, false},
		"new key without need":     {s.adam, same, []Signer{old, claim{s.adam, adam, 2}}, false},
		"group":                    {s.trainers, same, []Signer{s.adam}, true},
		"group by member":          {s.trainers, same, []Signer{s.eve}, false},
		"group by itself":          {s.trainers, same, []Signer{s.trainers}, false},
		"group by two":             {s.trainers, same, []Signer{s.adam, s.adam}, false},
		"group by unknown version": {s.trainers, same, []Signer{claim{s.adam, adam, 2}}, false},
		"group by version 0":       {s.trainers, same, []Signer{claim{s.adam, adam, 0}}, false},
		"group by forged admin":    {s.trainers, same, []Signer{claim{s.eve, adam, 1}}, false},
		"group by its new admin":   {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{s.eve.Agent()} }, []Signer{s.eve}, false},
		"group hands over":         {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{s.eve.Agent()} }, []Signer{s.adam}, true},
		"new epoch":                {s.trainers, newEpoch, []Signer{s.adam}, true},
		"new epoch, old key":       {s.trainers, func(d *Document) { newEpoch(d); d.Keys = s.trainers.doc.Keys }, []Signer{s.adam}, false},
		"new epoch, old recipient": {s.trainers, func(d *Document) { newEpoch(d); d.Recipient = s.trainers.doc.Recipient }, []Signer{s.adam}, false},
		"new keys, old epoch":      {s.trainers, newKeys, []Signer{s.adam}, false},
		"new key, old epoch":       {s.trainers, func(d *Document) { d.Keys = fresh.doc.Keys }, []Signer{s.adam}, false},
		"new recipient, old epoch": {s.trainers, func(d *Document) { d.Recipient = fresh.doc.Recipient }, []Signer{s.adam}, false},
		"member gone, old epoch":   {s.trainers, func(d *Document) { d.Group.Members, d.Group.Boxes = []Member{}, []Hash{} }, []Signer{s.adam}, false},
		"member replaced": {s.trainers, func(d *Document) { d.Group.Members = []Member{{ID: s.eve.Agent(), Version: 1}} },
			[]Signer{s.adam}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := after(test.of)
			test.change(d)
			got, err := parseDocument(signedAs(d, nil, test.signers...))
			if err != nil {
				t.Fatal("the form is wrong, not the chain: ", err)
			}
			err = VerifyDocument(t.Context(), got, []*Document{test.of.doc}, s.docs())
			if (err == nil) != test.ok {
				t.Errorf("error %v, want one: %v", err, !test.ok)
			}
			if kind := KindOf(err); err != nil && kind != Corrupt && kind != NotFound {
				t.Errorf("error %v is of kind %d", err, kind)
			}
		})
	}
}

// TestEpochsGoUpByOne needs a chain of more than two.
func TestEpochsGoUpByOne(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	chain := []*Document{s.trainers.doc}
	group := s.trainers
	next := func(epoch uint64, keys string) error {
		d := after(group)
		d.Group.Epoch, d.Group.Previous = epoch, Hash{1}
		if epoch == 1 {
			d.Group.Previous = Hash{}
		}
		keysOf(d, newPlayer(t, keys, User, true))
		signed, err := parseDocument(signedAs(d, nil, s.adam))
		if err != nil {
			return err
		}
		if err := VerifyDocument(t.Context(), signed, chain, s.docs()); err != nil {
			return err
		}
		group = &player{doc: signed}
		chain = append(chain, signed)
		return nil
	}
	for _, epoch := range []uint64{2, 3} {
		if err := next(epoch, string(rune('a'+epoch))); err != nil {
			t.Fatal(err)
		}
	}
	for _, epoch := range []uint64{1, 2, 3, 5} {
		if err := next(epoch, "x"); KindOf(err) != Corrupt {
			t.Errorf("epoch %d after 3: error %v", epoch, err)
		}
	}
	if err := VerifyChain(t.Context(), chain, s.docs()); err != nil {
		t.Error(err)
	}
}

// rotateTo returns p with its next document and the signing key made of what.
func rotateTo(t *testing.T, p *player, what string) *player {
	t.Helper()
	next := &player{key: seedOf(what), age: p.age}
	d := after(p)
	d.Keys = []SigningKey{{Ed25519, next.key.Public().(ed25519.PublicKey)}}
	next.doc = d // whose version the signature says
	doc, err := SignDocument(d, nil, p, next)
	if err != nil {
		t.Fatal(err)
	}
	next.doc = doc
	return next
}

// TestRotation changes a key twice; then every key is where it belongs.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	second := s.adam.rotate(t)
	third := rotateTo(t, second, "adam's third key")
	chain := []*Document{s.adam.doc, second.doc, third.doc}
	if err := VerifyChain(t.Context(), chain, nil); err != nil {
		t.Fatal(err)
	}
	if third.doc.ID() != s.adam.doc.ID() {
		t.Error("the id has changed")
	}
	docs := s.docs()
	docs[s.adam.Agent()] = chain
	// An admin signs with the key of the version that the signature says.
	for signer, ok := range map[Signer]bool{
		s.adam: true, third: true,
		claim{third, s.adam.Agent(), 1}: false, claim{s.adam, s.adam.Agent(), 3}: false,
	} {
		d, err := parseDocument(signedAs(after(s.trainers), nil, signer))
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyDocument(t.Context(), d, []*Document{s.trainers.doc}, docs); (err == nil) != ok {
			t.Errorf("version %d signs: %v", signer.DocumentVersion(), err)
		}
	}
	for name, bad := range map[string][]*Document{
		"none": {}, "without the first": chain[1:], "a gap": {chain[0], chain[2]}, "twice": {chain[0], chain[0]},
		"of two agents": {s.eve.doc, chain[1]}, "backwards": {chain[1], chain[0]},
	} {
		if VerifyChain(t.Context(), bad, nil) == nil {
			t.Errorf("a chain with %s passes", name)
		}
	}
	if err := VerifyDocument(t.Context(), chain[2], chain[:1], nil); KindOf(err) != NotFound {
		t.Errorf("a chain that is too short: %v", err)
	}
	if err := VerifyDocument(t.Context(), chain[1], chain, nil); err != nil {
		t.Errorf("a chain that goes further: %v", err)
	}
}

func TestFirstDocument(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	tests := map[string]struct {
		of      *player
		signers []Signer
		ok      bool
	}{
		"by itself":             {s.adam, []Signer{newborn{s.adam.key}}, true},
		"by another":            {s.adam, []Signer{newborn{s.eve.key}}, false},
		"in its own name":       {s.adam, []Signer{s.adam}, false},
		"of version 0":          {s.adam, []Signer{claim{s.adam, AgentID{}, 0}}, false},
		"twice":                 {s.adam, []Signer{newborn{s.adam.key}, newborn{s.adam.key}}, false},
		"group by admin":        {s.trainers, []Signer{s.adam}, true},
		"group by another":      {s.trainers, []Signer{s.eve}, false},
		"group by its own key":  {s.trainers, []Signer{newborn{s.trainers.key}}, false},
		"group by unknown hand": {s.trainers, []Signer{claim{s.adam, s.adam.Agent(), 9}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := parseDocument(signedAs(test.of.doc, nil, test.signers...))
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyDocument(t.Context(), d, nil, s.docs()); (err == nil) != test.ok {
				t.Errorf("error %v, want one: %v", err, !test.ok)
			}
		})
	}
	if err := VerifyDocument(t.Context(), s.trainers.doc, nil, knows(s.eve)); KindOf(err) != NotFound {
		t.Errorf("the admin is unknown: %v", err)
	}
	if err := VerifyChain(t.Context(), []*Document{s.trainers.doc}, nil); KindOf(err) != NotFound {
		t.Errorf("nobody is known: %v", err)
	}
}

// TestAdminKind: a group or a box can't be an admin, though it is listed.
func TestAdminKind(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, admin := range []*player{s.box, s.trainers} {
		group := newGroup(t, "odd", admin)
		if err := VerifyDocument(t.Context(), group.doc, nil, s.docs()); KindOf(err) != Corrupt {
			t.Errorf("a %s as admin: %v", admin.doc.Kind, err)
		}
	}
}

// counting counts how often documents are asked for.
type counting struct {
	known
	asked int
}

func (c *counting) Chain(ctx context.Context, id AgentID) ([]*Document, error) {
	c.asked++
	return c.known.Chain(ctx, id)
}

func TestVerifyChainAsksOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	chain := []*Document{s.trainers.doc}
	for range 20 {
		d, err := SignDocument(after(&player{doc: chain[len(chain)-1]}), nil, s.adam)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, d)
	}
	docs := &counting{known: s.docs()}
	if err := VerifyChain(t.Context(), chain, docs); err != nil || docs.asked != 1 {
		t.Errorf("asked %d times for one admin, %v", docs.asked, err)
	}
}

// TestFromRules: who reads a group from some epoch on begins with a new epoch,
// and may only be given more.
func TestFromRules(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	a, b := AgentID{1}, AgentID{2}
	version := func(parent *Document, epoch uint64, from map[AgentID]uint64) *Document {
		d := after(&player{doc: parent})
		d.Group.Epoch = epoch
		if epoch > 1 {
			d.Group.Previous = Hash{1}
		}
		if epoch != parent.Group.Epoch {
			keysOf(d, newPlayer(t, fmt.Sprint("epoch ", epoch), User, true))
		}
		d.Group.Admins, d.Group.Members, d.Group.Boxes = []AgentID{s.adam.Agent()}, nil, nil
		for _, id := range []AgentID{a, b} {
			if f, ok := from[id]; ok {
				d.Group.Boxes = append(d.Group.Boxes, Hash{1})
				d.Group.Members = append(d.Group.Members, Member{ID: id, Version: 1, Box: uint(len(d.Group.Members)), From: f})
			}
		}
		got, err := parseDocument(signedAs(d, nil, s.adam))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	second := version(s.trainers.doc, 2, map[AgentID]uint64{a: 2})
	tests := map[string]struct {
		epoch uint64
		from  map[AgentID]uint64
		ok    bool
	}{
		"as before":             {2, map[AgentID]uint64{a: 2}, true},
		"lifted":                {2, map[AgentID]uint64{a: 0}, true},
		"another from now":      {3, map[AgentID]uint64{a: 2, b: 3}, true},
		"another amidst":        {2, map[AgentID]uint64{a: 2, b: 2}, false},
		"another from the past": {3, map[AgentID]uint64{a: 2, b: 2}, false},
		"one who read all":      {3, map[AgentID]uint64{a: 3}, true},
	}
	for name, test := range tests {
		third := version(second, test.epoch, test.from)
		if err := VerifyDocument(t.Context(), third, []*Document{s.trainers.doc, second}, s.docs()); (err == nil) != test.ok {
			t.Errorf("%s: error %v, want one: %v", name, err, !test.ok)
		}
	}
}
