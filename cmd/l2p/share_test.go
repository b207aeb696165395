package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// counting counts the segments that are put from here on.
func (sh *shell) counting() *atomic.Int64 {
	n := new(atomic.Int64)
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypePutSegment {
			n.Add(1)
		}
		return body, data, err
	})
	return n
}

func (sh *shell) shared(args ...string) (r shareResult) {
	sh.t.Helper()
	if err := json.Unmarshal([]byte(sh.ok(append(args, "--json")...)), &r); err != nil {
		sh.t.Fatal(err)
	}
	return r
}

func (sh *shell) id(name string) string {
	sh.t.Helper()
	for line := range strings.Lines(sh.ok("agent", "list")) {
		if strings.Contains(line, name) {
			for f := range strings.FieldsSeq(line) {
				if strings.HasPrefix(f, "l2p1") && len(f) > 50 {
					return f
				}
			}
		}
	}
	sh.t.Fatalf("no id of %s", name)
	return ""
}

func TestShare(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	content := strings.Repeat("Go in detail\n", 200_000)
	sh.ok("put", "course", sh.file("x", content), "-t", "adam@a-tech", "--title", "Go", "--pad")
	get := func(version string) []string {
		return []string{"--as", "eve", "get", "adam@a-tech/course", "-o", "-", "--version", version}
	}
	sh.fails(envelope.NotReader, "sealed for others", get("1")...)

	moved := sh.counting()
	if out := sh.ok("share", "course", "--to", "eve@a-tech"); out != "adam@a-tech/course version 2, the same content, for 2 readers, new: eve@a-tech, 3 of 3 copies\n" {
		t.Errorf("share printed %q", out)
	}
	if moved.Load() != 0 {
		t.Errorf("share moved %d segments", moved.Load())
	}
	if got := sh.ok(get("2")...); got != content {
		t.Errorf("eve got %d bytes", len(got))
	}
	sh.fails(envelope.NotReader, "sealed for others", get("1")...)

	// Once more: nothing to do, unless keys have changed.
	adam, eve := sh.id("adam@a-tech"), sh.id("eve@a-tech")
	both := []string{adam, eve}
	slices.Sort(both)
	if r := sh.shared("share", "course", "-t", "eve@a-tech"); r.Changed || r.Version != 2 || !slices.Equal(r.Readers, both) || len(r.Added) != 0 {
		t.Errorf("shared again: %+v", r)
	}
	if r := sh.shared("share", "course", "--renew"); !r.Changed || r.Version != 3 || !slices.Equal(r.Readers, both) || r.Copies != 3 {
		t.Errorf("renewed: %+v", r)
	}

	// Taken away: sealed anew, and title and padding stay.
	out, errs, code := sh.run("", "unshare", "course", "--from", "eve@a-tech")
	if code != 0 || out != "adam@a-tech/course version 4, sealed anew for 1 reader, no longer: eve@a-tech, 3 of 3 copies\n" {
		t.Errorf("unshare: %d, %q, %s", code, out, errs)
	}
	if !strings.Contains(errs, "has its key, so it is sealed anew; what they have read stays read") {
		t.Errorf("unshare doesn't say why: %s", errs)
	}
	if moved.Load() == 0 {
		t.Error("unshare sealed nothing anew")
	}
	sh.fails(envelope.NotReader, "sealed for others", get("4")...)
	if got := sh.ok(get("3")...); got != content {
		t.Error("version 3 isn't what it was")
	}
	if got := sh.ok("get", "course", "-o", "-"); got != content {
		t.Error("version 4 has another content")
	}

	// By a list, and back.
	list := sh.file("list", "eve@a-tech # an apprentice\n"+adam+"\n")
	if r := sh.shared("share", "course", "-R", list); r.Version != 5 || !slices.Equal(r.Added, []string{eve}) {
		t.Errorf("shared by a list: %+v", r)
	}
	if r := sh.shared("unshare", "course", "--to", "eve@a-tech"); r.Version != 6 || !slices.Equal(r.Removed, []string{eve}) || !slices.Equal(r.Readers, []string{adam}) {
		t.Errorf("unshared: %+v", r)
	}
}

