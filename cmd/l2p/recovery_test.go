package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"l2p/envelope"
	"l2p/keystore"
)

// TestLeftBehind: what a thief has published with keys that the recovery left
// behind opens for nobody, and the owner writes over it.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	paper := filepath.Join(sh.home, "paper")
	sh.ok("agent", "create", "--no-passphrase", "--recovery-file", paper, "ada@a-tech")
	x, y := sh.file("x", "mine"), sh.file("y", "the thief's")
	ada := func(args ...string) []string { return append([]string{"--as", "ada"}, args...) }
	for _, name := range []string{"course", "plan"} {
		sh.ok(ada("put", name, x, "-t", "eve@a-tech")...)
	}
	sh.ok(ada("agent", "rotate")...)
	for _, name := range []string{"course", "plan"} {
		sh.ok(ada("put", name, y)...)
	}
	sh.ok(ada("agent", "recover", "ada@a-tech", "--after", "1", "--recovery-file", paper, "--no-passphrase")...)

	sh.fails(envelope.Denied, "nothing proves who wrote version 2", "--as", "eve", "get", "ada@a-tech/course", "-o", "-")
	if _, errs, code := sh.run("", "--as", "eve", "get", "ada@a-tech/course", "--version", "1", "-o", "-"); code != 0 || !strings.Contains(errs, "that was revoked on") {
		t.Errorf("version 1: %d, %s", code, errs)
	}
	if _, errs, code := sh.run("", ada("put", "course", x, "-t", "eve@a-tech")...); code != 0 || !strings.Contains(errs, "nothing proves who wrote version 2") {
		t.Errorf("put: %d, %s", code, errs)
	}
	out, errs, code := sh.run("", "--as", "eve", "get", "ada@a-tech/course", "-o", "-")
	if code != 0 || out != "mine" || strings.Contains(errs, "revoked") {
		t.Errorf("version 3: %d, %q, %s", code, out, errs)
	}
	sh.ok(ada("rm", "plan")...)
	sh.fails(envelope.NotFound, "removed by ada@a-tech", "--as", "eve", "get", "ada@a-tech/plan", "-o", "-")
}

// TestReadersOfThief: who is to read what comes next isn't for a thief to say
// who has published the version before.
func TestReadersOfThief(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	paper := filepath.Join(sh.home, "paper")
	sh.ok("agent", "create", "--no-passphrase", "--recovery-file", paper, "ada@a-tech")
	x := sh.file("x", "the thief's")
	sh.ok("--as", "ada", "put", "course", x, "-t", "eve@a-tech")
	sh.ok("--as", "ada", "put", "open", x, "--public")
	sh.ok("--as", "ada", "agent", "recover", "ada@a-tech", "--recovery-file", paper, "--no-passphrase")
	for _, name := range []string{"course", "open"} {
		sh.fails(envelope.Denied, "its readers may be a thief's choice", "--as", "ada", "put", name, x)
		sh.ok("--as", "ada", "put", name, x, "-t", "adam@a-tech")
		sh.ok("--as", "ada", "put", name, x)
	}
}

// TestLeavingBehindGroups: an agent isn't recovered in a way that leaves a
// group with a version which nobody can check.
func TestLeavingBehindGroups(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	paper := filepath.Join(sh.home, "paper")
	sh.ok("agent", "create", "--no-passphrase", "--recovery-file", paper, "ada@a-tech")
	ada := func(args ...string) []string { return append([]string{"--as", "ada"}, args...) }
	sh.ok(ada("group", "create", "team@a-tech", "--no-recovery")...)
	sh.ok(ada("agent", "rotate")...)
	sh.ok(ada("group", "create", "others@a-tech", "--no-recovery")...)
	sh.ok(ada("group", "add", "team@a-tech", "eve@a-tech")...)
	recover := ada("agent", "recover", "ada@a-tech", "--recovery-file", paper, "--no-passphrase")
	sh.fails(envelope.Conflict, "version 2 of group team@a-tech", append(recover, "--after", "1")...)
	sh.ok(append(recover, "--after", "2")...)
	sh.ok(ada("group", "show", "team@a-tech")...)
}

// TestRecoveryOfflineIsPublishedLater: the operator publishes what was recovered
// without a node, as a file of documents.
func TestRecoveryOfflineIsPublishedLater(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	paper := filepath.Join(sh.home, "paper")
	sh.ok("agent", "create", "--no-passphrase", "--recovery-file", paper, "ada@a-tech")
	other, err := keystore.NewRecoveryKey()
	if err != nil {
		t.Fatal(err)
	}
	away := &shell{t: t, home: t.TempDir()}
	documents := filepath.Join(away.home, "ada.documents")
	sh.ok("agent", "export", "--public", "ada@a-tech", "-o", documents)
	away.ok("agent", "import", documents)
	away.ok("agent", "pin", "ada@a-tech", sh.id("ada@a-tech"))
	away.fails(envelope.Denied, "not the recovery key", "agent", "recover", "ada@a-tech", "--recovery-file", away.file("other", other.Text()), "--no-passphrase")
	away.ok("agent", "recover", "ada@a-tech", "--recovery-file", paper, "--no-passphrase")
	away.ok("agent", "export", "--public", "ada@a-tech", "-o", documents)
	sh.ok("agent", "import", documents)
	sh.ok("agent", "bind", "ada")
	id, err := envelope.ParseAgentID(sh.id("ada@a-tech"))
	if err != nil {
		t.Fatal(err)
	}
	ref := envelope.Ref{Kind: envelope.KindDocument, Owner: id}
	if have := sh.node.versions(ref, 0); len(have) != 2 || !have[0].Document.IsRecovery() {
		t.Errorf("the node has %d documents", len(have))
	}
	if _, err := os.Stat(paper); err != nil {
		t.Error(err)
	}
}
