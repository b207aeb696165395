package main

import (
	"strings"
	"testing"

	"l2p/envelope"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	const id = "l2p1x" // whether it is one is for resolve to say
	tests := []struct {
		text, owner, name string
		ok                bool
	}{
		{"go-intro", "", "go-intro", true},
		{"lessons/go intro/1", "", "lessons/go intro/1", true},
		{"adam@a-tech/go-intro", "adam@a-tech", "go-intro", true},
		{"adam@a-tech/lessons/1", "adam@a-tech", "lessons/1", true},
		{id + "/go", id, "go", true},
		{"go@home", "", "go@home", true}, // without a slash it is a name
		{"", "", "", false},
		{"adam@a-tech/", "", "", false},
		{"/go", "", "", false},
		{"a//b", "", "", false},
		{"../x", "", "", false},
		{"a\x1b[2J", "", "", false},
		{strings.Repeat("n", 10<<20), "", "", false},
	}
	for _, test := range tests {
		got, err := parseRef(test.text)
		if (err == nil) != test.ok || test.ok && got != (refText{test.owner, test.name}) {
			t.Errorf("parseRef(%.40q) = %+v, %v", test.text, got, err)
		}
		if err != nil && (envelope.KindOf(err) != envelope.Usage || len(err.Error()) > 500) {
			t.Errorf("parseRef(%.40q): kind %d, %d bytes", test.text, envelope.KindOf(err), len(err.Error()))
		}
	}
}
