package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"l2p/envelope"
)

// terminalSession returns a session whose standard output is a terminal.
func terminalSession(t *testing.T) *session {
	t.Helper()
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil || !isTerminal(tty) {
		t.Skip("no pseudo-terminal here")
	}
	t.Cleanup(func() { tty.Close() })
	return newSession(strings.NewReader(""), tty, &bytes.Buffer{})
}

func TestBinaryToTerminal(t *testing.T) {
	t.Parallel()
	s := terminalSession(t)
	if _, err := s.createOutput("", binaryOutput, nil); !is(err, envelope.Usage) {
		t.Errorf("binary data to a terminal: error %v, want one of kind Usage", err)
	}
	for _, c := range []struct {
		path string
		kind outputKind
	}{{"-", binaryOutput}, {"", safeOutput}, {"", textOutput}} {
		if _, err := s.createOutput(c.path, c.kind, nil); err != nil {
			t.Errorf("createOutput(%q, %d): %v", c.path, c.kind, err)
		}
	}
	out, err := s.createOutput("", textOutput, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("bell \a")); !is(err, envelope.Usage) {
		t.Errorf("a control character to a terminal: error %v, want one of kind Usage", err)
	}
}

func TestTerminalText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		writes []string
		ok     bool
	}{
		{"text", []string{"one\ttwo\r\n", "three\n"}, true},
		{"letters of two halves", []string{"gr\xc3", "\xbcn"}, true},
		{"letter in three parts", []string{"\xe2", "\x82", "\xac"}, true},
		{"escape", []string{"\x1b[31m"}, false},
		{"C1 control", []string{"\xc2\x9b31m"}, false},
		{"C1 control of two halves", []string{"\xc2", "\x9b"}, false},
		{"not UTF-8", []string{"gr\xfcn und"}, false},
		{"NUL", []string{"a\x00b"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := &terminalText{w: &b}
			var err error
			for _, p := range test.writes {
				if _, err = w.Write([]byte(p)); err != nil {
					break
				}
			}
			if (err == nil) != test.ok {
				t.Fatalf("error %v", err)
			}
			if want := strings.Join(test.writes, ""); test.ok && b.String() != want {
				t.Errorf("wrote %q, want %q", b.String(), want)
			}
		})
	}
}

func TestOutputInPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSession(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	out, err := s.createOutput(link, binaryOutput, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("before it is finished the file holds %q", got)
	}
	s.mu.Lock()
	if len(s.unfinished) != 1 {
		t.Errorf("%d files would be removed by a signal, want 1", len(s.unfinished))
	}
	s.mu.Unlock()
	if err := out.finish(nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("the file holds %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced, not what it leads to")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want that of the file before", info.Mode())
	}
	if len(s.unfinished) != 0 {
		t.Error("a finished file is still thought unfinished")
	}
}
