package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"l2p/envelope"
	"l2p/netq/wire"
)

// TestNet runs the scripts of testdata/net: boxes of real agentd processes on
// loopback, whose homes are $A, $B and $C.
func TestNet(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "l2p/cmd/agentd").CombinedOutput(); err != nil {
		t.Fatalf("go build agentd: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/net",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			for _, box := range []string{"A", "B", "C"} {
				env.Setenv(box, filepath.Join(env.WorkDir, strings.ToLower(box)))
			}
			env.Setenv("L2P_HOME", filepath.Join(env.WorkDir, "a"))
			env.Setenv("LOOP", "--listen=127.0.0.1:0")
			env.Setenv("NOWHERE", envelope.NetworkID{1}.String())
			env.Defer(func() { killNodes(env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"big":      big,
			"until":    until,
			"field":    field,
			"addr":     addr,
			"kill9":    kill9,
			"flip":     flip,
			"expired":  expired,
			"attack":   attack,
			"distinct": distinct,
			"nowhere":  nowhere,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// nodesIn returns the ids of the agentd processes whose state is below dir.
func nodesIn(dir string) []int {
	var ids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(line, []byte("\x00--state="+dir+string(filepath.Separator))) {
			continue
		}
		if id, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func killNodes(dir string) {
	for _, id := range nodesIn(dir) {
		syscall.Kill(id, syscall.SIGKILL)
	}
}

// deadline is how long a script waits for what must come.
const deadline = 30 * time.Second

// poll calls f until it reports true, for as long as the deadline.
func poll(ts *testscript.TestScript, what string, f func() bool) {
	for end := time.Now().Add(deadline); !f(); {
		if time.Now().After(end) {
			ts.Fatalf("%s: not after %s", what, deadline)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// until PATTERN COMMAND ARG…: runs the command until it succeeds and prints
// something that contains PATTERN on standard output.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND ARG…")
	}
	poll(ts, strings.Join(args, " "), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

// field VAR NAME: sets VAR to a field of the JSON object on standard output.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VAR NAME")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("no field %s", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// addr VAR HOME: sets VAR to the host:port of the node of a home.
func addr(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: addr VAR HOME")
	}
	text := ts.ReadFile(filepath.Join(args[1], "node", "endpoint"))
	_, at, ok := strings.Cut(strings.TrimSpace(text), "@")
	if !ok {
		ts.Fatalf("endpoint %q", text)
	}
	ts.Setenv(args[0], at)
}

// kill9 HOME: kills the node of a home, as a power cut would.
func kill9(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kill9 HOME")
	}
	if len(nodesIn(args[0])) != 1 {
		ts.Fatalf("there is not one node in %s", args[0])
	}
	killNodes(args[0])
	poll(ts, "kill9", func() bool {
		runs, err := nodeRuns(filepath.Join(args[0], "node"))
		return err == nil && !runs
	})
}

// flip HOME: flips a bit in the middle of each segment that a home's node keeps.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip HOME")
	}
	flipped := 0
	ts.Check(filepath.WalkDir(filepath.Join(args[0], "node", "segments"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		data[len(data)/2] ^= 1
		flipped++
		return os.WriteFile(path, data, 0o600)
	}))
	if flipped == 0 {
		ts.Fatalf("%s keeps no segments", args[0])
	}
}

// expired FILE: waits until the ticket in FILE has expired, by its own word.
func expired(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expired FILE")
	}
	ticket, err := wire.ParseTicket(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	poll(ts, "expired", func() bool { return time.Now().Unix() > ticket.Expires })
}
