package keystore

import (
	"os"
	"strings"
	"testing"

	"l2p/envelope"
)

func TestNames(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	adam, mallory := envelope.AgentID{1}, envelope.AgentID{2}
	_, err := s.Pinned("adam@a-tech")
	wantKind(t, err, envelope.NotFound)
	wantKind(t, s.Pin("adam", adam), envelope.Usage)
	wantKind(t, s.Pin("adam@a-tech", envelope.AgentID{}), envelope.NotFound)
	for range 2 {
		if err := s.Pin("adam@a-tech", adam); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pin("aa@a-tech", mallory); err != nil {
		t.Fatal(err)
	}
	err = s.Pin("adam@a-tech", mallory)
	wantKind(t, err, envelope.Conflict)
	for _, part := range []string{adam.String(), mallory.String(), "adam@a-tech", "--accept"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if id, err := s.Pinned("adam@a-tech"); err != nil || id != adam {
		t.Errorf("pinned to %s, %v", id, err)
	}
	if err := s.AcceptName("adam@a-tech", mallory); err != nil {
		t.Fatal(err)
	}
	names, err := s.Names()
	if err != nil || len(names) != 2 || names[0].Name != "aa@a-tech" || names[1].Agent != mallory {
		t.Errorf("names %v, %v", names, err)
	}
	if err := os.WriteFile(s.path(namesFile), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Pin("adam@a-tech", adam), envelope.Corrupt) // never taken for a new name
}

func TestRemember(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: envelope.AgentID{1}, Name: "course"}
	other := ref
	other.Name = "another"
	version := func(n uint64, hash byte) envelope.Version {
		return envelope.Version{N: n, Hash: envelope.Hash{hash}}
	}
	if v, err := s.Seen(ref); err != nil || v != (envelope.Version{}) {
		t.Errorf("seen %v, %v", v, err)
	}
	wantKind(t, s.Remember(ref, envelope.Version{}), envelope.Usage)
	for _, v := range []envelope.Version{version(2, 5), version(2, 5), version(3, 5), version(3, 4)} {
		if err := s.Remember(ref, v); err != nil {
			t.Errorf("version %v: %v", v, err)
		}
	}
	for _, v := range []envelope.Version{version(2, 1), version(3, 5), version(1, 0)} {
		wantOlder(t, s.Remember(ref, v))
	}
	if err := s.Remember(other, version(1, 9)); err != nil {
		t.Error(err)
	}
	if v, err := s.Seen(ref); err != nil || v != version(3, 4) {
		t.Errorf("seen %v, %v", v, err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	l, err := tryLock(s.path(lockFile))
	if l == nil {
		t.Fatal(err)
	}
	if again, err := tryLock(s.path(lockFile)); again != nil || err != nil {
		t.Errorf("locked twice, %v", err)
	}
	// A writer waits its turn.
	done := make(chan error)
	go func() { done <- s.Pin("adam@a-tech", envelope.AgentID{1}) }()
	select {
	case err := <-done:
		t.Errorf("wrote under another's lock: %v", err)
	default:
	}
	l.unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
