package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// copyNodeFiles makes the node of one home that of another home, too, as for a
// second person on one machine.
func copyNodeFiles(t *testing.T, from, to string) {
	t.Helper()
	dir := filepath.Join(to, "node")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(from, "node"))); err != nil {
		t.Fatal(err)
	}
	holdLock(t, dir)
}

// holdLock takes a state directory's lock, as a node does that runs.
func holdLock(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// A result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

// l2p runs a command line in home.
func l2p(t *testing.T, home, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	s := newSession(strings.NewReader(stdin), &out, &errs)
	code := run(t.Context(), s, append([]string{"--home", home}, args...))
	return result{code, out.String(), errs.String()}
}

// must runs a command line that must succeed and returns its output.
func must(t *testing.T, home, stdin string, args ...string) string {
	t.Helper()
	r := l2p(t, home, stdin, args...)
	if r.code != 0 {
		t.Fatalf("l2p %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// mustFail runs a command line that must fail in one line that contains words.
func mustFail(t *testing.T, kind envelope.ErrorKind, words, home, stdin string, args ...string) {
	t.Helper()
	r := l2p(t, home, stdin, args...)
	if r.code != int(kind) || !strings.Contains(r.stderr, words) {
		t.Fatalf("l2p %s: exit code %d, want %d, and standard error with %q: %s", strings.Join(args, " "), r.code, kind, words, r.stderr)
	}
}

func idIn(t *testing.T, text string) envelope.AgentID {
	t.Helper()
	_, id, ok := strings.Cut(strings.TrimSpace(text), " ")
	got, err := envelope.ParseAgentID(id)
	if !ok || err != nil {
		t.Fatalf("no name and id in %q", text)
	}
	return got
}

// TestNamesThroughTheNode lets two people who share nothing but a network find
// each other by name, be in a group together, and notice a name that changes.
func TestNamesThroughTheNode(t *testing.T) {
	t.Parallel()
	adam, eve := t.TempDir(), t.TempDir()
	n := startDouble(t, adam, "a-tech")
	copyNodeFiles(t, adam, eve)

	out := must(t, adam, "", "agent", "create", "adam", "--no-passphrase", "--json")
	for _, want := range []string{`"name": "adam@a-tech"`, `"published": true`, `"bound": true`} {
		if !strings.Contains(out, want) {
			t.Errorf("agent create lacks %s: %s", want, out)
		}
	}
	eveID := idIn(t, must(t, eve, "", "agent", "create", "eve@a-tech", "--no-passphrase"))
	mustFail(t, envelope.Conflict, "is taken", eve, "", "agent", "create", "adam", "--no-passphrase")

	sealed := must(t, adam, "hello", "seal", "-t", "eve@a-tech")
	opened := l2p(t, eve, sealed, "open", "--from", "adam@a-tech")
	if opened.code != 0 || opened.stdout != "hello" || !strings.Contains(opened.stderr, "signed by adam@a-tech (l2p1") {
		t.Fatalf("open: %+v", opened)
	}
	mustFail(t, envelope.NotFound, "no box", adam, "", "seal", "-t", "eve@elsewhere")
	mustFail(t, envelope.NotFound, "knows no bob", adam, "", "seal", "-t", "bob@a-tech")

	// Eve's keystore has never heard of the group: the node tells.
	must(t, adam, "", "group", "create", "apprentices", "-m", "eve@a-tech")
	sealed = must(t, adam, "for all", "seal", "-t", "apprentices@a-tech", "--not-me")
	if got := must(t, eve, sealed, "open"); got != "for all" {
		t.Fatalf("opened %q", got)
	}
	must(t, adam, "", "group", "remove", "apprentices", "eve@a-tech")
	mustFail(t, envelope.NotReader, "", eve, must(t, adam, "later", "seal", "-t", "apprentices"), "open")

	// Another agent gets the name.
	mallory := t.TempDir()
	copyNodeFiles(t, adam, mallory)
	other := idIn(t, must(t, mallory, "", "agent", "create", "mallory@a-tech", "--no-passphrase"))
	n.bindName(t, "eve", other, n.boxKey)
	mustFail(t, envelope.Conflict, "is another agent than before", adam, "secret", "seal", "-t", "eve@a-tech")
	must(t, adam, "", "agent", "pin", "eve@a-tech", "--accept")
	must(t, adam, "secret", "seal", "-t", "eve@a-tech")
	n.bindName(t, "eve", envelope.AgentID{}, n.boxKey)
	mustFail(t, envelope.NotFound, "means nobody any more", adam, "secret", "seal", "-t", "eve@a-tech")
	must(t, adam, "secret", "seal", "-t", eveID.String())
}

// TestLyingNode lets a node lie about names in the ways it could.
func TestLyingNode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lie  func(t *testing.T, n *doubleNode, id envelope.AgentID)
		kind envelope.ErrorKind
	}{
		{"binding not signed by the box", func(t *testing.T, n *doubleNode, id envelope.AgentID) { n.bindName(t, "eve", id, newKey(t)) }, envelope.Corrupt},
		{"another root key", func(t *testing.T, n *doubleNode, id envelope.AgentID) {
			n.bindName(t, "eve", id, n.boxKey)
			n.rootKey = public(newKey(t))
		}, envelope.WrongNetwork},
		{"box admitted by another root key", func(t *testing.T, n *doubleNode, id envelope.AgentID) {
			n.bindName(t, "eve", id, n.boxKey)
			n.roster = nil
			n.admit(t, newKey(t))
		}, envelope.Corrupt},
		{"no certificate", func(t *testing.T, n *doubleNode, id envelope.AgentID) {
			n.bindName(t, "eve", id, n.boxKey)
			n.roster = nil
		}, envelope.NotFound},
		{"name of another", func(t *testing.T, n *doubleNode, id envelope.AgentID) {
			n.bindName(t, "bob", id, n.boxKey)
			n.passOff(envelope.Ref{Kind: envelope.KindBinding, Owner: n.box.ID(), Name: "bob"}, envelope.Ref{Kind: envelope.KindBinding, Owner: n.box.ID(), Name: "eve"})
		}, envelope.Corrupt},
		{"documents of another", func(t *testing.T, n *doubleNode, id envelope.AgentID) {
			n.bindName(t, "eve", envelope.AgentID{7}, n.boxKey)
			n.passOff(envelope.Ref{Kind: envelope.KindDocument, Owner: id}, envelope.Ref{Kind: envelope.KindDocument, Owner: envelope.AgentID{7}})
		}, envelope.Corrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			n := startDouble(t, home, "a-tech")
			id := idIn(t, must(t, home, "", "agent", "create", "adam", "--no-passphrase"))
			test.lie(t, n, id)
			r := l2p(t, home, "hello", "seal", "-t", "eve@a-tech", "--not-me")
			if r.code != int(test.kind) || r.stdout != "" {
				t.Errorf("exit code %d, want %d: %s", r.code, test.kind, r.stderr)
			}
		})
	}
}

// TestRevokedBox looks up names of a box that has been expelled.
func TestRevokedBox(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	n := startDouble(t, home, "a-tech")
	must(t, home, "", "agent", "create", "adam", "--no-passphrase")
	n.bindName(t, "eve", envelope.AgentID{7}, n.boxKey)
	cert := n.roster[0]
	signed, err := envelope.ParseSigned(cert.Data, 1<<12)
	if err != nil {
		t.Fatal(err)
	}
	n.revoke(t, signed.Hash())
	mustFail(t, envelope.NotFound, "no box", home, "hello", "seal", "-t", "eve@a-tech")
}

// TestChangeConflict lets another admin be faster.
func TestChangeConflict(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	n := startDouble(t, home, "a-tech")
	must(t, home, "", "agent", "create", "adam", "--no-passphrase")
	must(t, home, "", "agent", "create", "eve", "--no-passphrase")
	must(t, home, "", "group", "create", "apprentices")
	n.mu.Lock()
	n.refuse = envelope.Errorf(envelope.Conflict, "another version is the newest")
	n.mu.Unlock()
	mustFail(t, envelope.Conflict, "try again", home, "", "group", "add", "apprentices", "eve")
	if out := must(t, home, "", "group", "show", "apprentices", "--json"); strings.Contains(out, "eve@a-tech") {
		t.Errorf("what the network refused is kept: %s", out)
	}
}

// TestOfflineFirst publishes later what was made while no node was up.
func TestOfflineFirst(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	out := must(t, home, "", "agent", "create", "adam@a-tech", "--no-passphrase")
	must(t, home, "", "agent", "create", "eve@a-tech", "--no-passphrase")
	must(t, home, "", "group", "create", "apprentices@a-tech", "-m", "eve")
	must(t, home, "", "group", "remove", "apprentices", "eve")
	n := startDouble(t, home, "a-tech")
	must(t, home, "", "agent", "bind", "adam", idIn(t, out).String())
	must(t, home, "", "group", "add", "apprentices", "eve", "--json")
	for _, r := range n.records {
		if r.Document != nil && r.Document.Group != nil {
			if newest := n.versions(r.Ref, 0)[0]; newest.Version.N != 3 {
				t.Errorf("the network has version %d of the group, want 3", newest.Version.N)
			}
			return
		}
	}
	t.Error("the network has no group")
}

// TestNotOperator makes an agent on a machine whose user isn't the operator, and
// lets it look somebody up by its own key.
func TestNotOperator(t *testing.T) {
	t.Parallel()
	adam, eve := t.TempDir(), t.TempDir()
	startDouble(t, adam, "a-tech")
	copyNodeFiles(t, adam, eve)
	if err := os.Remove(filepath.Join(eve, "node", operatorKeyFile)); err != nil {
		t.Fatal(err)
	}
	must(t, adam, "", "agent", "create", "adam", "--no-passphrase")
	mustFail(t, envelope.Usage, "at which box", eve, "", "agent", "create", "eve", "--no-passphrase")
	r := l2p(t, eve, "", "agent", "create", "eve@a-tech", "--no-passphrase", "--json")
	if r.code != 0 || !strings.Contains(r.stdout, `"bound": false`) || !strings.Contains(r.stderr, "the operator of box a-tech must") {
		t.Fatalf("agent create: %+v", r)
	}
	mustFail(t, envelope.Denied, "only the operator", eve, "", "agent", "bind", "eve", "eve@a-tech")
	file := filepath.Join(eve, "eve.public")
	must(t, eve, "", "agent", "export", "--public", "-o", file)
	id := idIn(t, must(t, adam, "", "agent", "import", file))
	must(t, adam, "", "agent", "bind", "eve", id.String())
	if got := must(t, eve, must(t, adam, "hello", "seal", "-t", "eve@a-tech"), "open", "--from", "adam@a-tech"); got != "hello" {
		t.Errorf("opened %q", got)
	}
}

// TestForkedGroup changes a group in the network and, without knowing of that,
// in a keystore: the network's version counts, and the other is shown until it
// is taken in.
func TestForkedGroup(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	must(t, home, "", "agent", "create", "adam@a-tech", "--no-passphrase")
	must(t, home, "", "agent", "create", "eve@a-tech", "--no-passphrase")
	must(t, home, "", "group", "create", "apprentices@a-tech")
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(other, "keystore"), 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, home, "", "group", "add", "apprentices", "eve") // offline: a fork
	startDouble(t, other, "a-tech")
	must(t, other, "", "group", "renew", "apprentices")
	copyNodeFiles(t, other, home)
	r := l2p(t, home, "hello", "seal", "-t", "apprentices")
	if r.code != 0 || !strings.Contains(r.stderr, "version 2 of group apprentices@a-tech lost against another") {
		t.Errorf("seal: %+v", r)
	}
	if r = l2p(t, home, "hello", "seal", "-t", "apprentices"); r.stderr != "" {
		t.Errorf("it is said again: %s", r.stderr)
	}
	out := must(t, home, "", "group", "show", "apprentices")
	if !strings.Contains(out, "fork     version 2 of adam@a-tech adds eve@a-tech, lost against version 2 of adam@a-tech") ||
		!strings.Contains(out, "epoch    2") || strings.Contains(out, "member   eve") {
		t.Errorf("group show:\n%s", out)
	}
	must(t, home, "", "group", "resolve", "apprentices")
	out = must(t, home, "", "group", "show", "apprentices")
	if strings.Contains(out, "fork ") || !strings.Contains(out, "member   eve@a-tech") || !strings.Contains(out, "takes in 1 version that lost") {
		t.Errorf("group show:\n%s", out)
	}
}

