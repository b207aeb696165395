package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"l2p/envelope"
)

func (sh *shell) inspected(args ...string) (f envelopeFacts) {
	sh.t.Helper()
	if err := json.Unmarshal([]byte(sh.ok(append([]string{"inspect", "--json"}, args...)...)), &f); err != nil {
		sh.t.Fatal(err)
	}
	return f
}

func TestInspectRef(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	x := sh.file("x", "content")
	sh.ok("group", "create", "trainers@a-tech", "-m", "eve@a-tech")
	sh.ok("put", "plan", x, "--owner", "trainers@a-tech", "-t", "trainers@a-tech", "--title", "Plan", "--pad")
	sh.ok("--as", "eve", "share", "trainers@a-tech/plan", "-t", "eve@a-tech")
	adam, eve := sh.id("adam@a-tech"), sh.id("eve@a-tech")
	f := sh.inspected("--ref", "trainers@a-tech/plan")
	if f.Author != eve || f.AuthorName != "eve@a-tech" || f.AuthorState != authorVerified || f.Writer != adam || f.WriterName != "adam@a-tech" ||
		f.OwnerName != "trainers@a-tech" || f.Version != 2 || f.Parent == "" || f.Particulars != nil || *f.Size == 0 || f.Name != "plan" {
		t.Errorf("everybody sees %+v", f)
	}
	f = sh.inspected("--ref", "trainers@a-tech/plan", "-p")
	p := f.Particulars
	if p.Title != "Plan" || p.FileName != "x" || !f.Padded || len(p.Readers) != 3 {
		t.Errorf("readers see %+v", p)
	}
	for _, r := range p.Readers {
		if !slices.Contains([]string{"adam@a-tech", "eve@a-tech", "trainers@a-tech"}, r.Name) {
			t.Errorf("a reader is %+v", r)
		}
	}
	if first := sh.inspected("--ref", "trainers@a-tech/plan", "--version", "1"); first.Author != adam || first.Writer != "" || first.Version != 1 {
		t.Errorf("version 1 is %+v", first)
	}
	out := sh.ok("inspect", "-p", "--ref", "trainers@a-tech/plan")
	for _, want := range []string{"author       eve@a-tech (" + eve + "), verified\n", "writer       adam@a-tech (" + adam + "), verified\n",
		"owner        trainers@a-tech (", "bytes of payload, padded\n", "reader       eve@a-tech ("} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	sh.fails(envelope.Usage, "either a file or --ref", "inspect", "--ref", "x", x)
	sh.fails(envelope.Usage, "--version needs --ref", "inspect", "--version", "2", x)
	sh.fails(envelope.Usage, "counted from 1", "inspect", "--ref", "x", "--version", "0")
	sh.fails(envelope.NotFound, "no envelope", "inspect", "--ref", "x")
}

// TestInspectAuthor: what is said of an author whose key is another by now.
func TestInspectAuthor(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sealed := sh.ok("--as", "eve", "seal", "-a", "-t", "adam@a-tech", sh.file("x", "content"))
	file := sh.file("x.l2p", sealed)
	if f := sh.inspected(file); f.AuthorState != authorVerified || f.AuthorSince != "" {
		t.Errorf("at first: %+v", f)
	}
	sh.ok("--as", "eve", "agent", "rotate", "eve@a-tech")
	f := sh.inspected(file)
	if f.AuthorState != authorChanged || f.AuthorSince == "" {
		t.Errorf("after a rotation: %+v", f)
	}
	if out := sh.ok("inspect", file); !strings.Contains(out, "verified by an earlier key: there is another since 20") {
		t.Errorf("after a rotation: %s", out)
	}
	sh.ok("open", "--from", "eve@a-tech", file)

	paper := filepath.Join(sh.home, "paper")
	sh.ok("agent", "create", "ina@a-tech", "--no-passphrase", "--recovery-file", paper)
	sh.ok("--as", "ina", "put", "course", file, "-t", "ina@a-tech")
	file = sh.file("y.l2p", sh.ok("--as", "ina", "seal", "-a", "-t", "adam@a-tech", file))
	sh.ok("agent", "recover", "ina@a-tech", "--recovery-file", paper, "--no-passphrase")
	if f := sh.inspected(file); f.AuthorState != authorRevoked || f.AuthorSince == "" {
		t.Errorf("after a recovery: %+v", f)
	}
	if out := sh.ok("inspect", file); !strings.Contains(out, "REVOKED: whoever stole the key") {
		t.Errorf("after a recovery: %s", out)
	}
	sh.fails(envelope.Denied, "was revoked since", "open", "--from", "ina@a-tech", file)
	// To share it would make a thief's content look like the author's.
	sh.fails(envelope.Denied, "so perhaps by a thief", "--as", "ina", "share", "course", "-t", "eve@a-tech")
	sh.fails(envelope.Denied, "was revoked since", "--as", "ina", "get", "course", "-o", "-", "--from", "ina@a-tech")
}
