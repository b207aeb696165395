package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"l2p/agentd/agentdtest"
	"l2p/envelope"
)

// TestRebuildIndex: a real node, killed, with its index damaged, says so and
// doesn't start; rebuilt, it has all that it acknowledged, though it is alone.
func TestRebuildIndex(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "box-0")
	p.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := p.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	author := agentdtest.NewAuthor(t)
	data := bytes.Repeat([]byte("a course"), 200_000)
	if err := client.Init(ctx, p.name); err != nil {
		t.Fatal(err)
	}
	if err := author.Publish(ctx, client); err != nil {
		t.Fatal(err)
	}
	put, err := author.Put(ctx, client, "course", envelope.Version{}, data)
	if err != nil {
		t.Fatal(err)
	}
	wantRun(t, p, 9, "in use by another process", "--rebuild-index")
	if err := client.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait(t)

	manifest := filepath.Join(p.state, "index", "MANIFEST")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, p, 6, "run agentd --rebuild-index")
	wantRun(t, p, 0, "agentd: index rebuilt: ", "--rebuild-index")

	p.start()
	again, err := p.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	got, _, err := author.Get(ctx, again, "course")
	if err != nil || got.Version != put.Version || !bytes.Equal(got.Data, data) {
		t.Errorf("after the rebuild: version %d, %d bytes, %v", got.Version.N, len(got.Data), err)
	}
}

// wantRun runs agentd on the state of p to its end and insists on the exit
// code, and on one line that says part.
func wantRun(t *testing.T, p *process, code int, part string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--state", p.state, "--listen", "127.0.0.1:0", "--no-mdns"}, args...)...)
	cmd.Env = append(os.Environ(), asAgentd+"=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), part) {
		t.Errorf("agentd %q: exit code %d, want %d; %q should be one line with %q", args, got, code, out, part)
	}
}

// wait waits for a node that was asked to stop.
func (p *process) wait(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.logTail())
	}
	p.cmd = nil
}
