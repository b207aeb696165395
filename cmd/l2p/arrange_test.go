package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestArrange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"agent list --json", "--json agent list"},
		{"--json agent --quiet list", "--json --quiet agent list"},
		{"seal file -t eve -o out", "seal --to eve --output out -- file"},
		{"seal -t=eve --to adam -- -file", "seal --to=eve --to adam -- -file"},
		{"seal -t -x -", "seal --to -x -- -"},
		{"seal help", "seal -- help"},
		{"help seal", "seal --help"},
		{"seal -h", "seal --help"},
		{"agent help", "agent --help"},
		{"--version", "--version"},
		{"-v", "--version"},
		{"", "--help"},
		{"group admin add apprentices eve --as anna", "--as anna group admin add -- apprentices eve"},
		{"seal --passphrase-file p -q f", "--passphrase-file p --quiet seal -- f"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			s := newSession(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
			got, err := arrange(newApp(s), strings.Fields(test.args))
			if err != nil || !slices.Equal(got, strings.Fields(test.want)) {
				t.Errorf("got %q, %v, want %q", strings.Join(got, " "), err, test.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"seal", "open", "inspect"}
	for word, want := range map[string]string{
		"sael": "seal", "sea": "seal", "seall": "seal", "sael2": "", "opan": "open", "frobnicate": "", "": "", "inpsect": "inspect", "noep": "",
	} {
		if got := nearest(words, word); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

// TestHelp asks every command for its help.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(path []string, cmds []*cli.Command)
	walk = func(path []string, cmds []*cli.Command) {
		for _, c := range cmds {
			path := append(slices.Clone(path), c.Name)
			name := strings.Join(path, " ")
			if c.Usage == "" || strings.HasSuffix(c.Usage, ".") {
				t.Errorf("l2p %s: usage %q should be a line without a period", name, c.Usage)
			}
			if r := l2p(t, t.TempDir(), "", append([]string{"help"}, path...)...); r.code != 0 || !strings.Contains(r.stdout, "l2p "+name) || !strings.Contains(r.stdout, c.Usage) {
				t.Errorf("l2p help %s: %+v", name, r)
			}
			walk(path, c.Subcommands)
		}
	}
	walk(nil, commands(newSession(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})))
}
