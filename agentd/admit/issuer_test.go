package admit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A testBox is a box that asks for admission.
type testBox struct {
	key, node ed25519.PrivateKey
	doc       *envelope.Document
}

func (b *testBox) Agent() envelope.AgentID        { return envelope.AgentID{} }
func (b *testBox) DocumentVersion() uint64        { return 1 }
func (b *testBox) PrivateKey() ed25519.PrivateKey { return b.key }

func newTestBox(t *testing.T, n int, kind envelope.AgentKind) *testBox {
	t.Helper()
	b := &testBox{key: key(n), node: key(n + 100)}
	d := &envelope.Document{Format: 1, Kind: kind, Version: 1, Time: now.UnixMilli(),
		Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: public(b.key)}}}
	if kind != envelope.Box {
		d.Recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
	}
	doc, err := envelope.SignDocument(d, nil, b)
	if err != nil {
		t.Fatal(err)
	}
	b.doc = doc
	return b
}

func (b *testBox) request(name string, change ...func(*wire.JoinRequest)) *wire.Ask {
	r := &wire.JoinRequest{Format: 1, Network: envelope.NetworkIDOf(public(root)), Name: name, Document: b.doc.Signed().Encode(),
		Key: public(b.key), Agent: b.doc.ID(), Addr: ":4242", Time: now.Unix(), Node: public(b.node)}
	for _, c := range change {
		c(r)
	}
	return &wire.Ask{Request: must(wire.SignJoinRequest(r, b.key)).Encode()}
}

func (b *testBox) ask(i *Issuer, a *wire.Ask) error {
	return i.Ask(a, public(b.node), "192.0.2.1:1", now)
}

func (b *testBox) redeem(i *Issuer, name string, t *wire.Ticket) error {
	a := b.request(name)
	a.Secret = t.Secret[:]
	return b.ask(i, a)
}

