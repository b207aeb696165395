package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A shell runs l2p in this process, for one home.
type shell struct {
	t    *testing.T
	home string
	node *doubleNode
}

// newShell returns a home with a node double of the box a-tech and the agents
// adam@a-tech (the default) and eve@a-tech.
func newShell(t *testing.T) *shell {
	t.Helper()
	home := t.TempDir()
	sh := &shell{t: t, home: home, node: startDouble(t, home, "a-tech")}
	sh.ok("agent", "create", "--no-passphrase", "adam@a-tech")
	sh.ok("agent", "create", "--no-passphrase", "eve@a-tech")
	return sh
}

// run runs l2p and returns what it printed, and its exit code.
func (sh *shell) run(stdin string, args ...string) (stdout, stderr string, code int) {
	sh.t.Helper()
	var out, errs bytes.Buffer
	s := newSession(strings.NewReader(stdin), &out, &errs)
	code = run(sh.t.Context(), s, append([]string{"--home", sh.home}, args...))
	for _, text := range []string{out.String(), errs.String()} {
		if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 && !strings.Contains(strings.Join(args, " "), "-o -") {
			sh.t.Errorf("%q printed a control character: %q", args, text)
		}
	}
	return out.String(), errs.String(), code
}

// ok runs a command that must succeed, and returns its standard output.
func (sh *shell) ok(args ...string) string {
	sh.t.Helper()
	out, errs, code := sh.run("", args...)
	if code != 0 {
		sh.t.Fatalf("l2p %q: exit code %d: %s", args, code, errs)
	}
	return out
}

// fails runs a command that must fail with a kind of error, in one line that
// contains text.
func (sh *shell) fails(kind envelope.ErrorKind, text string, args ...string) {
	sh.t.Helper()
	_, errs, code := sh.run("", args...)
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	if last := lines[len(lines)-1]; code != int(kind) || !strings.Contains(last, text) || !strings.HasPrefix(last, "l2p: ") || len(last) > 1000 {
		sh.t.Errorf("l2p %.100q: exit code %d, want %d; want %q in %q", args, code, kind, text, errs)
	}
}

func (sh *shell) file(name, content string) string {
	sh.t.Helper()
	path := filepath.Join(sh.home, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		sh.t.Fatal(err)
	}
	return path
}

func (sh *shell) lie(f func(r *netq.Request, body any, data []byte, err error) (any, []byte, error)) {
	sh.node.mu.Lock()
	defer sh.node.mu.Unlock()
	sh.node.lie = f
}

