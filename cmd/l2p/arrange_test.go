package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
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