// TestForkInNetwork: after a partition the network has both versions, each with
// keys of its own. Either keystore learns of the other's, what was sealed for
// the one that lost opens, and so it does when the fork is resolved.
func TestForkInNetwork(t *testing.T) {
	t.Parallel()
	home, other := t.TempDir(), t.TempDir()
	n := startDouble(t, other, "a-tech")
	for _, name := range []string{"adam", "eve", "carol", "dora"} {
		must(t, other, "", "agent", "create", name, "--no-passphrase")
	}
	must(t, other, "", "group", "create", "apprentices", "-m", "carol", "-m", "dora")
	must(t, other, "", "group", "admin", "add", "apprentices", "eve")
	if err := os.CopyFS(home, os.DirFS(other)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(home, "keystore"), 0o700); err != nil {
		t.Fatal(err)
	}
	holdLock(t, filepath.Join(home, "node"))
	before := len(n.records)
	must(t, other, "", "--as", "eve", "group", "remove", "apprentices", "carol")
	sealedThere := must(t, other, "hello", "seal", "-t", "apprentices", "--not-me")
	n.mu.Lock()
	cut := n.records[before:]
	n.records = n.records[:before:before]
	n.mu.Unlock()
	must(t, home, "", "group", "remove", "apprentices", "dora")
	sealedHere := must(t, home, "hello", "seal", "-t", "apprentices", "--not-me")
	n.mu.Lock()
	n.records = append(n.records, cut...)
	n.mu.Unlock()

	for _, h := range []string{home, other} {
		out := must(t, h, "", "group", "show", "apprentices")
		if strings.Count(out, "fork     version 3 of ") != 1 || !strings.Contains(out, ", lost against version 3 of ") {
			t.Errorf("group show:\n%s", out)
		}
		for _, sealed := range []string{sealedHere, sealedThere} {
			must(t, h, sealed, "open")
		}
	}
	must(t, home, "", "group", "resolve", "apprentices")
	for _, h := range []string{home, other} {
		out := must(t, h, "", "group", "show", "apprentices")
		if strings.Contains(out, "fork  ") || strings.Contains(out, "member   carol") || strings.Contains(out, "member   dora") || !strings.Contains(out, "epoch    3") {
			t.Errorf("group show:\n%s", out)
		}
	}
	// Who comes later reads both sides, too, and those who were removed on
	// either side nothing new.
	id := must1(t, other, "agent", "create", "frank", "--no-passphrase")
	must(t, home, "", "group", "add", "apprentices", id)
	for _, sealed := range []string{sealedHere, sealedThere} {
		must(t, other, sealed, "--as", "frank", "open")
	}
	sealed := must(t, home, "hello", "seal", "-t", "apprentices", "--not-me")
	for _, gone := range []string{"carol", "dora"} {
		mustFail(t, envelope.NotReader, "", other, sealed, "--as", gone, "open")
	}
}

