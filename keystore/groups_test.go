package keystore

import (
	"fmt"
	"slices"
	"testing"

	"l2p/envelope"
)

func ids(agents ...*Secrets) []envelope.AgentID {
	var out []envelope.AgentID
	for _, a := range agents {
		out = append(out, a.agent)
	}
	return out
}

func TestGroupEpochs(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	team := w.group(t, adam, ids(eve, carol)...)
	want := func(who *Secrets, epochs string) {
		t.Helper()
		if got := w.opens(t, who, team); got != epochs {
			t.Errorf("opens epochs %s, want %s", got, epochs)
		}
	}
	want(adam, "[1]")
	want(eve, "[1]")
	want(dora, "[]")

	d := w.change(t, adam, team, GroupChange{Remove: ids(eve)})
	if d.Group.Epoch != 2 || d.ID() != team {
		t.Errorf("after a removal: epoch %d of %s", d.Group.Epoch, d.ID())
	}
	want(adam, "[2 1]")
	want(carol, "[2 1]")
	want(eve, "[1]") // what she could read she can read

	d = w.change(t, adam, team, GroupChange{Add: ids(dora)})
	if d.Group.Epoch != 2 {
		t.Errorf("an addition made epoch %d", d.Group.Epoch)
	}
	want(dora, "[2 1]") // a new member opens what was sealed before
	want(eve, "[1]")

	w.change(t, adam, team, GroupChange{Remove: ids(carol)})
	w.change(t, adam, team, GroupChange{Add: ids(eve)})
	want(eve, "[3 2 1]") // she is back
	want(carol, "[2 1]")
	want(dora, "[3 2 1]")

	if err := envelope.VerifyChain(t.Context(), w.chains[team], w); err != nil {
		t.Error(err)
	}
}

// TestGroupSigner checks that a group's secrets sign what its documents verify.
func TestGroupSigner(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve := w.user(t, "adam"), w.user(t, "eve")
	team := w.group(t, adam, eve.agent)
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	secrets, err := GroupSecrets(t.Context(), w.chains[team], eve.Identities())
	if err != nil || len(secrets) != 2 {
		t.Fatalf("%d epochs, %v", len(secrets), err)
	}
	for i, version := range []uint64{2, 1} {
		var signer envelope.Signer = secrets[i]
		if signer.Agent() != team || signer.DocumentVersion() != version ||
			!w.chains[team][version-1].SigningKey().Equal(signer.PrivateKey().Public()) {
			t.Errorf("epoch %d: signer is not version %d of the group", 2-i, version)
		}
	}
}

func TestGroupSecretsIncomplete(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.user(t, "adam")
	team := w.group(t, adam)
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	w.change(t, adam, team, GroupChange{NewEpoch: true})
	chain := slices.Clone(w.chains[team])
	chain[1] = chain[1].Bare()
	secrets, err := GroupSecrets(t.Context(), chain, adam.Identities())
	if len(secrets) != 3 || err != nil {
		t.Errorf("%d epochs opened, want all: the first has a box of its own (%v)", len(secrets), err)
	}
	chain[0] = chain[0].Bare()
	secrets, err = GroupSecrets(t.Context(), chain, adam.Identities())
	wantKind(t, err, envelope.NotFound)
	if len(secrets) != 2 {
		t.Errorf("%d epochs opened, want the two before the gap", len(secrets))
	}
	chain[2] = chain[2].Bare()
	secrets, err = GroupSecrets(t.Context(), chain, adam.Identities())
	wantKind(t, err, envelope.NotFound)
	if len(secrets) != 0 {
		t.Errorf("%d epochs opened without any key box", len(secrets))
	}
	_, err = GroupSecrets(t.Context(), w.chains[team], w.user(t, "eve").Identities())
	wantKind(t, err, envelope.NotReader)
}

