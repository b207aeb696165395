package keystore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"l2p/envelope"
)

// A world is a network of agents in memory: whoever publishes there has their
// documents verified against the ones before.
type world struct {
	chains map[envelope.AgentID][]*envelope.Document
}

func newWorld() *world { return &world{map[envelope.AgentID][]*envelope.Document{}} }

func (w *world) Chain(_ context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	if chain := w.chains[id]; len(chain) > 0 {
		return chain, nil
	}
	return nil, envelope.Errorf(envelope.NotFound, "no agent %s", id)
}

func (w *world) groupsOf(_ context.Context, member envelope.AgentID) ([]envelope.AgentID, error) {
	var groups []envelope.AgentID
	for id, chain := range w.chains {
		for _, d := range chain {
			if _, ok := d.Member(member); ok {
				groups = append(groups, id)
				break
			}
		}
	}
	return groups, nil
}

func (w *world) publish(ctx context.Context, d *envelope.Document) error {
	chain := w.chains[d.ID()]
	if len(chain) > 0 && chain[len(chain)-1].Version >= d.Version {
		return envelope.Errorf(envelope.Conflict, "version %d exists", d.Version)
	}
	// What others get is what was encoded.
	d, err := envelope.ParseDocument(d.Signed().Encode())
	if err != nil {
		return err
	}
	if err := envelope.VerifyDocument(ctx, d, chain, w); err != nil {
		return err
	}
	w.chains[d.ID()] = append(chain, d)
	return nil
}

// agent makes an agent without a store.
func (w *world) agent(t testing.TB, kind envelope.AgentKind, name string, classic bool) *Secrets {
	t.Helper()
	s, err := newSecrets(classic)
	if err != nil {
		t.Fatal(err)
	}
	d := &envelope.Document{Format: 1, Kind: kind, Version: 1, Name: name, Keys: s.publicKeys(), Recipient: s.recipient}
	if kind == envelope.Box {
		d.Recipient, s.recipient = "", ""
	}
	if d, err = envelope.SignDocument(d, nil, s); err != nil {
		t.Fatal(err)
	}
	if err := s.bind(d); err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) user(t testing.TB, name string) *Secrets {
	t.Helper()
	return w.agent(t, envelope.User, name+"@a-tech", false)
}

func (w *world) group(t testing.TB, admin *Secrets, members ...envelope.AgentID) envelope.AgentID {
	t.Helper()
	d, err := CreateGroup(t.Context(), admin, w, GroupOptions{Members: members})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

// try makes a change without publishing it.
func (w *world) try(t testing.TB, admin *Secrets, group envelope.AgentID, c GroupChange) (*envelope.Document, error) {
	t.Helper()
	ids, _ := IdentitiesFor(t.Context(), admin, w, w.groupsOf)
	return ChangeGroup(t.Context(), admin, ids, w, group, c)
}

func (w *world) change(t testing.TB, admin *Secrets, group envelope.AgentID, c GroupChange) *envelope.Document {
	t.Helper()
	d, err := w.try(t, admin, group, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) newest(t testing.TB, id envelope.AgentID) *envelope.Document {
	t.Helper()
	d, err := newest(t.Context(), w, id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// opens returns the epochs of a group that an agent opens, newest first, by
// what is sealed for the recipients of its documents.
func (w *world) opens(t testing.TB, who *Secrets, group envelope.AgentID) string {
	t.Helper()
	ids, _ := IdentitiesFor(t.Context(), who, w, w.groupsOf)
	has := map[string]bool{}
	for _, id := range ids {
		if id.Agent == group {
			has[id.Age.(interface{ String() string }).String()] = true
		}
	}
	var opened []uint64
	chain := w.chains[group]
	for i := len(chain) - 1; i >= 0; i-- {
		d := chain[i]
		if i+1 < len(chain) && chain[i+1].Group.Epoch == d.Group.Epoch {
			continue
		}
		to, err := recipientOf(d.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		probe, err := w.probe(t).sealFor(to)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id.Agent != group {
				continue
			}
			if _, err := openSecrets(probe, id.Age); err == nil {
				opened = append(opened, d.Group.Epoch)
			}
		}
	}
	if len(opened) != len(has) {
		t.Errorf("%d identities of the group open %d epochs", len(has), len(opened))
	}
	return fmt.Sprint(opened)
}

// probe is something to seal.
func (w *world) probe(t testing.TB) *Secrets {
	t.Helper()
	s, err := newSecrets(true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testStore opens a keystore whose passphrases are cheap.
func testStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir() + "/keystore")
	if err != nil {
		t.Fatal(err)
	}
	s.workFactor = 1
	return s
}

func wantKind(t testing.TB, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil || envelope.KindOf(err) != kind {
		t.Errorf("error %v, want one of kind %d", err, kind)
	}
}

func wantOlder(t testing.TB, err error) {
	t.Helper()
	wantKind(t, err, envelope.Conflict)
	if !errors.Is(err, ErrOlder) {
		t.Errorf("error %v, want ErrOlder", err)
	}
}
