package keystore

import (
	"bytes"
	"context"
	"os"
	"testing"

	"l2p/envelope"
)

func TestAddDocuments(t *testing.T) {
	t.Parallel()
	w, s := newWorld(), testStore(t)
	adam := w.user(t, "adam")
	for range 3 {
		d, err := envelope.SignDocument(follow(w.newest(t, adam.agent)), nil, adam)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		adam.version = d.Version
	}
	chain := w.chains[adam.agent]
	add := func(docs ...*envelope.Document) error { return s.AddDocuments(t.Context(), docs) }
	wantKind(t, add(), envelope.Usage)
	wantKind(t, add(chain[1]), envelope.NotFound) // joins on to nothing
	if err := add(chain[:2]...); err != nil {
		t.Fatal(err)
	}
	wantKind(t, add(chain[3]), envelope.NotFound) // a gap
	wantKind(t, add(chain[0], chain[2]), envelope.Corrupt)
	wantKind(t, add(chain[1], w.newest(t, w.user(t, "eve").agent)), envelope.Corrupt)
	if err := add(chain...); err != nil {
		t.Fatal(err)
	}
	if err := add(chain[3]); err != nil {
		t.Error(err)
	}
	wantOlder(t, add(chain[:3]...))
	fork := follow(chain[2])
	fork.Time++
	adam.version = 3
	fork, err := envelope.SignDocument(fork, nil, adam)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, add(fork), envelope.Conflict)
	if got, err := s.Chain(t.Context(), adam.agent); err != nil || len(got) != 4 || got[3].Hash() != chain[3].Hash() {
		t.Errorf("%d documents known, %v", len(got), err)
	}
	if err := s.Forget(adam.agent); err != nil {
		t.Fatal(err)
	}
	if err := add(append(chain[:3:3], fork)...); err != nil {
		t.Error(err)
	}
	_, err = s.Chain(t.Context(), envelope.AgentID{1})
	wantKind(t, err, envelope.NotFound)

	own := create(t, s, AgentOptions{})
	wantKind(t, s.Forget(own.Agent()), envelope.Usage)
}

func TestDamagedDocument(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	a := create(t, s, AgentOptions{Passphrase: []byte("p")})
	if _, err := s.Passwd(t.Context(), a.Agent(), []byte("p"), []byte("q")); err != nil {
		t.Fatal(err)
	}
	path := s.path(documentsDir, a.Agent().String(), "1")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		// Signatures were checked before they were written; all else counts.
		if chain, err := s.Chain(t.Context(), a.Agent()); err != nil {
			wantKind(t, err, envelope.Corrupt)
		} else if envelope.VerifyChain(t.Context(), chain, s) == nil {
			t.Errorf("a bit changed at %d goes unnoticed", i)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = s.Chain(t.Context(), a.Agent())
	wantKind(t, err, envelope.Corrupt)
}

// TestGroupDocuments checks which attachments stay, and that they are enough.
func TestGroupDocuments(t *testing.T) {
	t.Parallel()
	w, s := newWorld(), testStore(t)
	adam, eve := w.user(t, "adam"), w.user(t, "eve")
	team := w.group(t, adam, eve.agent)
	w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	w.change(t, adam, team, GroupChange{RemoveAdmins: ids(eve)})
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	chain := w.chains[team]
	wantKind(t, s.AddDocuments(t.Context(), chain), envelope.NotFound) // its admin is not known yet
	for _, id := range ids(adam, eve) {
		if err := s.AddDocuments(t.Context(), w.chains[id]); err != nil {
			t.Fatal(err)
		}
	}
	check := func(bare bool) {
		t.Helper()
		got, err := s.Chain(t.Context(), team)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{false, true, false, true, true} {
			if has := len(got[i].Signed().Attachments) > 0; has != (want && !bare) {
				t.Errorf("version %d has attachments: %v", i+1, has)
			}
		}
	}
	var bare []*envelope.Document
	for _, d := range chain {
		bare = append(bare, d.Bare())
	}
	if err := s.AddDocuments(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	check(true)
	for i := range chain { // one by one, so that what is superseded is stripped
		_ = s.AddDocuments(t.Context(), chain[i:])
	}
	check(false)
	if err := s.AddDocuments(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	check(false)
	// All at once, they are stripped as they come.
	if err := s.Forget(team); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDocuments(t.Context(), chain); err != nil {
		t.Fatal(err)
	}
	check(false)
	groups := func(ctx context.Context, id envelope.AgentID) ([]envelope.AgentID, error) { return s.GroupsOf(ctx, id) }
	got, err := IdentitiesFor(t.Context(), eve, s, groups)
	if err != nil || len(got) != 1+3 {
		t.Errorf("%d identities, %v; want her own and three epochs'", len(got), err)
	}
}
