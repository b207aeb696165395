package keystore

import (
	"bytes"
	"crypto/ed25519"
	"strconv"
	"strings"
	"testing"

	"l2p/envelope"
)

func newKey(t testing.TB) *RecoveryKey {
	t.Helper()
	key, err := NewRecoveryKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustChain(t testing.TB, s *Store, id envelope.AgentID) []*envelope.Document {
	t.Helper()
	chain, err := s.Chain(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := envelope.VerifyChain(t.Context(), chain, s); err != nil {
		t.Fatal(err)
	}
	return chain
}

// canRead reports whether somebody opens what is sealed for the recipient of d.
func canRead(t testing.TB, who *Secrets, d *envelope.Document) bool {
	t.Helper()
	to, err := recipientOf(d.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := newWorld().probe(t).sealFor(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = openSecrets(sealed, who.identities...)
	return err == nil
}

func TestRecoveryKeyText(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	text := key.Text()
	if len(text) != 72 || !strings.HasPrefix(text, "L2P-RECOVERY-1") {
		t.Fatalf("the key looks like %d characters", len(text))
	}
	for _, typed := range []string{text, strings.ToLower(text), " " + text[:20] + " " + text[20:40] + "\n" + text[40:] + "\n"} {
		again, err := ParseRecoveryKey(typed)
		if err != nil || !again.Public().Equal(key.Public()) {
			t.Errorf("typed otherwise: %v", err)
		}
	}
	for _, bad := range []string{"", text[:71], text + "Q", strings.Replace(text, "RECOVERY", "SECRET", 1), text[:30] + "B" + text[31:], strings.Repeat("x", 2000)} {
		_, err := ParseRecoveryKey(bad)
		wantKind(t, err, envelope.Usage)
		if len(bad) > 40 && err != nil && strings.Contains(err.Error(), bad[20:40]) {
			t.Error("the error shows the key")
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]AgentOptions{
		"locked": {Passphrase: []byte("p")}, "local": {Passphrase: []byte("p"), KeepKeysLocal: true}, "plain": {}, "classic": {Classic: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testStore(t)
			pass := string(o.Passphrase)
			id := create(t, s, o).Agent()
			first := mustChain(t, s, id)[0]
			for range 2 {
				if _, err := s.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte(pass)}); err != nil {
					t.Fatal(err)
				}
			}
			chain := mustChain(t, s, id)
			last := chain[len(chain)-1]
			if len(chain) != 3 || last.ID() != id || last.Recipient == chain[1].Recipient || last.SigningKey().Equal(chain[1].SigningKey()) {
				t.Fatalf("%d documents, the last with the same keys", len(chain))
			}
			if last.Locked.IsZero() != first.Locked.IsZero() || isHybrid(last.Recipient) != isHybrid(first.Recipient) {
				t.Error("the keys are kept in another way, or of another type, than before")
			}
			secrets, err := s.Unlock(id, []byte(pass))
			if err != nil {
				t.Fatal(err)
			}
			if secrets.DocumentVersion() != 3 {
				t.Errorf("signs as version %d", secrets.DocumentVersion())
			}
			for _, d := range chain {
				if !canRead(t, secrets, d) {
					t.Errorf("can't read what was sealed for version %d", d.Version)
				}
			}
		})
	}
	s := testStore(t)
	id := create(t, s, AgentOptions{Passphrase: []byte("p")}).Agent()
	_, err := s.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte("q")})
	wantKind(t, err, envelope.Denied)
	key := newKey(t)
	if _, err := s.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte("p"), Recovery: key.Public()}); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Newest(t.Context(), id); err != nil || !d.RecoveryKey().Equal(key.Public()) {
		t.Errorf("no recovery key: %v", err)
	}
	_, err = s.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte("p"), Recovery: newKey(t).Public()})
	wantKind(t, err, envelope.Denied)
}

