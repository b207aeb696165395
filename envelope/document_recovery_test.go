package envelope

import (
	"crypto/ed25519"
	"slices"
	"testing"
)

// A paper is a recovery key, which signs for its agent without a version.
type paper struct {
	key   ed25519.PrivateKey
	agent AgentID
}

func (p paper) Agent() AgentID                 { return p.agent }
func (paper) DocumentVersion() uint64          { return 0 }
func (p paper) PrivateKey() ed25519.PrivateKey { return p.key }
func (p paper) public() []byte                 { return p.key.Public().(ed25519.PublicKey) }

// withPaper returns a copy of p, another agent, whose first document has a
// recovery key, and that key.
func withPaper(t testing.TB, p *player, admin Signer) (*player, paper) {
	t.Helper()
	d := *p.doc
	key := paper{key: seedOf("paper")}
	d.Recovery, d.signed = key.public(), nil
	doc, err := SignDocument(&d, nil, admin)
	if err != nil {
		t.Fatal(err)
	}
	key.agent = doc.ID()
	return &player{doc: doc, key: p.key, age: p.age}, key
}

// next returns the document after p's, changed and signed by p's key and, where
// the key is another, by the new one.
func (p *player) next(t testing.TB, change func(d *Document)) *player {
	t.Helper()
	d := after(p)
	change(d)
	doc, err := SignDocument(d, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return &player{doc: doc, key: p.key, age: p.age}
}

// recovery returns the unsigned recovery document after parent, with fresh's keys.
func recovery(parent, fresh *player) *Document {
	d := after(parent)
	d.Version = RecoveryVersion(parent.doc.Version)
	keysOf(d, fresh)
	if d.Group != nil {
		d.Group.Epoch, d.Group.Previous = d.Group.Epoch+1, Hash{1}
	}
	return d
}

// recovered signs d, a recovery document, as the rules want it.
func recovered(t testing.TB, d *Document, key paper, fresh *player) *player {
	t.Helper()
	doc, err := SignDocument(d, nil, key, claim{fresh, key.agent, d.Version})
	if err != nil {
		t.Fatal(err)
	}
	return &player{doc: doc, key: fresh.key, age: fresh.age}
}

// TestRecoveryRules breaks one rule of docs/keys.md in each recovery document.
func TestRecoveryRules(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam, key := withPaper(t, s.adam, newborn{s.adam.key})
	second := adam.next(t, func(d *Document) {})
	group, groupKey := withPaper(t, s.trainers, s.adam)
	fresh := newPlayer(t, "fresh", User, true)
	same := func(*Document) {}
	byKey := func(d *Document) []Signer { return []Signer{key, claim{fresh, adam.Agent(), d.Version}} }
	type signers func(d *Document) []Signer
	tests := map[string]struct {
		chain  []*player // the last is the parent
		change func(d *Document)
		by     signers
		kind   ErrorKind // 0: it passes
	}{
		"user":                 {[]*player{adam}, same, byKey, 0},
		"after the second":     {[]*player{adam, second}, same, byKey, 0},
		"another recovery key": {[]*player{adam}, func(d *Document) { d.Recovery = paper{key: seedOf("two")}.public() }, byKey, 0},
		"no recovery key":      {[]*player{adam}, func(d *Document) { d.Recovery = nil }, byKey, 0},
		"next but one":         {[]*player{adam}, func(d *Document) { d.Version *= 2 }, byKey, Corrupt},
		"unknown parent":       {[]*player{adam}, func(d *Document) { d.Parent = Hash{1} }, byKey, NotFound},
		"kind changed":         {[]*player{adam}, func(d *Document) { d.Kind = Service }, byKey, Corrupt},
		"old signing key": {[]*player{adam}, func(d *Document) { d.Keys = adam.doc.Keys }, func(d *Document) []Signer {
			return []Signer{key, claim{adam, adam.Agent(), d.Version}}
		}, Corrupt},
		"old recipient":   {[]*player{adam}, func(d *Document) { d.Recipient = adam.doc.Recipient }, byKey, Corrupt},
		"parent has none": {[]*player{s.eve}, func(d *Document) { d.Recovery = key.public() }, byKey, Corrupt},
		"by the old key":  {[]*player{adam}, same, func(d *Document) []Signer { return []Signer{adam, claim{fresh, adam.Agent(), d.Version}} }, Corrupt},
		"by the old as recovery": {[]*player{adam}, same, func(d *Document) []Signer {
			return []Signer{claim{adam, adam.Agent(), 0}, claim{fresh, adam.Agent(), d.Version}}
		}, Corrupt},
		"new key silent":       {[]*player{adam}, same, func(*Document) []Signer { return []Signer{key} }, Corrupt},
		"recovery key silent":  {[]*player{adam}, same, func(d *Document) []Signer { return []Signer{claim{fresh, adam.Agent(), d.Version}} }, Corrupt},
		"new key as version 2": {[]*player{adam}, same, func(*Document) []Signer { return []Signer{key, claim{fresh, adam.Agent(), 2}} }, Corrupt},
		"recovery as version 1": {[]*player{adam}, same, func(d *Document) []Signer {
			return []Signer{claim{&player{key: key.key}, adam.Agent(), 1}, claim{fresh, adam.Agent(), d.Version}}
		}, Corrupt},
		"for another": {[]*player{adam}, same, func(d *Document) []Signer {
			return []Signer{paper{key.key, s.eve.Agent()}, claim{fresh, adam.Agent(), d.Version}}
		}, Corrupt},
		"group": {[]*player{group}, same, func(d *Document) []Signer { return []Signer{groupKey, claim{fresh, group.Agent(), d.Version}} }, 0},
		"group, another admin": {[]*player{group}, func(d *Document) { d.Group.Admins = []AgentID{s.eve.Agent()} },
			func(d *Document) []Signer { return []Signer{groupKey, claim{fresh, group.Agent(), d.Version}} }, 0},
		"group, same epoch": {[]*player{group}, func(d *Document) { d.Group.Epoch, d.Group.Previous = 1, Hash{} },
			func(d *Document) []Signer { return []Signer{groupKey, claim{fresh, group.Agent(), d.Version}} }, Corrupt},
		"group, epoch skipped": {[]*player{group}, func(d *Document) { d.Group.Epoch = 3 },
			func(d *Document) []Signer { return []Signer{groupKey, claim{fresh, group.Agent(), d.Version}} }, Corrupt},
		"group by its admin": {[]*player{group}, same, func(*Document) []Signer { return []Signer{s.adam} }, Corrupt},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var chain []*Document
			for _, p := range test.chain {
				chain = append(chain, p.doc)
			}
			d := recovery(test.chain[len(test.chain)-1], fresh)
			test.change(d)
			got, err := parseDocument(signedAs(d, nil, test.by(d)...))
			if err != nil {
				t.Fatal("the form is wrong, not the chain: ", err)
			}
			err = VerifyDocument(t.Context(), got, chain, s.docs())
			if (err == nil) != (test.kind == 0) || err != nil && KindOf(err) != test.kind {
				t.Errorf("error %v, want kind %d", err, test.kind)
			}
			if err := VerifyChain(t.Context(), append(chain, got), s.docs()); (err == nil) != (test.kind == 0) {
				t.Errorf("the whole chain: %v", err)
			}
		})
	}
}

