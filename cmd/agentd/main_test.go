package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"l2p/envelope"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout string // part of it
		stderr string // part of it
	}{
		{"version", []string{"--version"}, 0, "devel", ""},
		{"help", []string{"--help"}, 0, "--listen HOST:PORT", ""},
		{"man page", []string{"man"}, 0, ".SH NAME", ""},
		{"unknown flag", []string{"--frobnicate"}, 2, "", "frobnicate"},
		{"argument", []string{"join"}, 2, "", `takes no arguments, not "join"`},
		{"quota", []string{"--quota-agent", "much"}, 2, "", `--quota-agent "much" is no size, such as 500M`},
		{"quota too large", []string{"--quota-agent", "8388608T"}, 2, "", "is no size"},
		{"two units", []string{"--scrub-rate", "8MM"}, 2, "", "is no size"},
		{"nothing to rebuild", []string{"--rebuild-index"}, 3, "", "there is no store in"},
		{"log level", []string{"--log-level", "loud"}, 2, "", "debug, info, warn, error"},
		{"log format", []string{"--log-format", "xml"}, 2, "", "neither text nor json"},
		{"listen address", []string{"--listen", "nowhere", "--no-mdns"}, 2, "", "--listen"},
	} {
		t.Run(c.name, func(t *testing.T) { // one after the other: package cli writes to its global help flag
			var stdout, stderr bytes.Buffer
			args := append([]string{"agentd", "--state", t.TempDir()}, c.args...)
			if code := run(context.Background(), args, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, c.code, stderr.String())
			}
			if !strings.Contains(stdout.String(), c.stdout) {
				t.Errorf("stdout %q lacks %q", stdout.String(), c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || c.code != 0 && strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("stderr %q should be one line with %q", stderr.String(), c.stderr)
			}
		})
	}
}

// The log has ids and addresses as people know them, in JSON, too.
func TestLogInWords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := newLog(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	node := envelope.NodeID{1}
	log.Info("here", "node", node, "addr", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9011}, "err", errors.New("no"), "n", 7)
	for _, want := range []string{`"node":"` + node.String() + `"`, `"addr":"192.0.2.1:9011"`, `"err":"no"`, `"n":7`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}