func newTestIssuer(t *testing.T) (*Issuer, string) {
	t.Helper()
	dir := t.TempDir()
	founder := newTestBox(t, 1, envelope.Box)
	roster, err := Found(filepath.Join(dir, "roster.cbor"), root, "a-tech", founder.doc.ID(), public(founder.key), now)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIssuer(root, roster, filepath.Join(dir, "invitations.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	return i, dir
}

func reopen(t *testing.T, dir string) *Issuer {
	t.Helper()
	roster, err := OpenRoster(filepath.Join(dir, "roster.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIssuer(root, roster, filepath.Join(dir, "invitations.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func wantKind(t *testing.T, what string, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil || envelope.KindOf(err) != kind {
		t.Errorf("%s: got %v, want an error of kind %d", what, err, kind)
	}
}

func TestInvitation(t *testing.T) {
	t.Parallel()
	i, dir := newTestIssuer(t)
	ticket, err := i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now)
	if err != nil {
		t.Fatal(err)
	}
	eve, mallory := newTestBox(t, 2, envelope.Box), newTestBox(t, 3, envelope.Box)

	wrong := *ticket
	wrong.Secret[0] ^= 1
	wantKind(t, "wrong secret", mallory.redeem(i, "e-build", &wrong), envelope.Denied)
	wantKind(t, "other name than invited", mallory.redeem(i, "m-corp", ticket), envelope.Denied)
	late := mallory.request("e-build")
	late.Secret = ticket.Secret[:]
	wantKind(t, "expired", i.Ask(late, public(mallory.node), "192.0.2.1:1", now.Add(2*time.Hour)), envelope.Denied)

	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Fatal(err)
	}
	box, ok := i.roster.BoxByName("e-build")
	if !ok || box.Agent != eve.doc.ID() || !box.Key.Equal(public(eve.key)) {
		t.Fatalf("admitted as %+v", box)
	}
	if box.Nonce == [32]byte{} {
		t.Error("the certificate has no ring nonce")
	}
	// A retry, also after a restart, gets the same certificate; another box nothing.
	for n, again := range []*Issuer{i, reopen(t, dir)} {
		if err := eve.redeem(again, "e-build", ticket); err != nil {
			t.Errorf("retry %d: %v", n, err)
		}
		if b, _ := again.roster.BoxByName("e-build"); b == nil || b.Cert != box.Cert {
			t.Errorf("retry %d: another certificate", n)
		}
		wantKind(t, "second box with the ticket", mallory.redeem(again, "e-build", ticket), envelope.Conflict)
	}
	// Expelled, the box can't use its ticket again.
	if err := i.Expel(eve.doc.ID(), now); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "expelled box with its old ticket", eve.redeem(i, "e-build", ticket), envelope.Denied)
	wantKind(t, "other box with the spent ticket", mallory.redeem(i, "e-build", ticket), envelope.Denied)
}

// A crash after the invitation was spent and before the roster was written
// leaves the box admitted, with the certificate it was to get.
func TestInvitationCrash(t *testing.T) {
	t.Parallel()
	i, dir := newTestIssuer(t)
	ticket := must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	before := must(os.ReadFile(filepath.Join(dir, "roster.cbor")))
	eve := newTestBox(t, 2, envelope.Box)
	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Fatal(err)
	}
	want, _ := i.roster.BoxByName("e-build")
	if err := os.WriteFile(filepath.Join(dir, "roster.cbor"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	again := reopen(t, dir)
	if err := eve.redeem(again, "e-build", ticket); err != nil {
		t.Fatal(err)
	}
	if got, _ := again.roster.BoxByName("e-build"); got == nil || got.Cert != want.Cert {
		t.Error("another certificate after the crash")
	}
}

// If the invitation can't be marked as used on disk, nobody is admitted.
func TestInvitationNotDurable(t *testing.T) {
	t.Parallel()
	i, dir := newTestIssuer(t)
	ticket := must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	i.invitations.path = filepath.Join(dir, "gone", "invitations.cbor")
	eve := newTestBox(t, 2, envelope.Box)
	if err := eve.redeem(i, "e-build", ticket); err == nil {
		t.Error("admitted though the invitation couldn't be spent")
	}
	if _, ok := i.roster.BoxByName("e-build"); ok {
		t.Error("in the roster though the invitation couldn't be spent")
	}
	i.invitations.path = filepath.Join(dir, "invitations.cbor")
	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Errorf("later: %v", err)
	}
}

// One ticket lets in one box, whoever comes at the same moment.
func TestInvitationRace(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	ticket := must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for n := range errs {
		b := newTestBox(t, 20+n, envelope.Box)
		wg.Go(func() { errs[n] = b.redeem(i, "e-build", ticket) })
	}
	wg.Wait()
	in := 0
	for _, err := range errs {
		if err == nil {
			in++
		}
	}
	if in != 1 || len(i.roster.Boxes()) != 2 {
		t.Errorf("%d boxes came in with one ticket, the roster has %d: %v", in, len(i.roster.Boxes()), errors.Join(errs...))
	}
}

func TestInviteRefused(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	addrs := []string{"192.0.2.9:4242"}
	_, err := i.Invite("a-tech", time.Hour, addrs, now)
	wantKind(t, "name taken", err, envelope.Conflict)
	_, err = i.Invite("A Tech", time.Hour, addrs, now)
	wantKind(t, "bad name", err, envelope.Usage)
	_, err = i.Invite("e-build", 31*24*time.Hour, addrs, now)
	wantKind(t, "too long", err, envelope.Usage)
	_, err = i.Invite("e-build", 0, addrs, now)
	wantKind(t, "no time", err, envelope.Usage)
	if _, err = i.Invite("e-build", time.Hour, nil, now); err == nil {
		t.Error("a ticket without addresses")
	}
	for n := range maxInvitations {
		if _, err := i.Invite(fmt.Sprintf("box-%d", n), time.Hour, addrs, now); err != nil {
			t.Fatal(err)
		}
	}
	_, err = i.Invite("e-build", time.Hour, addrs, now)
	wantKind(t, "too many", err, envelope.Full)
	if _, err := i.Invite("e-build", time.Hour, addrs, now.Add(2*time.Hour)); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
}

func TestRequestRefused(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	eve, user := newTestBox(t, 2, envelope.Box), newTestBox(t, 4, envelope.User)
	founder := newTestBox(t, 1, envelope.Box)
	other := newTestBox(t, 5, envelope.Box)

	wantKind(t, "name taken", eve.ask(i, eve.request("a-tech")), envelope.Conflict)
	wantKind(t, "member under another name", founder.ask(i, founder.request("b-tech")), envelope.Conflict)
	wantKind(t, "not a box", user.ask(i, user.request("e-build")), envelope.Denied)
	wantKind(t, "other network", eve.ask(i, eve.request("e-build", func(r *wire.JoinRequest) { r.Network[0]++ })), envelope.WrongNetwork)
	wantKind(t, "other agent", eve.ask(i, eve.request("e-build", func(r *wire.JoinRequest) { r.Agent[0]++ })), envelope.Corrupt)
	wantKind(t, "other box's document", eve.ask(i, eve.request("e-build", func(r *wire.JoinRequest) {
		r.Document, r.Agent = other.doc.Signed().Encode(), other.doc.ID()
	})), envelope.Corrupt)
	wantKind(t, "garbage for a document", eve.ask(i, eve.request("e-build", func(r *wire.JoinRequest) { r.Document = []byte("garbage") })), envelope.Corrupt)
	wantKind(t, "from another node's connection", i.Ask(eve.request("e-build"), public(other.node), "192.0.2.1:1", now), envelope.Denied)
	wantKind(t, "garbage", i.Ask(&wire.Ask{Request: []byte("garbage")}, public(eve.node), "192.0.2.1:1", now), envelope.Corrupt)
	if err := founder.ask(i, founder.request("a-tech")); err != nil {
		t.Errorf("a member that asks again: %v", err)
	}
	if n := len(i.Pending(now)); n != 0 {
		t.Errorf("%d refused requests wait", n)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	eve := newTestBox(t, 2, envelope.Box)
	ask := eve.request("e-build")
	wantKind(t, "first", eve.ask(i, ask), envelope.Unavailable)
	wantKind(t, "again", eve.ask(i, ask), envelope.Unavailable)
	waiting := i.Pending(now)
	if len(waiting) != 1 || waiting[0].BoxName != "e-build" || waiting[0].Box != eve.doc.ID() || waiting[0].Addr != "192.0.2.1:1" {
		t.Fatalf("waiting: %+v", waiting)
	}
	// The operator admits what he saw, not what the box has asked for since.
	wantKind(t, "other name", eve.ask(i, eve.request("e-corp")), envelope.Unavailable)
	wantKind(t, "admit the request that was replaced", i.Admit(waiting[0].Request, now), envelope.NotFound)
	wantKind(t, "as before", eve.ask(i, ask), envelope.Unavailable)
	if err := i.Admit(waiting[0].Request, now); err != nil {
		t.Fatal(err)
	}
	if err := eve.ask(i, ask); err != nil {
		t.Errorf("after admission: %v", err)
	}
	if b, ok := i.roster.BoxByAgent(eve.doc.ID()); !ok || b.Name != "e-build" {
		t.Errorf("admitted as %+v", b)
	}
	if len(i.Pending(now)) != 0 {
		t.Error("still waiting after admission")
	}
	wantKind(t, "admit nothing", i.Admit(envelope.Hash{1}, now), envelope.NotFound)
}

func TestPendingRefused(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	eve := newTestBox(t, 2, envelope.Box)
	wantKind(t, "ask", eve.ask(i, eve.request("e-build")), envelope.Unavailable)
	request := i.Pending(now)[0].Request
	if err := i.Refuse(request, now); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "ask after refusal", eve.ask(i, eve.request("e-build")), envelope.Denied)
	wantKind(t, "admit after refusal", i.Admit(request, now), envelope.NotFound)
	if len(i.Pending(now)) != 0 {
		t.Error("a refused box is listed")
	}
	// A ticket is a new decision of the operator.
	ticket := must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Errorf("with a ticket: %v", err)
	}
}

func TestPendingBounded(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	ask := func(n int, host string, at time.Time) error {
		b := newTestBox(t, n, envelope.Box)
		return i.Ask(b.request(fmt.Sprintf("box-%d", n)), public(b.node), host+":1", at)
	}
	for n := range maxPendingFrom {
		wantKind(t, "one host", ask(10+n, "192.0.2.1", now), envelope.Unavailable)
	}
	wantKind(t, "one host too often", ask(20, "192.0.2.1", now), envelope.Full)
	for n := maxPendingFrom; n < maxPending; n++ {
		wantKind(t, "many hosts", ask(30+n, fmt.Sprintf("192.0.2.%d", 10+n), now), envelope.Unavailable)
	}
	wantKind(t, "all full", ask(21, "198.51.100.1", now), envelope.Full)
	wantKind(t, "who waits may ask again", ask(10, "192.0.2.1", now.Add(time.Hour)), envelope.Unavailable)
	later := now.Add(pendingTTL + time.Minute)
	if n := len(i.Pending(later)); n != 1 {
		t.Errorf("%d wait a day later, want the one that asked again", n)
	}
	wantKind(t, "room again", ask(21, "198.51.100.1", later), envelope.Unavailable)
}

func TestLeaveAndExpel(t *testing.T) {
	t.Parallel()
	i, dir := newTestIssuer(t)
	eve := newTestBox(t, 2, envelope.Box)
	ticket := must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Fatal(err)
	}
	// Eve's box has a roster of its own.
	own := must(CreateRoster(filepath.Join(dir, "eve.cbor"), i.roster.RootKey()))
	if _, err := own.Add(i.roster.Statements()); err != nil {
		t.Fatal(err)
	}
	if err := own.CertifyNode(eve.key, eve.node, 0, now); err != nil {
		t.Fatal(err)
	}
	digest := own.Digest()
	if err := own.CertifyNode(eve.key, eve.node, 0, now); err != nil || own.Digest() != digest {
		t.Errorf("a node that has its certificate got another: %v", err)
	}
	creds, ok := own.Credentials(envelope.NodeIDOf(public(eve.node)))
	if !ok {
		t.Fatal("no credentials")
	}
	fresh, err := i.roster.Authorize(creds, public(eve.node), now)
	if err != nil || len(fresh) != 2 {
		t.Fatalf("the founder's node: %d statements, %v", len(fresh), err)
	}
	if _, err := i.roster.Add(fresh); err != nil {
		t.Fatal(err)
	}
	if b, ok := i.roster.NodeBox(envelope.NodeIDOf(public(eve.node))); !ok || b.Name != "e-build" {
		t.Fatalf("node of %+v", b)
	}
	// Another node takes the place over.
	if err := own.CertifyNode(eve.key, key(77), 0, now); err != nil {
		t.Fatal(err)
	}
	if n := own.Nodes(); len(n) != 1 || n[0].ID != envelope.NodeIDOf(public(key(77))) {
		t.Errorf("nodes %v", n)
	}
	// Eve leaves, and comes back by a new ticket.
	gone, err := own.Leave(eve.key, now)
	if err != nil || len(gone) != 1 || len(own.Nodes()) != 0 {
		t.Fatalf("leave: %v, %d statements, %d nodes", err, len(gone), len(own.Nodes()))
	}
	if _, err := i.roster.Add(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := i.roster.Authorize(creds, public(eve.node), now); envelope.KindOf(err) != envelope.Denied {
		t.Errorf("after leaving: %v", err)
	}
	_, err = own.Leave(eve.key, now)
	wantKind(t, "leave twice", err, envelope.NotFound)
	wantKind(t, "certify after leaving", own.CertifyNode(eve.key, eve.node, 0, now), envelope.Denied)
	ticket = must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	if err := eve.redeem(i, "e-build", ticket); err != nil {
		t.Fatalf("coming back: %v", err)
	}
	if err := i.Expel(eve.doc.ID(), now); err != nil {
		t.Fatal(err)
	}
	if _, ok := i.roster.BoxByName("e-build"); ok {
		t.Error("expelled and still there")
	}
	wantKind(t, "expel twice", i.Expel(eve.doc.ID(), now), envelope.NotFound)
	_, err = NewIssuer(key(3), i.roster, filepath.Join(dir, "x"))
	wantKind(t, "issuer with another root key", err, envelope.WrongNetwork)
}

func TestRenew(t *testing.T) {
	t.Parallel()
	i, _ := newTestIssuer(t)
	r := i.roster
	nodeKey := key(77)
	pub := nodeKey.Public().(ed25519.PublicKey)
	box := r.Boxes()[0]
	if err := r.CertifyNode(newTestBox(t, 1, envelope.Box).key, nodeKey, 0, now); err != nil {
		t.Fatal(err)
	}
	before := r.Nodes()
	early := now.Add(wire.CertValidity - RenewBefore - time.Hour)
	if did, err := i.Renew(early); did || err != nil {
		t.Errorf("renewed too early: %v", err)
	}
	later := early.Add(2 * time.Hour)
	if did, err := i.Renew(later); !did || err != nil {
		t.Errorf("not renewed: %v", err)
	}
	if did, err := i.Renew(later); did || err != nil {
		t.Errorf("renewed twice: %v", err)
	}
	for range 2 {
		if err := r.CertifyNode(newTestBox(t, 1, envelope.Box).key, nodeKey, 0, later); err != nil {
			t.Fatal(err)
		}
		if len(r.Statements()) != 4 { // two of the box, two of its node
			t.Errorf("%d statements, want 4", len(r.Statements()))
		}
	}
	if after := r.Nodes(); !slices.Equal(before, after) {
		t.Error("the ring has moved")
	}
	creds, _ := r.Credentials(before[0].ID)
	if _, err := r.Authorize(creds, pub, now.Add(wire.CertValidity+time.Hour)); err != nil {
		t.Errorf("after the old certificates' end: %v", err)
	}
	if err := i.Expel(box.Agent, later); err != nil {
		t.Fatal(err)
	}
	if did, err := i.Renew(later.Add(20 * RenewBefore)); did || err != nil {
		t.Errorf("an expelled box has its certificate renewed: %v", err)
	}
}

func TestGossipKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gossip.key")
	pub := root.Public().(ed25519.PublicKey)
	_, err := ReadGossipKey(path, pub)
	wantKind(t, "no file", err, envelope.NotFound)
	k := must(NewGossipKey(root, 7))
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadGossipKey(path, pub); err != nil || got.Key != k.Key || got.Serial != 7 || k.Key == [32]byte{} {
		t.Errorf("came back another key: %v", err)
	}
	_, err = ReadGossipKey(path, key(3).Public().(ed25519.PublicKey))
	wantKind(t, "another network's", err, envelope.Corrupt)
	if other := must(NewGossipKey(root, 7)); other.Key == k.Key {
		t.Error("two keys are the same")
	}
	_, err = NewGossipKey(root, 0)
	wantKind(t, "serial 0", err, envelope.Corrupt)
	whole := k.Encode()
	for n := range whole {
		cut := slices.Clone(whole)
		cut[n] ^= 1
		for _, bad := range [][]byte{whole[:n], cut} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadGossipKey(path, pub); envelope.KindOf(err) != envelope.Corrupt {
				t.Fatalf("damaged at %d: %v", n, err)
			}
		}
	}
}

func TestInvitationsFileDamaged(t *testing.T) {
	t.Parallel()
	i, dir := newTestIssuer(t)
	must(i.Invite("e-build", time.Hour, []string{"192.0.2.9:4242"}, now))
	path := filepath.Join(dir, "invitations.cbor")
	data := must(os.ReadFile(path))
	if err := os.WriteFile(path, data[:len(data)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewIssuer(root, i.roster, path)
	wantKind(t, "cut file", err, envelope.Corrupt)
}