func TestNetworkStory(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.ok("group", "create", "apprentices@a-tech", "-m", "eve@a-tech")
	content := strings.Repeat("Go in detail\n", 200_000)
	x := sh.file("x", content)

	if out := sh.ok("put", "detailed", x, "-t", "adam@a-tech", "--title", "Go"); !strings.HasPrefix(out, "adam@a-tech/detailed version 1, for 1 reader, 2.6 MB, 3 of 3 copies") {
		t.Errorf("put printed %q", out)
	}
	sh.ok("put", "intro", x, "-t", "apprentices@a-tech")
	if out := sh.ok("get", "intro", "-o", "-"); out != content {
		t.Errorf("get gave %d bytes", len(out))
	}
	out := filepath.Join(sh.home, "y")
	sh.ok("--as", "eve", "get", "adam@a-tech/intro", "-o", out)
	if got, err := os.ReadFile(out); err != nil || string(got) != content {
		t.Errorf("get -o: %d bytes, %v", len(got), err)
	}
	sh.fails(envelope.NotReader, "detailed is sealed for others: none of your identities opens it", "--as", "eve", "get", "adam@a-tech/detailed", "-o", out)

	// A second version, for the same readers; the first stays.
	x2 := sh.file("x2", "second")
	if _, errs, code := sh.run("", "put", "intro", x2); code != 0 || !strings.Contains(errs, "for the readers of version 1: adam@a-tech, apprentices@a-tech") {
		t.Errorf("put again: %d, %s", code, errs)
	}
	if got := sh.ok("--as", "eve", "get", "adam@a-tech/intro", "-o", "-"); got != "second" {
		t.Errorf("newest: %q", got)
	}
	if got := sh.ok("get", "intro", "--version", "1", "-o", "-"); got != content {
		t.Errorf("version 1: %d bytes", len(got))
	}
	sh.fails(envelope.NotFound, "has no version 7 of", "get", "intro", "--version", "7", "-o", "-")
	sh.fails(envelope.Denied, "only adam@a-tech itself may write there", "--as", "eve", "put", "adam@a-tech/intro", x, "--public")

	// A group owns something.
	sh.ok("--as", "eve", "put", "notes", x2, "--owner", "apprentices@a-tech", "-t", "apprentices@a-tech")
	if got := sh.ok("get", "apprentices@a-tech/notes", "-o", "-"); got != "second" {
		t.Errorf("notes: %q", got)
	}
	sh.ok("put", "apprentices@a-tech/notes", x2)

	// A public one, from standard input.
	if _, errs, code := sh.run("hello", "put", "open", "-", "--public"); code != 0 {
		t.Error(errs)
	}
	if got := sh.ok("--as", "eve", "get", "adam@a-tech/open", "-o", "-"); got != "hello" {
		t.Errorf("open: %q", got)
	}

	var rows []lsRow
	if err := json.Unmarshal([]byte(sh.ok("--as", "eve", "ls", "@a-tech", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, r := range rows {
		got[r.OwnerName+"/"+r.Name] = r.Readable
	}
	want := map[string]string{"adam@a-tech/detailed": "sealed", "adam@a-tech/intro": "yes", "adam@a-tech/open": "yes", "apprentices@a-tech/notes": "yes"}
	for name, readable := range want {
		if got[name] != readable {
			t.Errorf("ls: %s is %q, want %q", name, got[name], readable)
		}
	}
	if len(got) != len(want) {
		t.Errorf("ls: %v", got)
	}
	if all := sh.ok("ls", "--all"); strings.Count(all, "\n") != len(want)+1 {
		t.Errorf("ls --all: %s", all)
	}
	if table := sh.ok("history", "intro"); !strings.Contains(table, "\n2 ") || !strings.Contains(table, "adam@a-tech") {
		t.Errorf("history: %s", table)
	}

	// Removed, and there again.
	sh.ok("rm", "intro")
	sh.fails(envelope.NotFound, "intro was removed by adam@a-tech", "get", "intro", "-o", "-")
	sh.fails(envelope.NotFound, "removed already", "rm", "intro")
	sh.fails(envelope.Usage, "nobody to seal for; `-t adam@a-tech` seals for yourself alone", "put", "intro", x)
	if out := sh.ok("put", "intro", x, "--public"); !strings.HasPrefix(out, "adam@a-tech/intro version 4") {
		t.Errorf("put after rm: %s", out)
	}
	if table := sh.ok("history", "intro"); !strings.Contains(table, "removed") {
		t.Errorf("history: %s", table)
	}
	if out := sh.ok("ls", "eve@a-tech"); out != "nothing is there\n" {
		t.Errorf("ls of nothing: %q", out)
	}
}

func TestNetworkFolder(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	dir := makeFolder(t)
	sh.ok("put", "course", dir, "-t", "eve@a-tech")
	dest := filepath.Join(sh.home, "out")
	t.Cleanup(func() { removeTree(dest) })
	sh.ok("--as", "eve", "get", "adam@a-tech/course", "-o", dest)
	if !bytes.Equal(archive(t, dest), archive(t, dir)) {
		t.Error("another folder came back")
	}
	sh.fails(envelope.Conflict, "exists already", "get", "course", "-o", dest)
	sh.fails(envelope.Usage, "--json has no place", "get", "course", "-o", "-", "--json")
	sh.fails(envelope.NotFound, "no/where", "get", "course", "-o", filepath.Join(sh.home, "no", "where", "else"))
	sh.ok("get", "course", "-o", dest, "--force")
	if got := sh.ok("get", "course", "-o", "-"); got != string(archive(t, dir)) {
		t.Error("another archive came back")
	}
	// An altered last segment leaves nothing.
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypeGetSegment {
			data = bytes.Clone(data)
			data[len(data)-1] ^= 1
		}
		return body, data, err
	})
	other := filepath.Join(sh.home, "other")
	sh.fails(envelope.Corrupt, "", "get", "course", "-o", other)
	if _, err := os.Stat(other); err == nil {
		t.Error("half a folder was left")
	}
	if left := leftovers(t, sh.home); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Whatever a node answers, get gives what the owner published, or an error.
func TestNetworkNodeLies(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	x := sh.file("x", "first")
	sh.ok("put", "course", x, "-t", "eve@a-tech")
	sh.ok("put", "other", x, "--public")
	sh.file("x", "second")
	sh.ok("put", "course", x)
	first := func() []byte {
		sh.node.mu.Lock()
		defer sh.node.mu.Unlock()
		for _, r := range sh.node.records {
			if r.Ref.Name == "course" && r.Version.N == 1 {
				return r.Signed.Encode()
			}
		}
		return nil
	}()
	answerRecord := func(change func(data []byte) ([]byte, error)) {
		sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
			ask, askErr := decoded[wire.GetRecord](r)
			if r.Type == wire.TypeGetRecord && askErr == nil && ask.Ref.Kind == envelope.KindEnvelope && err == nil {
				data, err = change(data)
			}
			return body, data, err
		})
	}
	get := []string{"get", "course", "-o", filepath.Join(sh.home, "y")}

	answerRecord(func([]byte) ([]byte, error) { return first, nil })
	sh.fails(envelope.Conflict, "version 2", get...)
	answerRecord(func(data []byte) ([]byte, error) {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		return data, nil
	})
	sh.fails(envelope.Corrupt, "", get...)
	answerRecord(func(data []byte) ([]byte, error) { return data[:len(data)-1], nil })
	sh.fails(envelope.Corrupt, "", get...)
	answerRecord(func([]byte) ([]byte, error) {
		for _, r := range sh.node.records {
			if r.Ref.Name == "other" {
				return r.Signed.Encode(), nil
			}
		}
		return nil, nil
	})
	sh.fails(envelope.Corrupt, "another envelope", get...)
	answerRecord(func([]byte) ([]byte, error) {
		return nil, envelope.Errorf(envelope.Unavailable, "down\x1b[2J\nl2p: all is well %s", strings.Repeat("x", 500))
	})
	sh.fails(envelope.Unavailable, "down", get...)
	if _, err := os.Stat(filepath.Join(sh.home, "y")); err == nil {
		t.Error("something was written")
	}

	// Stale: told, and done all the same.
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if reply, ok := body.(wire.RecordReply); ok {
			reply.Stale = true
			body = reply
		}
		return body, data, err
	})
	if out, errs, code := sh.run("", "get", "course", "-o", "-"); code != 0 || out != "second" || !strings.Contains(errs, "there may be a newer version") {
		t.Errorf("stale: %d, %q, %s", code, out, errs)
	}
	// Somebody else is faster.
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypePutRecord {
			return nil, nil, envelope.Errorf(envelope.Conflict, "version 3 is there")
		}
		return body, data, err
	})
	sh.fails(envelope.Conflict, "somebody else was faster", "put", "course", x)
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypePutSegment {
			return nil, nil, envelope.Errorf(envelope.NotDurable, "not durable: 1 of 3 nodes has it")
		}
		return body, data, err
	})
	sh.fails(envelope.NotDurable, "not durable", "put", "course", x)
	sh.lie(nil)
	sh.node.copies = wire.PutReply{Copies: 1, Want: 1}
	if _, errs, code := sh.run("", "put", "course", x); code != 0 || !strings.Contains(errs, "only 1 node, so this has 1 copy and not 3") {
		t.Errorf("lone: %d %s", code, errs)
	}
}