func TestShareRefuses(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	x := sh.file("x", "content")
	sh.ok("put", "course", x, "-t", "eve@a-tech")
	sh.ok("put", "secret", x, "-t", "eve@a-tech", "--not-me")
	sh.ok("put", "open", x, "--public")
	sh.ok("put", "gone", x, "--public")
	sh.ok("rm", "gone")
	for _, c := range []struct {
		kind envelope.ErrorKind
		text string
		args string
	}{
		{envelope.Usage, "nobody to share with", "share course"},
		{envelope.Usage, "from whom?", "unshare course"},
		{envelope.NotFound, "no envelope", "share nothing -t eve@a-tech"},
		{envelope.NotFound, "gone is removed", "share gone -t eve@a-tech"},
		{envelope.Usage, "open is for everybody", "share open -t eve@a-tech"},
		{envelope.Usage, "open is for everybody", "unshare open --from eve@a-tech"},
		{envelope.Usage, "is none of the readers of version 1", "unshare secret --from adam@a-tech"},
		{envelope.NotFound, "knows no nobody", "share course -t nobody@a-tech"},
		{envelope.Denied, "only adam@a-tech itself may write there", "--as eve share adam@a-tech/course -t eve@a-tech"},
		{envelope.Denied, "only adam@a-tech itself may write there", "--as eve unshare adam@a-tech/course --from adam@a-tech"},
	} {
		if strings.HasPrefix(c.args, "unshare secret") {
			sh.fails(envelope.NotReader, "only who can read it can share it", strings.Fields(c.args)...)
			continue
		}
		sh.fails(c.kind, c.text, strings.Fields(c.args)...)
	}
	sh.fails(envelope.Usage, "is none of the readers of version 1", "unshare", "course", "--from", sh.id("eve@a-tech"), "--from", "l2p"+sh.id("adam@a-tech")[3:], "--from", envelope.AgentID{1}.String())
	sh.fails(envelope.Usage, "nobody would be left", "unshare", "course", "--from", "eve@a-tech", "--from", "adam@a-tech")
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypePutRecord {
			return nil, nil, envelope.Errorf(envelope.Conflict, "version 2 is there")
		}
		return body, data, err
	})
	sh.fails(envelope.Conflict, "somebody else was faster", "share", "course", "--renew")
}

// TestShareInGroup: eve shares what adam wrote for their group, and it stays
// adam's; when she takes readers away it becomes hers.
func TestShareInGroup(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.ok("group", "create", "trainers@a-tech", "-m", "eve@a-tech")
	sh.ok("agent", "create", "--no-passphrase", "carl@a-tech")
	sh.ok("put", "plan", sh.file("x", "content"), "--owner", "trainers@a-tech", "-t", "trainers@a-tech")
	sh.ok("--as", "eve", "share", "trainers@a-tech/plan", "-t", "carl@a-tech")
	out, errs, code := sh.run("", "--as", "carl", "get", "trainers@a-tech/plan", "-o", "-", "--from", "adam@a-tech")
	if code != 0 || out != "content" {
		t.Errorf("carl: %d, %q, %s", code, out, errs)
	}
	if out := sh.ok("--as", "carl", "get", "trainers@a-tech/plan", "-o", filepath.Join(sh.home, "plan")); !strings.HasPrefix(out, "trainers@a-tech/plan version 2 by adam@a-tech, shared by eve@a-tech, is in ") {
		t.Errorf("get printed %q", out)
	}
	sh.fails(envelope.Denied, "adam@a-tech", "--as", "carl", "get", "trainers@a-tech/plan", "-o", "-", "--from", "eve@a-tech")
	sh.fails(envelope.Denied, "only members of trainers@a-tech", "--as", "carl", "share", "trainers@a-tech/plan", "--renew")
	if _, errs, code := sh.run("", "--as", "eve", "unshare", "trainers@a-tech/plan", "--from", "carl@a-tech"); code != 0 || !strings.Contains(errs, "signed as yours, and no longer as that of adam@a-tech") {
		t.Errorf("unshare: %d, %s", code, errs)
	}
	sh.fails(envelope.NotReader, "sealed for others", "--as", "carl", "get", "trainers@a-tech/plan", "-o", "-")
	sh.ok("get", "trainers@a-tech/plan", "-o", "-", "--from", "eve@a-tech")
}