// TestRecoveryKeyStays: whoever has the ordinary keys sets a recovery key where
// there is none, and changes nothing else about it.
func TestRecoveryKeyStays(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam, key := withPaper(t, s.adam, newborn{s.adam.key})
	group, _ := withPaper(t, s.trainers, s.adam)
	other := paper{key: seedOf("two")}
	for name, test := range map[string]struct {
		of     *player
		signer Signer
		set    []byte
		ok     bool
	}{
		"kept": {adam, adam, key.public(), true}, "changed": {adam, adam, other.public(), false}, "removed": {adam, adam, nil, false},
		"added": {s.eve, s.eve, other.public(), true}, "group, changed": {group, s.adam, other.public(), false},
		"group, added": {s.trainers, s.adam, other.public(), true},
	} {
		d := after(test.of)
		d.Recovery = test.set
		got, err := parseDocument(signedAs(d, nil, test.signer))
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyDocument(t.Context(), got, []*Document{test.of.doc}, s.docs()); (err == nil) != test.ok || err != nil && KindOf(err) != Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestThief: what a thief with the ordinary key signs, before or after the
// owner recovers, ends up below the owner's document, and can't be put above.
func TestThief(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam, key := withPaper(t, s.adam, newborn{s.adam.key})
	fresh := newPlayer(t, "fresh", User, true)
	var branch []*player // the thief's, signed with adam's key
	for p, i := adam, 0; i < 5; i++ {
		p = p.next(t, func(d *Document) { d.Time = int64(i) })
		branch = append(branch, p)
	}
	r := recovered(t, recovery(adam, fresh), key, fresh) // leaves the whole branch behind
	late := recovered(t, recovery(branch[4], fresh), key, fresh)
	for _, p := range []*player{r, late} {
		if p.doc.Version != RecoveryStep || !p.doc.IsRecovery() {
			t.Fatalf("the recovery document has number %d", p.doc.Version)
		}
		for _, b := range branch {
			if !(Version{p.doc.Version, p.doc.Hash()}).Newer(Version{b.doc.Version, b.doc.Hash()}) {
				t.Errorf("version %d of the thief's wins", b.doc.Version)
			}
		}
	}
	chain := []*Document{adam.doc, r.doc}
	if err := VerifyChain(t.Context(), chain, nil); err != nil {
		t.Fatal(err)
	}
	// The thief goes on from the recovery document, and takes its number.
	for name, d := range map[string]*Document{
		"after it":   after(&player{doc: r.doc}),
		"in between": func() *Document { d := after(adam); d.Version = RecoveryStep; return d }(),
		"at the top": func() *Document { d := after(adam); d.Version = maxOrdinary - 1; return d }(),
		"beyond it":  func() *Document { d := after(adam); d.Version = RecoveryStep + 1; return d }(),
	} {
		got, err := parseDocument(signedAs(d, nil, adam))
		if err != nil {
			t.Fatal(err)
		}
		if VerifyDocument(t.Context(), got, chain, nil) == nil {
			t.Errorf("the thief's document %s passes", name)
		}
	}
	// The owner goes on, and recovers a second time.
	third := r.next(t, func(d *Document) { d.Name = "adam@a-tech" })
	if third.doc.Version != RecoveryStep+1 {
		t.Fatalf("version %d after the recovery", third.doc.Version)
	}
	again := newPlayer(t, "again", User, true)
	twice := recovered(t, recovery(third, again), key, again)
	chain = append(chain, third.doc, twice.doc)
	if err := VerifyChain(t.Context(), chain, nil); err != nil || twice.doc.Version != 2*RecoveryStep {
		t.Errorf("recovered twice, version %d: %v", twice.doc.Version, err)
	}
	// A number that the chain has passed.
	stale := recovered(t, recovery(adam, again), key, again)
	if err := VerifyDocument(t.Context(), stale.doc, chain, nil); err != nil {
		t.Errorf("another recovery of the same parent follows the rules: %v", err)
	}
	if (Version{stale.doc.Version, stale.doc.Hash()}).Newer(Version{twice.doc.Version, twice.doc.Hash()}) {
		t.Error("and it wins over the second")
	}
	if FindVersion(chain, 2) != nil || FindVersion(chain, RecoveryStep+1) != third.doc || FindVersion(nil, 1) != nil {
		t.Error("versions are not found by their number")
	}
	for n, want := range map[uint64]*Document{1: twice.doc, RecoveryStep: twice.doc, RecoveryStep + 1: twice.doc, 2 * RecoveryStep: nil} {
		if got := RevokedBy(chain, n); got != want {
			t.Errorf("version %d is revoked by %v", n, got)
		}
	}
}

// TestRevokedAuthor opens what was signed with keys that a recovery has revoked.
func TestRevokedAuthor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	adam, key := withPaper(t, s.adam, newborn{s.adam.key})
	fresh := newPlayer(t, "fresh", User, true)
	thief := adam.next(t, func(*Document) {})
	r := recovered(t, recovery(adam, fresh), key, fresh)
	docs := s.docs()
	docs[adam.Agent()] = []*Document{adam.doc, r.doc}
	for name, test := range map[string]struct {
		author *player
		state  AuthorState
	}{"before": {adam, Revoked}, "after": {r, Verified}} {
		sealed := sealWith(t, []byte("plan"), SealOptions{Author: test.author, Readers: []Recipient{s.eve.recipient(t)}})
		_, o := opened(t, sealed, OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: docs})
		if o.Author() != test.state || (o.RevokedBy() == r.doc) != (test.state == Revoked) {
			t.Errorf("sealed %s: state %d, revoked by %v", name, o.Author(), o.RevokedBy())
		}
	}
	// The thief's branch was left behind: nothing says whose key that was.
	sealed := sealWith(t, []byte("plan"), SealOptions{Author: thief, Readers: []Recipient{s.eve.recipient(t)}})
	opts := OpenOptions{Identities: []Identity{s.eve.identity()}, Documents: docs}
	refused(t, sealed, opts, NotFound)
	opts.AllowUnknownAuthor = true
	if _, o := opened(t, sealed, opts); o.Author() != Unknown {
		t.Errorf("state %d of what was left behind", o.Author())
	}
}