func TestNestedGroups(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	inner := w.group(t, eve, ids(carol, dora)...)
	middle := w.group(t, eve, inner)
	outer := w.group(t, adam, middle)
	for _, who := range []*Secrets{carol, dora, eve, adam} {
		if got := w.opens(t, who, outer); got != "[1]" {
			t.Errorf("opens epochs %s of the outermost group", got)
		}
	}
	for id, want := range map[envelope.AgentID]bool{carol.agent: true, inner: true, adam.agent: true, w.user(t, "frank").agent: false} {
		if got, err := Contains(t.Context(), w, w.newest(t, outer), id); got != want || err != nil {
			t.Errorf("Contains = %v, %v, want %v", got, err, want)
		}
	}

	// Dora leaves the inner group. The groups around it still let her in, so
	// nobody may seal for them until their admins have renewed the keys.
	if err := CheckReader(t.Context(), w, w.newest(t, outer)); err != nil {
		t.Error(err)
	}
	w.change(t, eve, inner, GroupChange{Remove: ids(dora)})
	wantKind(t, CheckReader(t.Context(), w, w.newest(t, outer)), envelope.Conflict)
	wantKind(t, CheckReader(t.Context(), w, w.newest(t, middle)), envelope.Conflict)
	if err := CheckReader(t.Context(), w, w.newest(t, inner)); err != nil {
		t.Error(err)
	}
	// Any change renews them.
	if d := w.change(t, eve, middle, GroupChange{Add: ids(adam)}); d.Group.Epoch != 2 {
		t.Errorf("a change of a group that lags behind left epoch %d", d.Group.Epoch)
	}
	wantKind(t, CheckReader(t.Context(), w, w.newest(t, outer)), envelope.Conflict)
	w.change(t, adam, outer, GroupChange{NewEpoch: true})
	if err := CheckReader(t.Context(), w, w.newest(t, outer)); err != nil {
		t.Error(err)
	}
	if got := w.opens(t, dora, outer); got != "[1]" {
		t.Errorf("a former member of the inner group opens epochs %s", got)
	}
	if got := w.opens(t, carol, outer); got != "[2 1]" {
		t.Errorf("a member of the inner group opens epochs %s", got)
	}

	// An older document of the group is refused, too.
	wantOlder(t, CheckReader(t.Context(), w, w.chains[outer][0]))
}

func TestGroupCycles(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.user(t, "adam")
	a := w.group(t, adam)
	b := w.group(t, adam, a)
	c := w.group(t, adam, b)
	for name, add := range map[string]envelope.AgentID{"itself": a, "its member": b, "further round": c} {
		_, err := w.try(t, adam, a, GroupChange{Add: []envelope.AgentID{add}})
		t.Run(name, func(t *testing.T) { wantKind(t, err, envelope.Usage) })
	}
	// Two admins can make a cycle together, each without seeing what the other
	// does. Nothing hangs on it.
	alone := &world{chains: map[envelope.AgentID][]*envelope.Document{}}
	for id, chain := range w.chains {
		alone.chains[id] = chain
	}
	d := w.group(t, adam)
	alone.chains[d] = w.chains[d]
	w.change(t, adam, d, GroupChange{Add: []envelope.AgentID{a}})
	other := alone.change(t, adam, a, GroupChange{Add: []envelope.AgentID{d}})
	if err := w.publish(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if got := w.opens(t, adam, a); got != "[1]" {
		t.Errorf("opens epochs %s", got)
	}
	if err := CheckReader(t.Context(), w, w.newest(t, a)); err != nil {
		t.Error(err)
	}
}

func TestGroupAdmins(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol, dora := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol"), w.user(t, "dora")
	team := w.group(t, adam, eve.agent)
	_, err := w.try(t, eve, team, GroupChange{Add: ids(carol)})
	wantKind(t, err, envelope.Denied)

	// Two admins change the same version: the second is refused.
	w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
	one, err1 := w.try(t, adam, team, GroupChange{Add: ids(carol)})
	two, err2 := w.try(t, eve, team, GroupChange{Add: ids(dora)})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := w.publish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.publish(t.Context(), two), envelope.Conflict)
	late := follow(w.newest(t, team))
	late.Parent = two.Hash()
	late, err = envelope.SignDocument(late, w.newest(t, team).Signed().Attachments, eve)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.publish(t.Context(), late), envelope.Corrupt)

	// An admin who was removed changes nothing any more, nor does she with a
	// document of her own making.
	w.change(t, adam, team, GroupChange{RemoveAdmins: ids(eve)})
	_, err = w.try(t, eve, team, GroupChange{Add: ids(dora)})
	wantKind(t, err, envelope.Denied)
	forged, err := envelope.SignDocument(follow(w.newest(t, team)), w.newest(t, team).Signed().Attachments, eve)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.publish(t.Context(), forged), envelope.Corrupt)
	if got := w.opens(t, eve, team); got != "[1]" {
		t.Errorf("a removed admin, still a member, opens epochs %s", got)
	}

	// Removing an admin as a member takes both; adding one gives both.
	w.change(t, adam, team, GroupChange{AddAdmins: ids(dora)})
	w.change(t, dora, team, GroupChange{Remove: ids(adam)})
	if d := w.newest(t, team); d.IsAdmin(adam.agent) || !d.IsAdmin(dora.agent) {
		t.Error("admins are not as changed")
	}
	_, err = w.try(t, adam, team, GroupChange{Add: ids(adam)})
	wantKind(t, err, envelope.Denied)
}

func TestGroupChangeRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, carol := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "carol")
	box := w.agent(t, envelope.Box, "a-tech", true)
	team, club := w.group(t, adam, eve.agent), w.group(t, carol)
	stranger := envelope.AgentID{1}
	tests := map[string]struct {
		change GroupChange
		kind   envelope.ErrorKind
	}{
		"nothing":               {GroupChange{}, envelope.Usage},
		"add a member":          {GroupChange{Add: ids(eve)}, envelope.Conflict},
		"add a stranger":        {GroupChange{Add: []envelope.AgentID{stranger}}, envelope.NotFound},
		"add a box":             {GroupChange{Add: ids(box)}, envelope.Usage},
		"remove a non-member":   {GroupChange{Remove: ids(carol)}, envelope.NotFound},
		"remove oneself":        {GroupChange{Remove: ids(adam), AddAdmins: ids(eve)}, envelope.Usage},
		"no admin left":         {GroupChange{RemoveAdmins: ids(adam)}, envelope.Usage},
		"demote a non-admin":    {GroupChange{RemoveAdmins: ids(eve)}, envelope.NotFound},
		"promote an admin":      {GroupChange{AddAdmins: ids(adam)}, envelope.Conflict},
		"promote a group":       {GroupChange{AddAdmins: []envelope.AgentID{club}}, envelope.Usage},
		"promote and remove":    {GroupChange{AddAdmins: ids(eve), Remove: ids(eve)}, envelope.Conflict},
		"add and remove at all": {GroupChange{Add: ids(carol), Remove: ids(carol)}, envelope.NotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := w.try(t, adam, team, test.change)
			wantKind(t, err, test.kind)
		})
	}
	_, err := w.try(t, adam, adam.agent, GroupChange{Add: ids(eve)})
	wantKind(t, err, envelope.Usage)
	_, err = CreateGroup(t.Context(), adam, w, GroupOptions{Name: "Bad Name"})
	wantKind(t, err, envelope.Usage)
	groupKeys, err := GroupSecrets(t.Context(), w.chains[team], adam.Identities())
	if err != nil {
		t.Fatal(err)
	}
	_, err = CreateGroup(t.Context(), groupKeys[0], w, GroupOptions{})
	wantKind(t, err, envelope.Usage)
}

// TestLargeGroup has more members than one box holds, of both types.
func TestLargeGroup(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.user(t, "adam")
	var members []*Secrets
	for i := range 1_000 {
		members = append(members, w.agent(t, envelope.User, fmt.Sprintf("m%d@a-tech", i), i >= 600))
	}
	team := w.group(t, adam, ids(members[1:]...)...)
	check := func(boxes int, epochs string) {
		t.Helper()
		if d := w.newest(t, team); len(d.Group.Boxes) != boxes || len(d.Signed().Attachments) < boxes {
			t.Errorf("%d boxes, want %d", len(d.Group.Boxes), boxes)
		}
		for _, i := range []int{1, 499, 500, 599, 600, 999} {
			if got := w.opens(t, members[i], team); got != epochs {
				t.Errorf("member %d opens epochs %s, want %s", i, got, epochs)
			}
		}
	}
	check(3, "[1]") // 500 and 100 hybrid, 400 classic
	w.change(t, adam, team, GroupChange{Add: ids(members[0])})
	check(4, "[1]")
	if got := w.opens(t, members[0], team); got != "[1]" {
		t.Errorf("who was added opens epochs %s", got)
	}
	w.change(t, adam, team, GroupChange{Remove: ids(members[0])})
	check(3, "[2 1]")
	if got := w.opens(t, members[0], team); got != "[1]" {
		t.Errorf("who was removed opens epochs %s", got)
	}
}

// TestBoxesStay checks that an addition seals nothing anew, until there are
// too many small boxes.
func TestBoxesStay(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.agent(t, envelope.User, "", true)
	var more []*Secrets
	for range maxLooseBoxes + 1 {
		more = append(more, w.agent(t, envelope.Service, "", true))
	}
	team := w.group(t, adam)
	before := w.newest(t, team).Group.Boxes
	for i, who := range more[:maxLooseBoxes-1] {
		after := w.change(t, adam, team, GroupChange{Add: ids(who)}).Group.Boxes
		if len(after) != i+2 || !slices.Equal(after[:i+1], before) {
			t.Fatalf("after %d additions: %d boxes, or others", i+1, len(after))
		}
		before = after
	}
	d := w.change(t, adam, team, GroupChange{Add: ids(more[maxLooseBoxes-1:]...)})
	if len(d.Group.Boxes) != 1 || len(d.Group.Members) != maxLooseBoxes+2 || d.Group.Epoch != 1 {
		t.Errorf("%d small boxes became %d, for %d members", maxLooseBoxes, len(d.Group.Boxes), len(d.Group.Members))
	}
	for _, who := range []*Secrets{adam, more[0], more[maxLooseBoxes]} {
		if got := w.opens(t, who, team); got != "[1]" {
			t.Errorf("opens epochs %s", got)
		}
	}
}

