package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"l2p/netq"
	"l2p/netq/wire"
)

// asOperator, set in the environment, makes the test program a client of the
// node whose state directory is its first argument.
const asOperator = "L2P_TEST_AS_OPERATOR"

// operate does what an operator's command would do, and prints what comes back.
func operate(args []string) int {
	out, err := runOperator(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(out)
	return 0
}

func runOperator(args []string) (string, error) {
	if len(args) < 2 {
		return "", errors.New("want a state directory and a command")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p := &process{state: args[0]}
	client, err := p.dial(ctx)
	if err != nil {
		return "", err
	}
	defer client.Close()
	switch args[1] {
	case "init":
		return "", client.Init(ctx, args[2])
	case "invite":
		r, err := client.Invite(ctx, wire.Invite{BoxName: args[2], TTL: 600})
		return r.Ticket, err
	case "join":
		r, err := client.Join(ctx, wire.Join{Ticket: args[2]})
		return r.BoxName, err
	case "alive":
		return aliveBoxes(ctx, client)
	}
	return "", fmt.Errorf("unknown command %q", args[1])
}

func aliveBoxes(ctx context.Context, client *netq.Client) (string, error) {
	s, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, n := range s.Nodes {
		if n.Alive {
			names = append(names, n.BoxName)
		}
	}
	return strings.Join(names, " "), nil
}

// operate runs the test program as an operator of p, where p runs.
func (p *process) operate(args ...string) (string, error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", p.host, os.Args[0], p.state}, args...)...)
	cmd.Env = append(os.Environ(), asOperator+"=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s at %s: %w: %s", args[0], p.name, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func (p *process) mustOperate(args ...string) string {
	p.t.Helper()
	out, err := p.operate(args...)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.logTail())
	}
	return out
}

// newHosts makes n hosts on one LAN of their own, as network namespaces.
func newHosts(t *testing.T, n int) []string {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command (iproute2) to make network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	prefix := fmt.Sprintf("l2p-agentd-%d", os.Getpid())
	bridge := prefix + "-br"
	if out, err := exec.Command("ip", "netns", "add", bridge).CombinedOutput(); err != nil {
		t.Skipf("network namespaces don't work here: %v: %s", err, out)
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { ip("netns", "del", bridge) })
	ip("-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	ip("-n", bridge, "link", "set", "br0", "up")
	var hosts []string
	for i := range n {
		host, port := fmt.Sprintf("%s-%d", prefix, i), fmt.Sprintf("port%d", i)
		ip("netns", "add", host)
		t.Cleanup(func() { ip("netns", "del", host) })
		ip("-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
		ip("-n", bridge, "link", "set", port, "master", "br0", "up")
		ip("-n", host, "addr", "add", fmt.Sprintf("198.51.100.%d/24", i+1), "dev", "eth0")
		ip("-n", host, "link", "set", "eth0", "up")
		ip("-n", host, "link", "set", "lo", "up")
		hosts = append(hosts, host)
	}
	return hosts
}

// Nodes of one network find each other on a LAN though nothing says where they
// are, and those of another network stay by themselves.
func TestNodesFindEachOther(t *testing.T) {
	t.Parallel()
	var nodes []*process
	for i, host := range newHosts(t, 3) {
		p := newProcess(t, fmt.Sprintf("box-%d", i))
		p.host, p.listen = host, ":9011"
		nodes = append(nodes, p)
		p.start()
	}
	one, two, other := nodes[0], nodes[1], nodes[2]
	one.mustOperate("init", "one")
	other.mustOperate("init", "other")
	two.mustOperate("join", one.mustOperate("invite", "two"))

	for _, p := range []*process{one, two} {
		p.kill()
		if err := os.Remove(filepath.Join(p.state, "peers.cbor")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	one.start()
	two.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, p := range []*process{one, two} {
		for p.mustOperate("alive") != "one two" {
			if !pause(ctx, 200*time.Millisecond) {
				t.Fatalf("%s hasn't found its network after a minute:\n%s", p.name, p.logTail())
			}
		}
	}
	if got := other.mustOperate("alive"); got != "other" {
		t.Errorf("the box of the other network sees %q", got)
	}
	discoverAll(ctx, t, other.host)
}

// discoverAll checks that l2p discover, unlike the nodes, shows the boxes of
// every network.
func discoverAll(ctx context.Context, t *testing.T, host string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "l2p")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "l2p/cmd/l2p").CombinedOutput(); err != nil {
		t.Fatalf("building l2p: %v: %s", err, out)
	}
	for {
		out, err := exec.CommandContext(ctx, "ip", "netns", "exec", host, program, "--home", t.TempDir(), "--json", "discover", "--timeout", "1s").Output()
		if err != nil {
			t.Fatalf("l2p discover: %v", err)
		}
		var found []struct{ Network, Box string }
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatalf("l2p discover prints %q: %v", out, err)
		}
		networks := make(map[string]string)
		for _, f := range found {
			networks[f.Box] = f.Network
		}
		if len(networks) == 3 && networks["one"] == networks["two"] && networks["one"] != networks["other"] {
			return
		}
		if !pause(ctx, 200*time.Millisecond) {
			t.Fatalf("l2p discover shows %v", networks)
		}
	}
}