func TestRecoveryForm(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	key := paper{key: seedOf("paper")}.public()
	for name, test := range map[string]struct {
		of     *player
		change func(d *Document)
		ok     bool
	}{
		"user":         {s.adam, func(d *Document) { d.Recovery = key }, true},
		"service":      {s.learn, func(d *Document) { d.Recovery = key }, true},
		"group":        {s.trainers, func(d *Document) { d.Recovery = key }, true},
		"box":          {s.box, func(d *Document) { d.Recovery = key }, false},
		"short":        {s.adam, func(d *Document) { d.Recovery = key[:31] }, false},
		"long":         {s.adam, func(d *Document) { d.Recovery = append(slices.Clone(key), 0) }, false},
		"number":       {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = RecoveryStep, AgentID{1}, Hash{1} }, true},
		"number, box":  {s.box, func(d *Document) { d.Version, d.Agent, d.Parent = RecoveryStep, AgentID{1}, Hash{1} }, false},
		"many":         {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = maxOrdinary-1, AgentID{1}, Hash{1} }, true},
		"too many":     {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = maxOrdinary, AgentID{1}, Hash{1} }, false},
		"below":        {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = RecoveryStep-1, AgentID{1}, Hash{1} }, false},
		"many since":   {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = 7*RecoveryStep+maxOrdinary-1, AgentID{1}, Hash{1} }, true},
		"highest":      {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = 999*RecoveryStep, AgentID{1}, Hash{1} }, true},
		"out of range": {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = 1_000*RecoveryStep, AgentID{1}, Hash{1} }, false},
	} {
		d := *test.of.doc
		test.change(&d)
		if _, err := ParseDocument(signedAs(&d, nil, s.adam).Encode()); (err == nil) != test.ok || err != nil && KindOf(err) != Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}