// TestMemberRotates checks that a member who changes keys still opens the box
// that was sealed to the older ones, and that later boxes are for the newer.
func TestMemberRotates(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve := w.user(t, "adam"), w.user(t, "eve")
	team := w.group(t, adam, eve.agent)
	fresh, err := newSecrets(false)
	if err != nil {
		t.Fatal(err)
	}
	d := follow(w.newest(t, eve.agent))
	d.Keys, d.Recipient = fresh.publicKeys(), fresh.recipient
	fresh.agent, fresh.version = eve.agent, 2
	fresh.identities = append(fresh.identities, eve.identities...)
	if d, err = envelope.SignDocument(d, nil, eve, fresh); err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := w.opens(t, fresh, team); got != "[1]" {
		t.Errorf("after changing keys she opens epochs %s", got)
	}
	next := w.change(t, adam, team, GroupChange{NewEpoch: true})
	if m, _ := next.Member(eve.agent); m.Version != 2 {
		t.Errorf("the new box is for version %d of the member", m.Version)
	}
	if got := w.opens(t, eve, team); got != "[1]" {
		t.Errorf("her older keys alone open epochs %s", got)
	}
	if got := w.opens(t, fresh, team); got != "[2 1]" {
		t.Errorf("her newer keys open epochs %s", got)
	}
}

// TestAdminWhoIsNoMember has only the keys of the epoch that she was last a
// member in, and must not hand these out for those of the new one.
func TestAdminWhoIsNoMember(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve := w.user(t, "adam"), w.user(t, "eve")
	team := w.group(t, adam, eve.agent)
	d := w.change(t, adam, team, GroupChange{AddAdmins: ids(eve)})
	secrets, err := GroupSecrets(t.Context(), w.chains[team], adam.Identities())
	if err != nil {
		t.Fatal(err)
	}
	out := succession{me: adam, docs: w, chain: w.chains[team], current: secrets[0], admins: d.Group.Admins, newEpoch: true}
	out.keep(d, ids(eve))
	d, err = out.document(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, err = w.try(t, eve, team, GroupChange{Add: ids(eve)})
	wantKind(t, err, envelope.NotReader)
}

// TestForeignKeysInBox: an admin puts keys into a box that are not those of the
// document. Nobody takes them, and an older box of the epoch still serves.
func TestForeignKeysInBox(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.user(t, "adam")
	team := w.group(t, adam)
	box, entries, err := packBoxes(w.probe(t), []seat{{doc: w.newest(t, adam.agent)}}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := follow(w.newest(t, team))
	d.Group = &envelope.GroupPart{Epoch: 1, Admins: ids(adam), Members: entries, Boxes: []envelope.Hash{envelope.AttachmentHash(box[0])}}
	if d, err = envelope.SignDocument(d, box, adam); err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	chain := slices.Clone(w.chains[team])
	secrets, err := GroupSecrets(t.Context(), chain, adam.Identities())
	if err != nil || len(secrets) != 1 || secrets[0].Recipient() != d.Recipient {
		t.Errorf("%d epochs, %v", len(secrets), err)
	}
	chain[0] = chain[0].Bare()
	secrets, err = GroupSecrets(t.Context(), chain, adam.Identities())
	wantKind(t, err, envelope.Corrupt)
	if len(secrets) > 0 {
		t.Error("foreign keys were taken for the group's")
	}
}

// TestIdentitiesForSurvivesBadGroups: somebody makes a group with Eve in it
// that doesn't open. She reads the others all the same, and is told.
func TestIdentitiesForSurvivesBadGroups(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam, eve, mallory := w.user(t, "adam"), w.user(t, "eve"), w.user(t, "mallory")
	team := w.group(t, adam, eve.agent)
	junk := []byte("not an age file")
	keys, err := newSecrets(true)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := envelope.SignDocument(&envelope.Document{
		Format: 1, Kind: envelope.Group, Version: 1, Keys: keys.publicKeys(), Recipient: keys.recipient,
		Group: &envelope.GroupPart{Epoch: 1, Admins: ids(mallory), Members: []envelope.Member{{ID: eve.agent, Version: 1}},
			Boxes: []envelope.Hash{envelope.AttachmentHash(junk)}},
	}, [][]byte{junk}, mallory)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	got, err := IdentitiesFor(t.Context(), eve, w, w.groupsOf)
	wantKind(t, err, envelope.Corrupt)
	if len(got) != 2 || got[1].Agent != team {
		t.Errorf("%d identities, want her own and the team's", len(got))
	}
}