// TestFasterAdmin: while a group is changed here, it is changed in the network.
// The change is made again on top of that.
func TestFasterAdmin(t *testing.T) {
	t.Parallel()
	home, other := t.TempDir(), t.TempDir()
	n := startDouble(t, other, "a-tech")
	for _, name := range []string{"adam", "eve", "carol", "dora"} {
		must(t, other, "", "agent", "create", name, "--no-passphrase")
	}
	must(t, other, "", "group", "create", "apprentices", "-m", "carol")
	must(t, other, "", "group", "admin", "add", "apprentices", "eve")
	if err := os.CopyFS(home, os.DirFS(other)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(home, "keystore"), 0o700); err != nil {
		t.Fatal(err)
	}
	holdLock(t, filepath.Join(home, "node"))
	// Once, before the node takes a new version, it gets another first.
	faster := func(args ...string) {
		lying := false
		n.lie = func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
			if r.Type != wire.TypeListRecords || lying {
				return body, data, err
			}
			ask, _ := decoded[wire.ListRecords](r)
			if len(n.versions(envelope.Ref{Kind: envelope.KindDocument, Owner: ask.Owner}, 0)) < 2 {
				return body, data, err // not the group
			}
			lying = true
			n.mu.Unlock()
			defer n.mu.Lock()
			must(t, other, "", append([]string{"--as", "eve"}, args...)...)
			return body, data, err
		}
	}
	faster("group", "remove", "apprentices", "carol")
	r := l2p(t, home, "", "group", "add", "apprentices", "dora")
	if r.code != 0 || !strings.Contains(r.stderr, "on top of version 3") || !strings.Contains(r.stderr, "version 4, epoch 2, 3 members") {
		t.Errorf("add: %+v", r)
	}
	// Both remove the same.
	faster("group", "remove", "apprentices", "dora")
	if r = l2p(t, home, "", "group", "remove", "apprentices", "dora"); r.code != 0 || !strings.Contains(r.stderr, "version 6, epoch 4, 2 members") {
		t.Errorf("remove: %+v", r)
	}
	// Who has been removed as an admin meanwhile changes nothing.
	faster("group", "admin", "remove", "apprentices", "adam")
	mustFail(t, envelope.Denied, "only an admin", home, "", "group", "add", "apprentices", "carol")
	out := must(t, home, "", "group", "show", "apprentices")
	if strings.Contains(out, "fork ") || strings.Contains(out, "member   carol") {
		t.Errorf("group show:\n%s", out)
	}
}