func TestShareFile(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	content := strings.Repeat("Go in detail\n", 200_000)
	first := filepath.Join(sh.home, "x.l2p")
	sh.ok("seal", "-t", "adam@a-tech", "-o", first, sh.file("x", content))
	sh.fails(envelope.NotReader, "", "--as", "eve", "open", first)
	second := filepath.Join(sh.home, "y.l2p")
	sh.ok("share", "--file", first, "-t", "eve@a-tech", "-o", second)
	if got := sh.ok("--as", "eve", "open", "--from", "adam@a-tech", second); got != content {
		t.Errorf("eve got %d bytes", len(got))
	}
	if p := sh.inspected("-p", second).Particulars; len(p.Readers) != 2 || p.FileName != "x" {
		t.Errorf("particulars are %+v", p)
	}
	// Text of text, through a pipe.
	armored, errs, code := sh.run(sh.ok("share", "--file", first, "-t", "eve@a-tech", "-a"), "share", "--file", "-", "--renew", "-a")
	if code != 0 || !strings.HasPrefix(armored, "-----BEGIN") {
		t.Errorf("armored: %d, %s", code, errs)
	}
	if got, _, code := sh.run(armored, "--as", "eve", "open"); code != 0 || got != content {
		t.Errorf("armored: %d, %d bytes", code, len(got))
	}

	public, named, plain := filepath.Join(sh.home, "p.l2p"), sh.file("n.l2p", ""), filepath.Join(sh.home, "x.age")
	sh.ok("seal", "--public", "-o", public, first)
	sh.ok("export", "-o", plain, first)
	sh.fails(envelope.Denied, "only who sealed it can give it more readers", "--as", "eve", "share", "--file", second, "--renew", "-o", named)
	sh.fails(envelope.Usage, "for everybody", "share", "--file", public, "--renew", "-o", named)
	sh.fails(envelope.Usage, "plain age file", "share", "--file", plain, "--renew", "-o", named)
	sh.fails(envelope.Usage, "both input and output", "share", "--file", first, "--renew", "-o", first)
	sh.fails(envelope.Usage, "need --file", "share", "course", "--renew", "-o", named)
	sh.fails(envelope.Usage, "", "share", "--file", first, "course", "--renew")
	sh.fails(envelope.Usage, "--json has no place", "share", "--file", first, "--renew", "--json")
	sealed, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)-1] ^= 1
	sh.fails(envelope.Corrupt, "is not what the author sealed", "share", "--file", sh.file("bad", string(sealed)), "--renew", "-o", filepath.Join(sh.home, "half"))
	if _, err := os.Stat(filepath.Join(sh.home, "half")); err == nil {
		t.Error("half an envelope is there")
	}
}

// TestShareAsksLast: what can be refused without keys is, before the passphrase
// is asked for. Here that is an error, since it is in an empty file.
func TestShareAsksLast(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	secret := sh.file("secret", "correct horse battery staple\n")
	sh.ok("agent", "create", "ina@a-tech", "--passphrase-file", secret, "--no-recovery")
	x, empty := sh.file("x", "content"), sh.file("empty", "")
	sh.ok("--as", "ina", "--passphrase-file", secret, "put", "course", x, "-t", "eve@a-tech")
	sh.ok("--as", "ina", "--passphrase-file", secret, "put", "open", x, "--public")
	for _, c := range []struct {
		kind envelope.ErrorKind
		args string
	}{
		{envelope.NotFound, "share nothing -t eve@a-tech"},
		{envelope.NotFound, "share course -t nobody@a-tech"},
		{envelope.NotFound, "unshare course --from nobody@a-tech"},
		{envelope.Denied, "share adam@a-tech/course -t eve@a-tech"},
		{envelope.NotFound, "unshare nothing --from eve@a-tech"},
		{envelope.NotFound, "share --file nowhere -t eve@a-tech"},
	} {
		sh.fails(c.kind, "", append([]string{"--as", "ina", "--passphrase-file", empty}, strings.Fields(c.args)...)...)
	}
	sh.fails(envelope.Usage, "open is for everybody", "--as", "ina", "--passphrase-file", empty, "share", "open", "-t", "eve@a-tech")
	sh.fails(envelope.Usage, "is empty", "--as", "ina", "--passphrase-file", empty, "share", "course", "-t", "adam@a-tech")
	sh.fails(envelope.Usage, "is empty", "--as", "ina", "--passphrase-file", empty, "unshare", "course", "--from", "eve@a-tech")
	sh.ok("--as", "ina", "--passphrase-file", secret, "share", "course", "-t", "adam@a-tech")
}