// TestRecover: Adam's laptop is stolen. The thief rotates his keys; he recovers
// on a fresh machine, with what the network has.
func TestRecover(t *testing.T) {
	t.Parallel()
	laptop, fresh := testStore(t), testStore(t)
	key := newKey(t)
	id := create(t, laptop, AgentOptions{Name: "adam@a-tech", Passphrase: []byte("p"), Recovery: key.Public()}).Agent()
	first, err := laptop.Newest(t.Context(), id) // with attachments, as the network keeps it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := laptop.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	stolen, err := laptop.Passwd(t.Context(), id, []byte("p"), []byte("thief's"))
	if err != nil {
		t.Fatal(err)
	}
	chain := mustChain(t, laptop, id)
	chain[0], chain[2] = first, stolen

	wrong := func(key *RecoveryKey, chain []*envelope.Document, kind envelope.ErrorKind) {
		t.Helper()
		_, err := fresh.Recover(t.Context(), chain, key, RecoverOptions{})
		wantKind(t, err, kind)
	}
	wrong(newKey(t), chain, envelope.Denied)
	wrong(key, nil, envelope.Usage)

	for pass, kind := range map[string]envelope.ErrorKind{"": envelope.Denied, "x": envelope.Denied} {
		_, err := fresh.Earlier(chain, []byte(pass))
		wantKind(t, err, kind)
	}
	earlier, err := fresh.Earlier(chain, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Recover(t.Context(), chain, key, RecoverOptions{Passphrase: []byte("new"), Earlier: earlier, Name: "adam2@a-tech"}); err != nil {
		t.Fatal(err)
	}
	got := mustChain(t, fresh, id)
	r := got[len(got)-1]
	if !r.IsRecovery() || len(got) != 4 || r.Locked.IsZero() || r.Name != "adam2@a-tech" || !r.RecoveryKey().Equal(key.Public()) {
		t.Fatalf("%d documents, the last is version %d", len(got), r.Version)
	}
	secrets, err := fresh.Unlock(id, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if !canRead(t, secrets, first) || !canRead(t, secrets, r) {
		t.Error("can't read what was sealed before, or since")
	}
	// The laptop's keystore learns it, and its keys are of no use.
	if err := laptop.AddDocuments(t.Context(), got[3:]); err != nil {
		t.Fatal(err)
	}
	if _, err := laptop.Unlock(id, []byte("thief's")); err == nil {
		t.Error("the thief's passphrase opens the new keys")
	}
	// He goes on, and recovers once more where he has the keystore.
	if _, err := fresh.Rotate(t.Context(), id, RotateOptions{Passphrase: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	again, err := fresh.Earlier(mustChain(t, fresh, id), []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	paper := newKey(t)
	if secrets, err = fresh.Recover(t.Context(), mustChain(t, fresh, id), key, RecoverOptions{Earlier: again, Recovery: paper.Public()}); err != nil {
		t.Fatal(err)
	}
	got = mustChain(t, fresh, id)
	if r = got[len(got)-1]; r.Version != 2*envelope.RecoveryStep || !r.RecoveryKey().Equal(paper.Public()) || !canRead(t, secrets, first) {
		t.Errorf("recovered twice: version %d", r.Version)
	}
	// An exported agent has the same gaps.
	data, err := fresh.Export(t.Context(), id, true)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := testStore(t).Import(t.Context(), data); err != nil || a.Document.Hash() != r.Hash() {
		t.Errorf("import: %v", err)
	}
}

// TestLeaveBehind: a keystore that has learnt a thief's documents takes the
// owner's recovery document, and no other fork.
func TestLeaveBehind(t *testing.T) {
	t.Parallel()
	own, s := testStore(t), testStore(t)
	key := newKey(t)
	adam := create(t, own, AgentOptions{Recovery: key.Public()})
	id := adam.Agent()
	first := mustChain(t, own, id)
	branch := func() []*envelope.Document {
		t.Helper()
		chain := first
		for range 3 {
			d := follow(chain[len(chain)-1])
			d.Time += int64(len(chain)) // another branch each time
			by := *adam
			by.version = d.Version - 1
			d, err := envelope.SignDocument(d, nil, &by)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain[:len(chain):len(chain)], d)
		}
		return chain
	}
	recovered := func(chain []*envelope.Document) []*envelope.Document {
		t.Helper()
		store := testStore(t)
		if _, err := store.Recover(t.Context(), chain, key, RecoverOptions{}); err != nil {
			t.Fatal(err)
		}
		return mustChain(t, store, id)
	}
	thief := branch()
	if err := s.AddDocuments(t.Context(), thief); err != nil {
		t.Fatal(err)
	}
	r := recovered(first)
	if err := s.AddDocuments(t.Context(), r[1:]); err != nil { // it joins on to what was before the thief's
		t.Fatal(err)
	}
	if got := mustChain(t, s, id); len(got) != 2 || got[1].Hash() != r[1].Hash() {
		t.Errorf("%d documents are left", len(got))
	}
	if versions, err := versionsIn(s.path(documentsDir, id.String())); err != nil || len(versions) != 2 {
		t.Errorf("files %v, %v", versions, err)
	}
	wantOlder(t, s.AddDocuments(t.Context(), thief))
	// A killed program may have left the thief's there.
	for _, d := range thief[1:] {
		if err := s.writeFile(d.Signed().Encode(), documentsDir, id.String(), strconv.FormatUint(d.Version, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustChain(t, s, id); len(got) != 2 || got[1].Hash() != r[1].Hash() {
		t.Errorf("%d documents, after a program was killed", len(got))
	}
	// Another recovery of the same parent, or after it, leaves a recovery behind.
	wantKind(t, s.AddDocuments(t.Context(), recovered(first)), envelope.Conflict)
	wantKind(t, s.AddDocuments(t.Context(), recovered(recovered(first))), envelope.Conflict)
	if err := s.AddDocuments(t.Context(), recovered(r)); err != nil {
		t.Error(err)
	}
}

func FuzzParseRecoveryKey(f *testing.F) {
	key := RecoveryKey{ed25519.NewKeyFromSeed(make([]byte, 32))}
	f.Add(key.Text())
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseRecoveryKey(text)
		if err != nil {
			return
		}
		if again, err := ParseRecoveryKey(key.Text()); err != nil || !bytes.Equal(again.key, key.key) {
			t.Errorf("a key reads back as another: %v", err)
		}
	})
}

// TestEarlierKeysOfThief: a thief has published keys of theirs in the agent's
// name, in clear or under the agent's own passphrase. They don't take the place
// of those that open what was sealed before.
func TestEarlierKeysOfThief(t *testing.T) {
	t.Parallel()
	for name, passphrase := range map[string]string{"in clear": "", "under the same passphrase": "p"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, fresh := testStore(t), testStore(t)
			own := create(t, s, AgentOptions{Passphrase: []byte("p")})
			first := mustChain(t, s, own.Agent())[0]
			next := follow(first)
			theirs, err := newSecrets(false)
			if err != nil {
				t.Fatal(err)
			}
			theirs.agent, theirs.version = own.Agent(), 2
			stored, err := s.store(theirs, []byte(passphrase))
			if err != nil {
				t.Fatal(err)
			}
			next.Keys, next.Recipient, next.Locked = theirs.publicKeys(), theirs.recipient, envelope.AttachmentHash(stored)
			second, err := envelope.SignDocument(next, [][]byte{stored}, own, theirs)
			if err != nil {
				t.Fatal(err)
			}
			chain := []*envelope.Document{first, second}
			if found, err := fresh.Earlier(chain, nil); err == nil {
				t.Errorf("without a passphrase there are keys of version %d", found.DocumentVersion())
			}
			found, err := fresh.Earlier(chain, []byte("p"))
			if err != nil {
				t.Fatal(err)
			}
			if !canRead(t, found, first) {
				t.Error("what was sealed before can't be read")
			}
		})
	}
}
