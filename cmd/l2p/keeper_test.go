package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"l2p/envelope"
	"l2p/keystore"
)

// A testKeeper keeps keys in this process, for a keystore with one locked agent.
type testKeeper struct {
	*session
	agent   *keystore.Agent
	secrets *keystore.Secrets
	stop    context.CancelFunc
	done    chan struct{}
}

func startTestKeeper(t *testing.T) *testKeeper {
	t.Helper()
	// A test's own folder may have too long a path for a socket.
	home, err := os.MkdirTemp("", "l2p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	s := newSession(bytes.NewReader(nil), io.Discard, io.Discard)
	s.home = home
	store, err := s.store()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	secrets, err := store.CreateAgent(ctx, keystore.AgentOptions{Kind: envelope.User, Passphrase: []byte(testPassphrase)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := store.Agent(secrets.Agent())
	if err != nil {
		t.Fatal(err)
	}
	socket, err := s.keeperSocket()
	if err != nil {
		t.Fatal(err)
	}
	k, l, err := newKeeper(store, socket)
	if err != nil {
		t.Fatal(err)
	}
	k.pulse = 10 * time.Millisecond
	ctx, stop := context.WithCancel(ctx)
	tk := &testKeeper{s, a, secrets, stop, make(chan struct{})}
	go func() {
		defer close(tk.done)
		k.serve(ctx, l)
	}()
	t.Cleanup(func() { stop(); <-tk.done })
	return tk
}

// ended waits until the keeper has.
func (tk *testKeeper) ended(t *testing.T) {
	t.Helper()
	select {
	case <-tk.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the keeper goes on")
	}
	if _, err := os.Lstat(filepath.Join(tk.keystoreDir(), keeperSocketName)); err == nil {
		t.Error("it left its socket")
	}
	if tk.fromKeeper(context.Background(), tk.agent) != nil {
		t.Error("it gave keys afterwards")
	}
}

const testPassphrase = "correct horse battery staple"

func TestKeeper(t *testing.T) {
	t.Parallel()
	tk := startTestKeeper(t)
	ctx := t.Context()
	if tk.fromKeeper(ctx, tk.agent) != nil {
		t.Fatal("keys before any were kept")
	}
	if _, err := tk.keepUnlocked(ctx, tk.agent, tk.secrets, time.Hour); err != nil {
		t.Fatal(err)
	}
	got := tk.fromKeeper(ctx, tk.agent)
	if got == nil || !got.PrivateKey().Equal(tk.secrets.PrivateKey()) || got.Recipient() != tk.secrets.Recipient() || got.Agent() != tk.agent.ID() {
		t.Fatalf("keys are %v", got)
	}
	answer, _, err := tk.askKeeper(ctx, keeperRequest{Op: opList}, nil)
	if err != nil || len(answer.Unlocked) != 1 {
		t.Fatalf("list: %v, %v", answer, err)
	}
	// Dropping another changes nothing; dropping this ends it, and who asked for
	// that gets the answer when the socket is gone.
	if answer, _, err = tk.askKeeper(ctx, keeperRequest{Op: opDrop, Agent: envelope.AgentID{1}}, nil); err != nil || answer.Dropped != 0 {
		t.Fatalf("drop of another: %v, %v", answer, err)
	}
	if answer, _, err = tk.askKeeper(ctx, keeperRequest{Op: opDrop, Agent: tk.agent.ID()}, nil); err != nil || answer.Dropped != 1 {
		t.Fatalf("drop: %v, %v", answer, err)
	}
	if _, _, err := tk.askKeeper(ctx, keeperRequest{Op: opList}, nil); err != errNoKeeper {
		t.Errorf("after the last drop: %v", err)
	}
	tk.ended(t)
}

func TestKeeperEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, tk *testKeeper){
		"passphrase changed": func(t *testing.T, tk *testKeeper) {
			// Its next look would notice, too; but nobody gets old keys before.
			d, err := tk.keystore.Passwd(t.Context(), tk.agent.ID(), []byte(testPassphrase), []byte("another "+testPassphrase))
			if err != nil {
				t.Fatal(err)
			}
			if tk.agent, err = tk.keystore.Agent(d.ID()); err != nil {
				t.Fatal(err)
			}
			if tk.fromKeeper(t.Context(), tk.agent) != nil {
				t.Error("it gave out the keys of an older document")
			}
		},
		"expired": func(t *testing.T, tk *testKeeper) {
			if _, err := tk.keepUnlocked(t.Context(), tk.agent, tk.secrets, time.Millisecond); err != nil {
				t.Fatal(err)
			}
		},
		"signal": func(t *testing.T, tk *testKeeper) { tk.stop() },
		"home gone": func(t *testing.T, tk *testKeeper) {
			if err := os.RemoveAll(tk.home); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := startTestKeeper(t)
			if _, err := tk.keepUnlocked(t.Context(), tk.agent, tk.secrets, time.Hour); err != nil {
				t.Fatal(err)
			}
			f(t, tk)
			tk.ended(t)
		})
	}
}