// TestCycleByTwo: two groups come into each other, by two changes that don't
// know of each other. It is shown, and neither sealing nor opening goes round.
func TestCycleByTwo(t *testing.T) {
	t.Parallel()
	home, other := t.TempDir(), t.TempDir()
	must(t, home, "", "agent", "create", "adam@a-tech", "--no-passphrase")
	must(t, home, "", "group", "create", "one@a-tech")
	must(t, home, "", "group", "create", "two@a-tech")
	if err := os.CopyFS(other, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(other, "keystore"), 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, home, "", "group", "add", "one", "two")
	mustFail(t, envelope.Usage, "would contain itself, through one@a-tech", home, "", "group", "add", "two", "one")
	startDouble(t, other, "a-tech")
	must(t, other, "", "group", "add", "two", "one")
	copyNodeFiles(t, other, home)
	must(t, home, "", "group", "admin", "add", "one", must1(t, home, "agent", "create", "eve@a-tech", "--no-passphrase"))
	for _, group := range []string{"one", "two"} {
		must(t, home, must(t, home, "hello", "seal", "-t", group, "--not-me"), "open")
		if out := must(t, home, "", "group", "show", group); !strings.Contains(out, "cycle    "+group+"@a-tech contains itself, through ") {
			t.Errorf("group show %s:\n%s", group, out)
		}
	}
	must(t, home, "", "group", "remove", "two", "one")
	if out := must(t, home, "", "group", "show", "two"); strings.Contains(out, "cycle ") {
		t.Errorf("group show:\n%s", out)
	}
}

// must1 is must for a command that names an agent, and returns its id.
func must1(t *testing.T, home string, args ...string) string {
	t.Helper()
	return idIn(t, must(t, home, "", args...)).String()
}
