package main

import (
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
		if err := checkReach(test.listen, test.addrs); (err == nil) != test.ok || err != nil && !is(err, envelope.Usage) {
			t.Errorf("from %q to %q: %v", test.listen, test.addrs, err)
		}
	}
}
