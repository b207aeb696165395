package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"l2p/envelope"
	"l2p/netq"
)

// asAgentd, set in the environment, makes the test program the real one.
const asAgentd = "L2P_TEST_AS_AGENTD"

func TestMain(m *testing.M) {
	if os.Getenv(asAgentd) != "" {
		os.Unsetenv(asAgentd)
		main()
		return
	}
	if os.Getenv(asOperator) != "" {
		os.Exit(operate(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// A process is a real agentd that can be killed and started again on the same
// state and, after the first start, on the same port.
type process struct {
	t     *testing.T
	name  string
	state string
	host  string // network namespace it runs in, with mDNS; empty: the test's own, without

	mu     sync.Mutex
	listen string
	cmd    *exec.Cmd
	log    *os.File
}

func newProcess(t *testing.T, name string) *process {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, state: filepath.Join(dir, "state"), listen: "127.0.0.1:0", log: log}
	t.Cleanup(func() {
		p.kill()
		log.Close()
	})
	return p
}

// start starts the node and waits until it listens.
func (p *process) start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	os.Remove(filepath.Join(p.state, "endpoint"))
	args := []string{os.Args[0], "--state", p.state, "--listen", p.listen, "--log-level", "debug"}
	if p.host != "" {
		args = append([]string{"ip", "netns", "exec", p.host}, args...)
	} else {
		args = append(args, "--no-mdns")
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), asAgentd+"=1")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if _, host, err := p.endpoint(); err == nil {
			if p.host == "" {
				p.listen = host
			}
			return
		}
		if !pause(ctx, 5*time.Millisecond) {
			p.t.Fatalf("%s doesn't listen after half a minute:\n%s", p.name, p.logTail())
		}
	}
}

// kill ends the node with SIGKILL.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// endpoint reads where the node says that it is.
func (p *process) endpoint() (envelope.NodeID, string, error) {
	text, err := os.ReadFile(filepath.Join(p.state, "endpoint"))
	if err != nil {
		return envelope.NodeID{}, "", err
	}
	id, host, _ := strings.Cut(strings.TrimSpace(string(text)), "@")
	node, err := envelope.ParseNodeID(id)
	if err == nil {
		_, _, err = net.SplitHostPort(host)
	}
	return node, host, err
}

// dial connects as the operator.
func (p *process) dial(ctx context.Context) (*netq.Client, error) {
	node, host, err := p.endpoint()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(p.state, "operator.key"))
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return netq.DialClient(ctx, netq.ClientConfig{Addr: host, Key: ed25519.NewKeyFromSeed(seed), Node: node})
}

// logTail returns the end of the node's log.
func (p *process) logTail() string {
	data, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}
