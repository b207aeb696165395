package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"

	"l2p/envelope"
	"l2p/keystore"
)

func TestMain(m *testing.M) {
	openKeystore = openFastKeystore
	testscript.Main(m, map[string]func(){
		"l2p": func() { os.Exit(mainCode()) },
	})
}

// openFastKeystore opens a keystore that locks with little work: the scripts
// unlock many times, at 0.8 s each.
func openFastKeystore(dir string) (*keystore.Store, error) {
	store, err := keystore.Open(dir)
	if err != nil {
		return nil, err
	}
	store.SetWorkFactor(1)
	return store, nil
}

// TestScript runs the scripts of testdata/script, each in a directory of its
// own that is its L2P_HOME as well.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("L2P_HOME", env.WorkDir+"/.l2p")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("ESC", "\x1b")
			env.Setenv("STRANGER", envelope.AgentID{1}.String())
			env.Setenv("LONG", strings.Repeat("x", 100_000))
			env.Defer(func() { killKeepers(env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
			"mode":  mode,
			"big":   big,

			"killkeeper": killkeeper,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits N COMMAND ARG…: the command's exit code must be N. If N isn't 0 it must
// have ended with one line on standard error that says why and can't drive a
// terminal.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	stderr := ts.ReadFile("stderr")
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if last := lines[len(lines)-1]; want != 0 && !strings.HasPrefix(last, "l2p: ") {
		ts.Fatalf("no error line on standard error")
	}
	for _, line := range lines {
		if len(line) > 1000 {
			ts.Fatalf("a line of %d bytes on standard error", len(line))
		}
	}
	if strings.ContainsFunc(strings.ReplaceAll(stderr, "\n", ""), unicode.IsControl) {
		ts.Fatalf("control characters on standard error: %q", stderr)
	}
}

// mode OCTAL FILE…: the files must have this mode.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode OCTAL FILE…")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// big SIZE FILE: make a file of so many bytes, every 4 of them different.
func big(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: big SIZE FILE")
	}
	size, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := make([]byte, size+4)
	for i := 0; i < size; i += 4 {
		data[i], data[i+1], data[i+2], data[i+3] = byte(i>>2), byte(i>>10), byte(i>>18), byte(i>>26)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data[:size], 0o600))
}
