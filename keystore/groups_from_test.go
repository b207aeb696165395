package keystore

import (
	"testing"

	"l2p/envelope"
)

// TestGroupFromNow follows members who don't read what was sealed before them
// through additions, removals and promotions.
func TestGroupFromNow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	team := w.group(t, adam)
	want := func(who *Secrets, epochs string) {
		t.Helper()
		if got := w.opens(t, who, team); got != epochs {
			t.Errorf("version %d: opens epochs %s, want %s", w.newest(t, team).Version, got, epochs)
		}
	}
	d := w.change(t, adam, team, GroupChange{Add: ids(eve), FromNow: true})
	if m, _ := d.Member(eve.agent); d.Group.Epoch != 2 || m.From != 2 {
		t.Errorf("epoch %d, from %d", d.Group.Epoch, m.From)
	}
	want(eve, "[2]")
	want(adam, "[2 1]")
	w.change(t, adam, team, GroupChange{Add: ids(carol)})
	want(carol, "[2 1]") // one who came later, with all there is
	w.change(t, adam, team, GroupChange{Add: ids(dora), FromNow: true})
	want(dora, "[3]")
	want(eve, "[3 2]")
	want(carol, "[3 2 1]")

	// An epoch after the removal is closed, and opens nothing older either.
	w.change(t, adam, team, GroupChange{Remove: ids(eve)})
	want(eve, "[3 2]")
	want(dora, "[4 3]")
	w.change(t, adam, team, GroupChange{Add: ids(eve), FromNow: true})
	want(eve, "[5 3 2]") // what came between stays closed

	// Who reads only from an epoch on may be given the rest.
	d = w.change(t, adam, team, GroupChange{Add: ids(eve)})
	if m, _ := d.Member(eve.agent); d.Group.Epoch != 5 || m.From != 0 {
		t.Errorf("epoch %d, from %d", d.Group.Epoch, m.From)
	}
	want(eve, "[5 4 3 2 1]")
	d = w.change(t, adam, team, GroupChange{AddAdmins: ids(dora)})
	if m, _ := d.Member(dora.agent); m.From != 0 {
		t.Error("an admin doesn't read all")
	}
	w.change(t, dora, team, GroupChange{Remove: ids(adam)})
	want(carol, "[6 5 4 3 2 1]")
	for _, who := range []*Secrets{eve, dora} {
		_, err := w.try(t, dora, team, GroupChange{Add: ids(who), FromNow: true})
		wantKind(t, err, envelope.Conflict)
	}
	if err := envelope.VerifyChain(t.Context(), w.chains[team], w); err != nil {
		t.Error(err)
	}
}

// TestFromNowInNestedGroup: who joins an inner group from now on must not come
// by the outer one's past, but may see its future; the inner group's other
// members miss nothing.
func TestFromNowInNestedGroup(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	inner := w.group(t, eve, ids(carol)...)
	middle := w.group(t, adam, inner)
	outer := w.group(t, adam, middle)
	want := func(who *Secrets, group envelope.AgentID, epochs string) {
		t.Helper()
		if got := w.opens(t, who, group); got != epochs {
			t.Errorf("opens epochs %s, want %s", got, epochs)
		}
	}
	w.change(t, adam, outer, GroupChange{NewEpoch: true})
	w.change(t, eve, inner, GroupChange{Add: ids(dora), FromNow: true})
	want(dora, outer, "[]") // until an admin renews it
	w.change(t, adam, middle, GroupChange{NewEpoch: true})
	w.change(t, adam, outer, GroupChange{NewEpoch: true})
	want(dora, middle, "[2]")
	want(dora, outer, "[3]")
	want(carol, middle, "[2 1]")
	want(carol, outer, "[3 2 1]")

	// Newcomers to the inner group who read all of it read all that was
	// sealed to it, with the outer groups' past.
	frank := w.user(t, "frank")
	w.change(t, eve, inner, GroupChange{Add: ids(frank)})
	want(frank, outer, "[3 2 1]")
	// With the outer group's next epoch nothing opens for dora.
	w.change(t, eve, inner, GroupChange{Remove: ids(dora)})
	w.change(t, adam, middle, GroupChange{NewEpoch: true})
	w.change(t, adam, outer, GroupChange{NewEpoch: true})
	want(dora, outer, "[3]")
	want(carol, outer, "[4 3 2 1]")
	// The admin may say that the inner group's members are to read all.
	if m, _ := w.newest(t, outer).Member(middle); m.From != 3 {
		t.Errorf("the nested group reads from %d", m.From)
	}
	w.change(t, adam, outer, GroupChange{Add: []envelope.AgentID{middle}})
	if m, _ := w.newest(t, outer).Member(middle); m.From != 0 {
		t.Errorf("the nested group reads from %d", m.From)
	}
}
