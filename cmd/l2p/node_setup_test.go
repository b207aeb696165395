package main

import (
	"io"
	"strings"
	"testing"

	"l2p/envelope"
)

func TestCheckReach(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listen string
		addrs  []string
		ok     bool
	}{
		{"", []string{"192.0.2.2:9011"}, true},
		{":9021", []string{"192.0.2.2:9011"}, true},
		{"192.0.2.3:9021", []string{"192.0.2.2:9011"}, true},
		{"127.0.0.1:9021", []string{"127.0.0.1:9011"}, true},
		{"127.0.0.1:9021", []string{"192.0.2.2:9011", "127.0.0.1:9011"}, true},
		{"127.0.0.1:9021", []string{"a-tech.example:9011"}, true}, // it may be this machine
		{"127.0.0.1:9021", []string{"192.0.2.2:9011"}, false},
		{"localhost:9021", []string{"192.0.2.2:9011", "[2001:db8::1]:9011"}, false},
		{"[::1]:9021", []string{"192.0.2.2:9011"}, false},
	} {
		if err := checkReach(test.listen, test.addrs, "give"); (err == nil) != test.ok || err != nil && !is(err, envelope.Usage) {
			t.Errorf("from %q to %q: %v", test.listen, test.addrs, err)
		}
	}
}

// TestCheckReaches: where the node listened before counts if nothing is said.
func TestCheckReaches(t *testing.T) {
	t.Parallel()
	s := newSession(nil, io.Discard, io.Discard)
	s.home = t.TempDir()
	far := []string{"192.0.2.2:9011"}
	if err := s.checkReaches("", far); err != nil {
		t.Error(err)
	}
	if err := s.setAgentdFlags("127.0.0.1:9021", false); err != nil {
		t.Fatal(err)
	}
	if err := s.checkReaches("", far); err == nil || !strings.Contains(err.Error(), "`l2p stop` it, and join with --listen :9021") {
		t.Error(err)
	}
	if err := s.checkReaches("127.0.0.1:9022", far); err == nil || !strings.Contains(err.Error(), "leave --listen out, or give --listen :9022") {
		t.Error(err)
	}
	if err := s.checkReaches(":9022", far); err != nil {
		t.Error(err)
	}
}