func TestNetworkBoxes(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	if out := sh.ok("status"); !strings.Contains(out, "a-tech, which founded") || !strings.Contains(out, "DOWN") || !strings.Contains(out, "1 box for admission") {
		t.Errorf("status: %s", out)
	}
	var status statusResult
	if err := json.Unmarshal([]byte(sh.ok("status", "--json")), &status); err != nil || status.Network != sh.node.network.String() || len(status.Nodes) != 2 {
		t.Errorf("status --json: %+v, %v", status, err)
	}
	sh.lie(func(_ *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if reply, ok := body.(wire.StatusReply); ok {
			reply.DiskFree, reply.DiskNeed = 100<<20, 256<<20
			return reply, data, err
		}
		return body, data, err
	})
	if out := sh.ok("status"); !strings.Contains(out, "disk      FULL: the node takes no writes while less than 268.4 MB are free on its disk; there are 104.9 MB\n") {
		t.Errorf("status of a full disk: %s", out)
	}
	if _, errs, code := sh.run("", "init", "a-tech"); code != 0 || !strings.Contains(errs, "make room on the disk of") {
		t.Errorf("init on a full disk: %d, %s", code, errs)
	}
	sh.lie(nil)
	if out := sh.ok("ring"); !strings.Contains(out, "50% ##########") {
		t.Errorf("ring: %s", out)
	}
	sh.ok("put", "course", sh.file("x", "x"), "--public")
	if out := sh.ok("ring", "course"); !strings.Contains(out, "#o") || !strings.Contains(out, "-#") || !strings.Contains(out, "1 of 2") {
		t.Errorf("ring course: %s", out)
	}
	sh.ok("ring", "course", "--json")
	sh.fails(envelope.NotFound, "adam@a-tech has no envelope \"nothing\"; `l2p ls` shows what there is", "ring", "nothing")
	sh.fails(envelope.NotFound, "`l2p ls` shows what there is", "history", "nothing")
	sh.fails(envelope.NotFound, "`l2p history` shows which there are", "get", "course", "--version", "7")
	sh.fails(envelope.NotFound, "say it in full: eve@a-tech/course", "get", "eve/course")
	sh.fails(envelope.NotFound, "say it in full: eve@a-tech/course", "history", "eve/course")

	ticket := sh.ok("invite", "e-build")
	if !strings.HasPrefix(ticket, "l2pticket1") || strings.Count(ticket, "\n") != 1 {
		t.Errorf("invite: %q", ticket)
	}
	ticket = strings.TrimSpace(ticket)
	sh.fails(envelope.Usage, "--ttl", "invite", "e-build", "--ttl", "1000h")
	sh.fails(envelope.Usage, "box name", "invite", "E-Build")
	sh.fails(envelope.Usage, "for the box e-build, not for c-train", "join", ticket, "--box", "c-train")
	sh.fails(envelope.Usage, "mistyped", "join", ticket[:len(ticket)-1]+"?")
	sh.fails(envelope.Usage, "neither a ticket nor HOST:PORT", "join", "a-tech")
	sh.fails(envelope.Usage, "--box NAME", "join", "127.0.0.1:1")
	sh.fails(envelope.WrongNetwork, "is the network", "join", "127.0.0.1:1", "--box", "e-build", "--fingerprint", envelope.NetworkID{9}.String())
	sh.fails(envelope.Usage, "--listen", "join", ticket, "--listen", "127.0.0.1:0")
	sh.fails(envelope.Conflict, "this box is a-tech of the network l2pnet1", "join", ticket)
	if out := sh.ok("join", "127.0.0.1:1", "--box", "a-tech", "--fingerprint", sh.node.network.String()); !strings.HasPrefix(out, "this box is a-tech of the network l2pnet1") || !strings.HasSuffix(out, " already\n") {
		t.Errorf("join again: %s", out)
	}
	sh.node.alone = true
	if out := sh.ok("join", sh.file("ticket", ticket)); !strings.Contains(out, "e-build is in the network") {
		t.Errorf("join FILE: %s", out)
	}
	sh.fails(envelope.Usage, "neither a ticket nor HOST:PORT", "join", sh.file("note", "hello"))
	if out, errs, code := sh.run(ticket+"\n", "join", "-"); code != 0 || !strings.Contains(out, "e-build is in the network") {
		t.Errorf("join -: %s%s", out, errs)
	}
	sh.node.waits = 2
	if out, errs, code := sh.run("", "join", "127.0.0.1:1", "--box", "e-build", "--fingerprint", sh.node.network.String()); code != 0 || !strings.Contains(errs, "l2p admit 01000000") || !strings.Contains(out, "e-build is in the network") {
		t.Errorf("join with waiting: %d %s%s", code, out, errs)
	}

	sh.node.alone = false
	if out := sh.ok("admit"); out != "no box waits for admission\n" {
		t.Errorf("admit: %q", out)
	}
	one, two := envelope.HashOf("1\n"), envelope.HashOf("2\n")
	sh.node.pending = []wire.PendingRequest{{Request: one, BoxName: "e-build", Addr: "\x1b"}, {Request: two, BoxName: "e-build"}}
	if out := sh.ok("admit"); !strings.Contains(out, one.String()) {
		t.Errorf("admit: %s", out)
	}
	sh.fails(envelope.Usage, "2 requests", "admit", "e-build")
	sh.fails(envelope.NotFound, "no box waits", "admit", "c-train")
	sh.ok("admit", one.String()[:12])
	sh.ok("admit", "e-build", "--refuse")
	sh.ok("leave", "--yes")
	if out := sh.ok("stop"); !strings.HasPrefix(out, "stopped l2pnode1") {
		t.Errorf("stop: %s", out)
	}
	if out := sh.ok("stop"); !strings.HasPrefix(out, "no node runs in ") { // which is no error
		t.Errorf("stop again: %s", out)
	}
}

