package keystore

import (
	"slices"
	"testing"

	"l2p/envelope"
)

// A side is what one side of a partition sees of a world: groups change there
// without the other side.
func (w *world) side() *world {
	s := newWorld()
	for id, chain := range w.chains {
		s.chains[id] = slices.Clone(chain)
	}
	return s
}

// forkOf returns the documents of a group on another side that this one lacks.
func (w *world) forkOf(other *world, group envelope.AgentID) []*envelope.Document {
	return other.chains[group][commonLength(w.chains[group], other.chains[group]):]
}

// sides orders two sides by which of their newest documents of a group wins.
func sides(t *testing.T, group envelope.AgentID, a, b *world) (won, lost *world) {
	t.Helper()
	if versionOf(b.newest(t, group)).Newer(versionOf(a.newest(t, group))) {
		return b, a
	}
	return a, b
}

func (w *world) resolve(t *testing.T, admin *Secrets, group envelope.AgentID, lost []*envelope.Document) *envelope.Document {
	t.Helper()
	d, err := ResolveGroup(t.Context(), admin, admin.Identities(), w, group, lost, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func membersOf(d *envelope.Document) []envelope.AgentID {
	var members []envelope.AgentID
	for _, m := range d.Group.Members {
		members = append(members, m.ID)
	}
	return members
}

// TestResolveAdditions: two admins add somebody at the same time.
func TestResolveAdditions(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	team := w.group(t, adam)
	w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
	a, b := w.side(), w.side()
	a.change(t, adam, team, GroupChange{Add: ids(carol)})
	b.change(t, eve, team, GroupChange{Add: ids(dora)})
	won, lost := sides(t, team, a, b)
	fork := won.forkOf(lost, team)
	if forks := Forks(won.chains[team], fork); len(forks) != 1 || forks[0].Base.Version != 2 || forks[0].Tip().Version != 3 {
		t.Fatalf("forks %v", forks)
	}
	d := won.resolve(t, adam, team, fork)
	if want := distinct(ids(adam, eve, carol, dora)); !slices.Equal(membersOf(d), want) || d.Group.Epoch != 1 {
		t.Errorf("%d members, epoch %d", len(d.Group.Members), d.Group.Epoch)
	}
	if forks := Forks(won.chains[team], fork); len(forks) != 0 {
		t.Errorf("the fork is still there: %v", forks)
	}
	_, err := ResolveGroup(t.Context(), adam, adam.Identities(), won, team, fork, false)
	wantKind(t, err, envelope.Usage)

	// The losing side goes on before it hears of that: only what is new is taken in.
	lost.change(t, eve, team, GroupChange{Remove: ids(carolOrDora(lost, team, carol, dora))})
	d = won.resolve(t, eve, team, won.forkOf(lost, team))
	if len(d.Group.Members) != 3 || d.Group.Epoch != 2 {
		t.Errorf("%d members, epoch %d", len(d.Group.Members), d.Group.Epoch)
	}
	if err := envelope.VerifyChain(t.Context(), won.chains[team], won); err != nil {
		t.Error(err)
	}
}

// carolOrDora returns which of the two is a member.
func carolOrDora(w *world, group envelope.AgentID, carol, dora *Secrets) *Secrets {
	if _, ok := w.chains[group][len(w.chains[group])-1].Member(carol.agent); ok {
		return carol
	}
	return dora
}

// TestResolveRemovals: each side removes somebody, and one adds whom the other
// has removed. Who stays reads what was sealed on either side.
func TestResolveRemovals(t *testing.T) {
	t.Parallel()
	for range 2 { // either side may win
		w := newWorld()
		adam, eve, carol, dora, frank := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora"), w.user(t, "frank")
		team := w.group(t, adam, ids(carol, dora)...)
		w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
		a, b := w.side(), w.side()
		a.change(t, adam, team, GroupChange{Remove: ids(carol)})
		b.change(t, eve, team, GroupChange{Remove: ids(dora)})
		b.change(t, eve, team, GroupChange{Add: ids(frank), FromNow: true})
		won, lost := sides(t, team, a, b)
		d := won.resolve(t, adam, team, won.forkOf(lost, team))
		if want := distinct(ids(adam, eve, frank)); !slices.Equal(membersOf(d), want) {
			t.Errorf("%d members: %v", len(d.Group.Members), membersOf(d))
		}
		// All that either side has sealed for opens for adam, through the
		// newest epoch alone.
		got, err := GroupSecrets(t.Context(), won.chains[team], adam.Identities())
		if err != nil {
			t.Fatal(err)
		}
		for _, side := range []*world{a, b} {
			for _, doc := range side.chains[team] {
				if !opensFor(t, got, doc.Recipient) {
					t.Errorf("version %d of a side can't be read any more", doc.Version)
				}
			}
		}
		// Those who were removed open nothing new, on neither side.
		for _, gone := range []*Secrets{carol, dora} {
			secrets, _ := GroupSecrets(t.Context(), won.chains[team], gone.Identities())
			if opensFor(t, secrets, d.Recipient) {
				t.Error("who was removed by one side opens the new epoch")
			}
		}
		if err := envelope.VerifyChain(t.Context(), won.chains[team], won); err != nil {
			t.Error(err)
		}
	}
}

// opensFor reports whether secrets open what is sealed for a recipient.
func opensFor(t *testing.T, secrets []*Secrets, recipient string) bool {
	t.Helper()
	for _, s := range secrets {
		for _, id := range s.identities {
			to := recipientFor(id).(interface{ String() string }).String()
			if to == recipient {
				return true
			}
		}
	}
	return false
}

// TestResolveByRemovedAdmin: the losing side removed the admin who resolves.
func TestResolveByRemovedAdmin(t *testing.T) {
	t.Parallel()
	for range 4 {
		w := newWorld()
		adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
		team := w.group(t, adam)
		w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
		a, b := w.side(), w.side()
		a.change(t, adam, team, GroupChange{Remove: ids(eve)})
		b.change(t, eve, team, GroupChange{Remove: ids(adam)})
		won, lost := sides(t, team, a, b)
		resolver, loser := adam, eve
		if won == b {
			resolver, loser = eve, adam
		}
		// The two have removed each other: who won is the only one left.
		_, err := ResolveGroup(t.Context(), loser, loser.Identities(), won, team, won.forkOf(lost, team), false)
		wantKind(t, err, envelope.Denied)
		_, err = ResolveGroup(t.Context(), resolver, resolver.Identities(), won, team, won.forkOf(lost, team), false)
		wantKind(t, err, envelope.Denied) // by somebody who is no admin any more
		// The losing epoch is closed to them, and stays so.
		d, err := ResolveGroup(t.Context(), resolver, resolver.Identities(), won, team, won.forkOf(lost, team), true)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(d.Group.Admins, ids(resolver)) || !slices.Equal(membersOf(d), ids(resolver)) {
			t.Errorf("admins %v, members %v", d.Group.Admins, membersOf(d))
		}

		// With a third admin it goes, but not by who was removed.
		w.change(t, adam, team, GroupChange{AddAdmins: ids(carol)})
		a, b = w.side(), w.side()
		a.change(t, adam, team, GroupChange{Add: ids(dora)})
		b.change(t, eve, team, GroupChange{Remove: ids(adam)})
		if won, lost = sides(t, team, a, b); won == a {
			_, err = ResolveGroup(t.Context(), adam, adam.Identities(), won, team, won.forkOf(lost, team), false)
			wantKind(t, err, envelope.Denied)
		}
	}
}

// TestStoreKeepsForks: a keystore learns both sides of a fork, in any order,
// and loses none.
func TestStoreKeepsForks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	team := w.group(t, adam)
	w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
	a, b := w.side(), w.side()
	a.change(t, adam, team, GroupChange{Add: ids(carol)})
	b.change(t, eve, team, GroupChange{Add: ids(dora)})
	b.change(t, eve, team, GroupChange{NewEpoch: true})
	resolved := b.side()
	resolved.resolve(t, adam, team, b.forkOf(a, team))
	store := func() *Store {
		s := testStore(t)
		for _, who := range ids(adam, eve) {
			if err := s.AddDocuments(t.Context(), w.chains[who]); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	check := func(s *Store, chain []*envelope.Document, lost int) {
		t.Helper()
		got, err := s.Chain(t.Context(), team)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(chain) || got[len(got)-1].Hash() != chain[len(chain)-1].Hash() {
			t.Errorf("the chain has %d documents, want %d, or is another", len(got), len(chain))
		}
		others, err := s.Lost(t.Context(), team)
		if err != nil || len(others) != lost {
			t.Errorf("%d lost documents, want %d (%v)", len(others), lost, err)
		}
	}
	for _, order := range [][]*world{{a, b}, {b, a}} {
		s := store()
		for _, side := range order {
			if err := s.AddDocuments(t.Context(), side.chains[team]); err != nil {
				t.Fatal(err)
			}
		}
		check(s, b.chains[team], 1)
		// What the losing side sealed opens, by its own key box.
		if opened, err := IdentitiesFor(t.Context(), carol, s, s.GroupsOf); len(opened) != 2 {
			t.Errorf("%d identities, %v", len(opened), err)
		}
		if err := s.AddDocuments(t.Context(), resolved.chains[team]); err != nil {
			t.Fatal(err)
		}
		check(s, resolved.chains[team], 1)
		wantOlder(t, s.AddDocuments(t.Context(), w.chains[team]))
		if err := s.Forget(team); err != nil {
			t.Fatal(err)
		}
		lost, err := s.Lost(t.Context(), team)
		if err != nil || len(lost) > 0 {
			t.Errorf("%d documents are not forgotten, %v", len(lost), err)
		}
	}

	// What was made here only gives way, and is not lost either.
	s := store()
	if err := s.AddDocuments(t.Context(), b.chains[team]); err != nil {
		t.Fatal(err)
	}
	if err := s.GiveWay(t.Context(), a.chains[team]); err != nil {
		t.Fatal(err)
	}
	check(s, a.chains[team], 2)
}

// TestRemovedAdminGoesOn: an admin who was removed goes on from an old copy,
// as far as he likes. Who knows of the removal doesn't follow.
func TestRemovedAdminGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, mallory, carol := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "mallory"), w.user(t, "carol")
	team := w.group(t, adam)
	w.change(t, adam, team, GroupChange{AddAdmins: ids(eve, mallory)})
	old := w.side()
	w.change(t, adam, team, GroupChange{Remove: ids(mallory)})
	old.change(t, mallory, team, GroupChange{Remove: ids(adam)})
	old.change(t, mallory, team, GroupChange{Add: ids(carol)})
	old.change(t, mallory, team, GroupChange{NewEpoch: true})

	s := testStore(t)
	for _, who := range ids(adam, eve, mallory) {
		if err := s.AddDocuments(t.Context(), w.chains[who]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddDocuments(t.Context(), w.chains[team]); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDocuments(t.Context(), old.chains[team]); err != nil {
		t.Fatal(err)
	}
	if err := s.GiveWay(t.Context(), old.chains[team]); err != nil {
		t.Fatal(err)
	}
	chain, err := s.Chain(t.Context(), team)
	if err != nil || chain[len(chain)-1].Hash() != w.newest(t, team).Hash() {
		t.Errorf("the keystore follows an admin who was removed: version %d, %v", chain[len(chain)-1].Version, err)
	}
	lost, err := s.Lost(t.Context(), team)
	if err != nil || len(Forks(chain, lost)) != 1 {
		t.Errorf("the attempt isn't shown: %d documents, %v", len(lost), err)
	}
	// From the newest copy he has no more luck.
	_, err = w.try(t, mallory, team, GroupChange{Add: ids(carol)})
	wantKind(t, err, envelope.Denied)
	forged, err := envelope.SignDocument(follow(w.newest(t, team)), w.newest(t, team).Signed().Attachments, mallory)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.AddDocuments(t.Context(), []*envelope.Document{forged}), envelope.Corrupt)
	// Adam, whom he has removed, puts an end to it.
	_, err = ResolveGroup(t.Context(), adam, adam.Identities(), w, team, lost, false)
	wantKind(t, err, envelope.Denied)
	d, err := ResolveGroup(t.Context(), adam, adam.Identities(), w, team, lost, true)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(membersOf(d), membersOf(w.newest(t, team))) || !d.IsAdmin(adam.agent) {
		t.Error("something of the fork was taken in")
	}
	if err := s.AddDocuments(t.Context(), []*envelope.Document{d}); err != nil {
		t.Fatal(err)
	}
	if chain, err = s.Chain(t.Context(), team); err != nil || len(Forks(chain, lost)) != 0 {
		t.Errorf("the fork is still shown (%v)", err)
	}
}

// TestFloodOfLostDocuments: an admin who was removed makes more versions than
// anybody keeps. Members learn what the others do all the same.
func TestFloodOfLostDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, mallory, carol := w.user(t, "adam"), w.user(t, "mallory"), w.user(t, "carol")
	team := w.group(t, adam)
	flood := []*envelope.Document{w.change(t, adam, team, GroupChange{AddAdmins: ids(mallory)})}
	w.change(t, adam, team, GroupChange{Remove: ids(mallory)})
	for range MaxLost + 5 {
		last := flood[len(flood)-1]
		next := follow(last)
		next.Group = last.Group
		d, err := envelope.SignDocument(next, last.Signed().Attachments, mallory)
		if err != nil {
			t.Fatal(err)
		}
		flood = append(flood, d)
	}
	s := testStore(t)
	for _, who := range ids(adam, mallory) {
		if err := s.AddDocuments(t.Context(), w.chains[who]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddDocuments(t.Context(), w.chains[team]); err != nil {
		t.Fatal(err)
	}
	w.change(t, adam, team, GroupChange{Add: ids(carol)})
	for range 2 {
		if err := s.AddDocuments(t.Context(), slices.Concat(w.chains[team], flood)); err != nil {
			t.Fatal(err)
		}
	}
	chain, err := s.Chain(t.Context(), team)
	if err != nil || chain[len(chain)-1].Hash() != w.newest(t, team).Hash() {
		t.Errorf("the keystore has version %d, %v", chain[len(chain)-1].Version, err)
	}
	lost, err := s.Lost(t.Context(), team)
	if err != nil || len(lost) != MaxLost || len(Forks(chain, lost)) != 1 {
		t.Errorf("%d lost documents are kept, %v", len(lost), err)
	}
}
