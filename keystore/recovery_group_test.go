package keystore

import (
	"testing"

	"l2p/envelope"
)

// TestRecoverGroup: the admin's keys are stolen. The thief takes the others out
// of the group; Eve, with the group's recovery key, takes it back.
func TestRecoverGroup(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	key := newKey(t)
	d, err := CreateGroup(t.Context(), adam, w, GroupOptions{Members: ids(eve, carol), Recovery: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	team := d.ID()
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	w.change(t, adam, team, GroupChange{Remove: ids(eve, carol)})
	stolen := w.chains[team]
	try := func(who *Secrets, key *RecoveryKey, r GroupRecovery) (*envelope.Document, error) {
		return RecoverGroup(t.Context(), who, who.Identities(), w, team, key, r)
	}
	for name, test := range map[string]struct {
		who  *Secrets
		key  *RecoveryKey
		r    GroupRecovery
		kind envelope.ErrorKind
	}{
		"another key":       {eve, newKey(t), GroupRecovery{Admins: ids(eve)}, envelope.Denied},
		"nobody":            {eve, key, GroupRecovery{}, envelope.Usage},
		"not a member":      {dora, key, GroupRecovery{Admins: ids(dora)}, envelope.NotReader},
		"herself":           {eve, key, GroupRecovery{Admins: ids(carol), Remove: ids(eve)}, envelope.Usage},
		"in and out":        {eve, key, GroupRecovery{Admins: ids(eve, carol), Remove: ids(carol)}, envelope.Usage},
		"a stranger leaves": {eve, key, GroupRecovery{Admins: ids(eve), Remove: ids(dora)}, envelope.NotFound},
	} {
		if _, err := try(test.who, test.key, test.r); envelope.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s: %v, want kind %d", name, err, test.kind)
		}
	}
	r, err := try(eve, key, GroupRecovery{Admins: ids(eve, dora), Remove: ids(adam)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != envelope.RecoveryStep || r.Parent != stolen[1].Hash() || r.Group.Epoch != 3 || r.IsAdmin(adam.agent) {
		t.Errorf("version %d, epoch %d", r.Version, r.Group.Epoch)
	}
	// A keystore that knows the thief's version takes it, and stays with it.
	s := testStore(t)
	for _, id := range ids(adam, eve, carol, dora) {
		if err := s.AddDocuments(t.Context(), w.chains[id]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddDocuments(t.Context(), stolen); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDocuments(t.Context(), []*envelope.Document{r}); err != nil {
		t.Fatal(err)
	}
	if got := mustChain(t, s, team); len(got) != 3 || got[2].Hash() != r.Hash() {
		t.Errorf("%d documents", len(got))
	}
	w.chains[team] = append(stolen[:2:2], r)
	for name, want := range map[*Secrets]string{eve: "[3 2 1]", carol: "[3 2 1]", dora: "[3 2 1]", adam: "[2 1]"} {
		if got := w.opens(t, name, team); got != want {
			t.Errorf("%s opens epochs %s, want %s", w.newest(t, name.agent).Name, got, want)
		}
	}
	// From here it goes on as ever.
	if _, err := w.try(t, adam, team, GroupChange{NewEpoch: true}); envelope.KindOf(err) != envelope.Denied {
		t.Errorf("the former admin changes it: %v", err)
	}
	if d := w.change(t, eve, team, GroupChange{Remove: ids(carol)}); d.Version != envelope.RecoveryStep+1 || d.Group.Epoch != 4 {
		t.Errorf("version %d, epoch %d", d.Version, d.Group.Epoch)
	}
	// Another recovery that leaves the first behind is no help to anybody.
	w.chains[team] = stolen
	other, err := try(carol, key, GroupRecovery{Admins: ids(carol)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddDocuments(t.Context(), []*envelope.Document{other}); err != nil {
		t.Fatal(err)
	}
	if got := mustChain(t, s, team); got[2].Hash() != r.Hash() {
		t.Error("the keystore has left a recovery behind")
	}
}

// TestStolenAdminKey: an admin is recovered and renews the group. Whoever stole
// the former key neither goes on from there nor from an older copy, whatever
// node helps.
func TestStolenAdminKey(t *testing.T) {
	t.Parallel()
	s, w, key := testStore(t), newWorld(), newKey(t)
	stolen := create(t, s, AgentOptions{Name: "adam@a-tech", Recovery: key.Public()})
	id := stolen.Agent()
	w.chains[id] = mustChain(t, s, id)
	eve := w.user(t, "eve")
	if err := s.AddDocuments(t.Context(), w.chains[eve.agent]); err != nil {
		t.Fatal(err)
	}
	team := w.group(t, stolen)
	old := w.side()

	adam, err := s.Recover(t.Context(), w.chains[id], key, RecoverOptions{Earlier: stolen})
	if err != nil {
		t.Fatal(err)
	}
	w.chains[id] = mustChain(t, s, id)
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	renewed := w.newest(t, team)
	if err := s.AddDocuments(t.Context(), w.chains[team]); err != nil {
		t.Fatal(err)
	}

	next := follow(renewed)
	next.Group = renewed.Group
	forged, err := envelope.SignDocument(next, renewed.Signed().Attachments, stolen)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.AddDocuments(t.Context(), []*envelope.Document{forged}), envelope.Corrupt)

	for range 3 {
		old.change(t, stolen, team, GroupChange{NewEpoch: true})
	}
	for range 2 {
		if err := s.AddDocuments(t.Context(), old.chains[team]); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := s.Newest(t.Context(), team); err != nil || d.Hash() != renewed.Hash() {
		t.Errorf("the keystore follows the thief to version %d, %v", d.Version, err)
	}
	if lost, err := s.Lost(t.Context(), team); err != nil || len(lost) != 3 {
		t.Errorf("the attempt isn't shown: %d documents, %v", len(lost), err)
	}
}
