package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// TestAgeInterchange opens with age what export takes out of an envelope, and
// opens here what age has sealed.
func TestAgeInterchange(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	must(t, home, "", "agent", "create", "adam@a-tech", "--no-passphrase", "--quiet")
	s := newSession(strings.NewReader(""), io.Discard, io.Discard)
	s.home = home
	secrets, err := s.secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("hello\n", 300_000)
	exported := must(t, home, must(t, home, text, "seal", "-t", "adam"), "export")
	r, err := age.Decrypt(strings.NewReader(exported), secrets.Identities()[0].Age)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("age reads %d bytes, %v, want %d", len(got), err, len(text))
	}

	recipient, err := age.ParseHybridRecipient(secrets.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t, home, sealed.String(), "open", "-q"); got != text {
		t.Errorf("opened %d bytes of age's, want %d", len(got), len(text))
	}
	out := filepath.Join(home, "out")
	if r := l2p(t, home, sealed.String()[:sealed.Len()-1], "open", "-o", out); r.code != 6 {
		t.Errorf("a cut age file: exit code %d, %s", r.code, r.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(home, "*ut")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
