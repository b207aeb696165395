package keystore

import (
	"fmt"
	"testing"

	"l2p/envelope"
)

// TestGroupOf10000 lets the largest group that there is come, change and be
// sealed for. Its members share a few keys, which saves making so many.
func TestGroupOf10000(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("seals for 10,000 members, several times")
	}
	w := newWorld()
	adam, zoe := w.user(t, "adam"), w.user(t, "zoe")
	keys := []*Secrets{w.probeHybrid(t), w.probeHybrid(t)}
	var members []*Secrets
	for i := range envelope.MaxMembers - 2 {
		s := *keys[i%len(keys)]
		d, err := envelope.SignDocument(&envelope.Document{
			Format: 1, Kind: envelope.User, Version: 1, Name: fmt.Sprintf("m%d@a-tech", i), Keys: s.publicKeys(), Recipient: s.recipient,
		}, nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.bind(d); err != nil {
			t.Fatal(err)
		}
		w.chains[d.ID()] = []*envelope.Document{d}
		members = append(members, &s)
	}
	team := w.group(t, adam, ids(members...)...)
	if n := len(w.newest(t, team).Group.Members); n != envelope.MaxMembers-1 {
		t.Fatalf("%d members", n)
	}
	d := w.change(t, adam, team, GroupChange{Add: ids(zoe)})
	if n := len(d.Group.Boxes); n != 21 {
		t.Errorf("%d boxes, want the 20 and one for who was added", n)
	}
	if size := len(d.Signed().Encode()); size > envelope.MaxSignedSize {
		t.Errorf("the document has %d bytes", size)
	}
	_, err := ChangeGroup(t.Context(), adam, adam.Identities(), w, team, GroupChange{Add: ids(w.user(t, "one-too-many"))})
	wantKind(t, err, envelope.Full)
	last := members[len(members)-1]
	d = w.change(t, adam, team, GroupChange{Remove: ids(members[0])})
	if len(d.Group.Members) != envelope.MaxMembers-1 || len(d.Group.Boxes) != 20 {
		t.Errorf("%d members in %d boxes", len(d.Group.Members), len(d.Group.Boxes))
	}
	for who, epochs := range map[*Secrets]int{last: 2, zoe: 2, members[0]: 1} {
		if secrets, err := GroupSecrets(t.Context(), w.chains[team], who.Identities()); len(secrets) != epochs {
			t.Errorf("opens %d epochs, want %d (%v)", len(secrets), epochs, err)
		}
	}
	if err := CheckReader(t.Context(), w, d); err != nil {
		t.Error(err)
	}
	if _, err := envelope.RecipientOf(d); err != nil {
		t.Error(err)
	}
}

func (w *world) probeHybrid(t testing.TB) *Secrets {
	t.Helper()
	s, err := newSecrets(false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
