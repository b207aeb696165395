package keystore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"l2p/envelope"
)

// killedDir, in its environment, makes the test binary a program that writes
// to the keystore there until it is killed.
const killedDir = "L2P_TEST_KILLED_KEYSTORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		fmt.Println(writeForever(dir)) // doesn't get here but for an error
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever makes and changes everything that a keystore keeps, and says on
// standard output what is done.
func writeForever(dir string) error {
	ctx := context.Background()
	s, err := Open(dir)
	if err != nil {
		return err
	}
	s.workFactor = 1
	for i := 0; ; i++ {
		name := fmt.Sprintf("agent-%d-%d@a-tech", os.Getpid(), i)
		key, err := NewRecoveryKey()
		if err != nil {
			return err
		}
		o := AgentOptions{Kind: envelope.User, Name: name, Passphrase: []byte("0"), Classic: true, KeepKeysLocal: i%2 == 1, Recovery: key.Public()}
		a, err := s.CreateAgent(ctx, o)
		if err != nil {
			return err
		}
		fmt.Println("agent", a.Agent())
		if err := s.Pin(name, a.Agent()); err != nil {
			return err
		}
		fmt.Println("name", name, a.Agent())
		for n := range 3 {
			from, to := fmt.Sprint(n), fmt.Sprint(n+1)
			if _, err := s.Passwd(ctx, a.Agent(), []byte(from), []byte(to)); err != nil {
				return err
			}
			fmt.Println("passphrase", a.Agent(), n+1)
			ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: a.Agent(), Name: "x"}
			if err := s.Remember(ref, envelope.Version{N: uint64(n + 1)}); err != nil {
				return err
			}
			fmt.Println("seen", a.Agent(), n+1)
		}
		if _, err := s.Rotate(ctx, a.Agent(), RotateOptions{Passphrase: []byte("3")}); err != nil {
			return err
		}
		fmt.Println("rotated", a.Agent(), 1)
		chain, err := s.Chain(ctx, a.Agent())
		if err != nil {
			return err
		}
		// What came last is left behind, as if it were a thief's.
		if _, err := s.Recover(ctx, chain[:1+i%2], key, RecoverOptions{Passphrase: []byte("3"), KeepKeysLocal: o.KeepKeysLocal}); err != nil {
			return err
		}
		fmt.Println("recovered", a.Agent(), 1)
		if err := s.SetDefault(a.Agent()); err != nil {
			return err
		}
	}
}

// TestKill kills programs that write to one keystore at points of no choice of
// theirs. What they said was done must be there; all else must be as if it had
// been done or not, and nothing half written may stay.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/keystore"
	done := map[string]string{} // what the programs said, by its object
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		for _, line := range runAndKill(t, dir, 1+rand.IntN(60)) {
			verb, rest, _ := strings.Cut(line, " ")
			object, value, _ := strings.Cut(rest, " ")
			done[verb+" "+object] = value
		}
		checkAfterKill(t, dir, done)
	}
	if len(done) < rounds {
		t.Errorf("only %d things were done in %d rounds", len(done), rounds)
	}
}

// runAndKill runs a writing program, kills it after it has said a number of
// things (and a moment more), and returns what it said.
func runAndKill(t *testing.T, dir string, lines int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	r := bufio.NewScanner(out)
	for r.Scan() {
		if said = append(said, r.Text()); len(said) == lines {
			// It goes on writing meanwhile; where the signal meets it is chance.
			time.AfterFunc(rand.N(3*time.Millisecond), func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("it ended by itself: %v: %q", err, said[max(0, len(said)-1):])
	}
	return said
}

// checkAfterKill opens the keystore as the next program does.
func checkAfterKill(t *testing.T, dir string, done map[string]string) {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.path(tmpDir))
	if err != nil || len(left) > 0 {
		t.Errorf("%d temporary files are left, %v", len(left), err)
	}
	agents, err := s.Agents()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, a := range agents {
		id := a.ID().String()
		found[id] = true
		chain, err := s.Chain(t.Context(), a.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := envelope.VerifyChain(t.Context(), chain, s); err != nil {
			t.Error(err)
		}
		// The passphrase is that of the last change, or of the one under way.
		at := 0
		fmt.Sscan(done["passphrase "+id], &at)
		secrets, err := s.Unlock(a.ID(), []byte(fmt.Sprint(at)))
		if err != nil {
			at++
			if secrets, err = s.Unlock(a.ID(), []byte(fmt.Sprint(at))); err != nil {
				t.Errorf("%s: %v", id, err)
				continue
			}
		}
		// With KeepKeysLocal a new passphrase makes no new document.
		newest := chain[len(chain)-1]
		if v := secrets.DocumentVersion(); v != newest.Version || !newest.Locked.IsZero() && at < 3 && v != uint64(at)+1 {
			t.Errorf("%s: passphrase %d opens version %d of %d", id, at, v, newest.Version)
		}
		if rotated := len(chain) > 1 && !newest.SigningKey().Equal(chain[0].SigningKey()); done["rotated "+id] != "" && !rotated ||
			done["recovered "+id] != "" && !newest.IsRecovery() {
			t.Errorf("%s: version %d is the newest", id, newest.Version)
		}
		seen, err := s.Seen(envelope.Ref{Kind: envelope.KindEnvelope, Owner: a.ID(), Name: "x"})
		var n uint64
		fmt.Sscan(done["seen "+id], &n)
		if err != nil || seen.N < n || seen.N > n+1 {
			t.Errorf("%s: version %d is remembered, %d was seen; %v", id, seen.N, n, err)
		}
	}
	if len(agents) > 0 {
		if _, err := s.FindAgent(""); err != nil {
			t.Error(err)
		}
	}
	for what, value := range done {
		verb, object, _ := strings.Cut(what, " ")
		switch verb {
		case "agent":
			if !found[object] {
				t.Errorf("agent %s was made and is gone", object)
			}
		case "name":
			if id, err := s.Pinned(object); err != nil || id.String() != value {
				t.Errorf("name %s was pinned to %s and is to %s, %v", object, value, id, err)
			}
		}
	}
}
