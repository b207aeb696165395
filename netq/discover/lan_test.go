package discover

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The LAN of these tests is network namespaces that the test makes and deletes:
// nothing is sent outside of them. The test binary starts itself in them.

const (
	roleEnv = "L2P_DISCOVER_TEST_ROLE"
	infoEnv = "L2P_DISCOVER_TEST_INFO"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "announce":
		os.Exit(announceRole())
	case "browse":
		os.Exit(browseRole())
	}
	os.Exit(m.Run())
}

// announceRole announces until its standard input is closed.
func announceRole() int {
	var i Info
	if err := json.Unmarshal([]byte(os.Getenv(infoEnv)), &i); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := Announce(ctx, i, slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// browseRole prints what one Browse finds for each line of standard input.
func browseRole() int {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		found, err := Browse(context.Background(), time.Second)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
			return 1
		}
	}
	return 0
}

// A lan is namespaces on one bridge.
type lan struct {
	t     *testing.T
	names []string
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// newLAN makes n hosts without a default route, joined by a bridge in a
// namespace of its own.
func newLAN(t *testing.T, n int) *lan {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command (iproute2) to make network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	l := &lan{t: t}
	prefix := fmt.Sprintf("l2p-%s-%d", t.Name(), os.Getpid())
	bridge := prefix + "-br"
	if out, err := exec.Command("ip", "netns", "add", bridge).CombinedOutput(); err != nil {
		t.Skipf("network namespaces don't work here: %v: %s", err, out)
	}
	t.Cleanup(func() { ip(t, "netns", "del", bridge) })
	ip(t, "-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	ip(t, "-n", bridge, "link", "set", "br0", "up")
	for i := range n {
		host := fmt.Sprintf("%s-%d", prefix, i)
		ip(t, "netns", "add", host)
		t.Cleanup(func() { ip(t, "netns", "del", host) })
		port := fmt.Sprintf("port%d", i)
		ip(t, "-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
		ip(t, "-n", bridge, "link", "set", port, "master", "br0", "up")
		ip(t, "-n", host, "addr", "add", fmt.Sprintf("198.51.100.%d/24", i+1), "dev", "eth0")
		ip(t, "-n", host, "link", "set", "eth0", "up")
		ip(t, "-n", host, "link", "set", "lo", "up")
		l.names = append(l.names, host)
	}
	return l
}

// start starts the test binary in a role on host n and ends it with the test.
func (l *lan) start(n int, role string, env ...string) (io.Writer, *bufio.Scanner) {
	l.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.names[n], exe)
	cmd.Env = append(os.Environ(), append(env, roleEnv+"="+role)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		in.Close() // both roles end at the end of their input
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("%s on %s: %v", role, l.names[n], err)
		}
	})
	return in, bufio.NewScanner(out)
}

func (l *lan) announce(n int, i Info) {
	l.t.Helper()
	data, err := json.Marshal(i)
	if err != nil {
		l.t.Fatal(err)
	}
	l.start(n, "announce", infoEnv+"="+string(data))
}

func TestLAN(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	// Two boxes of one network on hosts 0 and 1, and one of another on 1.
	one, two, other := testInfo(1), testInfo(1), testInfo(7)
	two.Node[5], two.BoxName, two.Port = 9, "e-build", 9012
	other.BoxName, other.Port = "c-train", 9013
	l.announce(0, one)
	l.announce(1, two)
	l.announce(1, other)
	want := []Found{
		{one.Network, one.Node, "a-tech", "198.51.100.1:9011"},
		{two.Network, two.Node, "e-build", "198.51.100.2:9012"},
		{other.Network, other.Node, "c-train", "198.51.100.2:9013"},
	}
	in, out := l.start(2, "browse")
	deadline := time.Now().Add(20 * time.Second)
	var found []Found
	for time.Now().Before(deadline) {
		fmt.Fprintln(in)
		if !out.Scan() {
			t.Fatal("browsing ended early")
		}
		found = nil
		if err := json.Unmarshal(out.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(found) == fmt.Sprint(want) {
			return
		}
	}
	t.Errorf("found %v\nwant %v", found, want)
}

// A host without any network is told so at once.
func TestNoLAN(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	ip(t, "-n", l.names[0], "link", "set", "eth0", "down")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.names[0], exe)
	cmd.Env = append(os.Environ(), roleEnv+"=browse")
	cmd.Stdin = strings.NewReader("\n")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("browsed without a network: %s", out)
	}
}
