package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgeProgram opens with the real age program what export takes out of an
// envelope, and opens here what that program has sealed.
func TestAgeProgram(t *testing.T) {
	t.Parallel()
	found, err := exec.Command("go", "tool", "-n", "age").Output()
	if err != nil {
		t.Fatalf("building age: %v", err)
	}
	program := strings.TrimSpace(string(found))
	home := t.TempDir()
	must(t, home, "", "agent", "create", "adam@a-tech", "--no-passphrase", "--quiet")
	s := newSession(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	s.home = home
	secrets, err := s.secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(home, "identity")
	if err := os.WriteFile(identity, fmt.Append(nil, secrets.Identities()[0].Age, "\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	text := strings.Repeat("hello, age\n", 200_000) // more than one segment
	cmd := exec.Command(program, "--decrypt", "--identity", identity)
	cmd.Stdin = strings.NewReader(must(t, home, must(t, home, text, "seal", "-t", "adam"), "export"))
	if out, err := cmd.Output(); err != nil || string(out) != text {
		t.Errorf("age opens %d bytes of an exported envelope, %v, want %d", len(out), err, len(text))
	}

	cmd = exec.Command(program, "--recipient", secrets.Recipient())
	cmd.Stdin = strings.NewReader(text)
	sealed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t, home, string(sealed), "open", "-q"); got != text {
		t.Errorf("l2p opens %d bytes of what age sealed, want %d", len(got), len(text))
	}
}