// TestKeeperStrangeRequests: whatever is sent, the next request is answered.
func TestKeeperStrangeRequests(t *testing.T) {
	t.Parallel()
	tk := startTestKeeper(t)
	if _, err := tk.keepUnlocked(t.Context(), tk.agent, tk.secrets, time.Hour); err != nil {
		t.Fatal(err)
	}
	socket, err := tk.keeperSocket()
	if err != nil {
		t.Fatal(err)
	}
	keep, err := envelope.Encode(keeperRequest{Op: opKeep, For: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"nothing":            {},
		"half a length":      {0, 0},
		"no length":          {0, 0, 0, 0, 1},
		"a great length":     {0xff, 0xff, 0xff, 0xff},
		"half a frame":       {0, 0, 0, 9, 1},
		"not CBOR":           {0, 0, 0, 1, 0xff},
		"keep, no secret":    append([]byte{0, 0, 0, byte(len(keep))}, keep...),
		"keep, large secret": append(append([]byte{0, 0, 0, byte(len(keep))}, keep...), 0, 0xff, 0, 0),
	} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if answer, err := io.ReadAll(conn); os.IsTimeout(err) || len(answer) > 0 {
			t.Errorf("%s: answered %x, %v", name, answer, err)
		}
		conn.Close()
	}
	for name, req := range map[string]keeperRequest{
		"no such request": {Op: "open"},
		"keep for ever":   {Op: opKeep, Agent: tk.agent.ID(), For: maxUnlocked.Milliseconds() + 1},
		"keep for less":   {Op: opKeep, Agent: tk.agent.ID(), For: -1},
	} {
		var secret []byte
		if req.Op == opKeep {
			secret = []byte("x")
		}
		if _, _, err := tk.askKeeper(t.Context(), req, secret); !is(err, envelope.Other) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tk.fromKeeper(t.Context(), tk.agent) == nil {
		t.Error("the keys are gone")
	}
}

func FuzzKeeperRequest(f *testing.F) {
	for _, req := range []keeperRequest{{Op: opList}, {Op: opKeep, Agent: envelope.AgentID{1}, For: 1000}} {
		var b bytes.Buffer
		if err := writeMessage(&b, req); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req keeperRequest
		if readMessage(bytes.NewReader(data), &req) != nil {
			return
		}
		var b bytes.Buffer
		if err := writeMessage(&b, req); err != nil || !bytes.HasPrefix(data, b.Bytes()) {
			t.Errorf("%x is read as %+v, which is written as %x, %v", data, req, b.Bytes(), err)
		}
	})
}

// killKeepers kills the processes that keep keys unlocked for keystores below
// dir, and returns how many there were.
func killKeepers(dir string) int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !bytes.HasSuffix(line, []byte("\x00keep-unlocked\x00")) || !bytes.Contains(line, []byte("\x00--home\x00"+dir+"/")) {
			continue
		}
		if id, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && syscall.Kill(id, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// killkeeper: kills the one process that keeps keys unlocked for the script's
// keystores.
func killkeeper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: killkeeper")
	}
	if n := killKeepers(ts.Getenv("WORK")); n != 1 {
		ts.Fatalf("%d processes keep keys unlocked", n)
	}
}