// TestNetworkWithoutNode: no node, nothing hangs, one line says what to do.
func TestNetworkWithoutNode(t *testing.T) {
	t.Parallel()
	sh := &shell{t: t, home: t.TempDir()}
	sh.ok("agent", "create", "--no-passphrase", "--offline", "adam@a-tech")
	x := sh.file("x", "x")
	for _, args := range [][]string{{"put", "course", x, "--public"}, {"get", "course"}, {"ls"}, {"rm", "course"}, {"history", "course"}, {"ring"}, {"status"}, {"invite", "e-build"}, {"admit"}, {"leave", "--yes"}} {
		sh.fails(envelope.Unavailable, "there is no node in", args...)
	}
	sh.ok("stop")
	_, other, _ := ed25519.GenerateKey(nil)
	nobody := envelope.NodeIDOf(other.Public().(ed25519.PublicKey)).String() + "@127.0.0.1:1"
	sh.fails(envelope.Unavailable, "", "--node", nobody, "ls")
	sh.fails(envelope.Usage, "", "--node", "nonsense", "ls")
	long := strings.Repeat("n", 10<<20)
	for _, name := range []string{"a\x1b[2Jb", "a\nb", "", "..", long, "adam@a-tech/", "a//b", "\xff"} {
		sh.fails(envelope.Usage, "", "put", name, x, "--public")
		sh.fails(envelope.Usage, "", "get", name)
	}
	sh.fails(envelope.NotFound, "", "put", "course", filepath.Join(sh.home, "nothing"), "--public")
}
