package agentd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	cidr := func(texts ...string) (list []net.Addr) {
		for _, s := range texts {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return list
	}
	all := cidr("127.0.0.1/8", "::1/128", "2001:db8::7/64", "fe80::1/64", "192.168.1.7/24", "10.0.0.7/8")
	for _, c := range []struct {
		listen     string
		interfaces []net.Addr
		local      string
		reachable  []string
	}{
		{"[::]:9011", all, "127.0.0.1:9011", []string{"192.168.1.7:9011", "10.0.0.7:9011", "[2001:db8::7]:9011"}},
		{"0.0.0.0:9011", all[:2], "127.0.0.1:9011", []string{"127.0.0.1:9011", "[::1]:9011"}},
		{"127.0.0.1:7", all, "127.0.0.1:7", []string{"127.0.0.1:7"}},
		{"[::ffff:10.0.0.7]:7", all, "10.0.0.7:7", []string{"10.0.0.7:7"}},
		{"0.0.0.0:9011", nil, "127.0.0.1:9011", nil},
	} {
		addr, err := net.ResolveUDPAddr("udp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := localAddr(addr); got != c.local {
			t.Errorf("%s: local address %s, want %s", c.listen, got, c.local)
		}
		if got := reachableAddrs(addr, c.interfaces); fmt.Sprint(got) != fmt.Sprint(c.reachable) {
			t.Errorf("%s: reachable at %v, want %v", c.listen, got, c.reachable)
		}
	}
}

func TestManyInterfaces(t *testing.T) {
	t.Parallel()
	var interfaces []net.Addr
	for i := range 50 {
		interfaces = append(interfaces, &net.IPNet{IP: net.IPv4(10, 0, 0, byte(i+1)), Mask: net.CIDRMask(8, 32)})
	}
	if got := reachableAddrs(&net.UDPAddr{IP: net.IPv6zero, Port: 1}, interfaces); len(got) != maxAddrs {
		t.Errorf("%d addresses, a ticket has room for %d", len(got), maxAddrs)
	}
}

func TestStateIsMadeOnceAndPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "node")
	open := func() *Agentd {
		a, err := New(Config{State: dir})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := open()
	if _, err := New(Config{State: dir}); envelope.KindOf(err) != envelope.Conflict {
		t.Errorf("a second node in one directory: %v, want kind %d", err, envelope.Conflict)
	}
	first.store.Close()
	second := open()
	defer second.store.Close()
	if first.self != second.self || first.box.Agent() != second.box.Agent() || !first.operatorKey.Equal(second.operatorKey) {
		t.Error("keys changed at a restart")
	}
	for _, name := range []string{fileNodeKey, fileBoxKey, fileOperatorKey, fileBoxDocument} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", info.Mode(), err)
	}
}

func TestDamagedState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, content string }{
		{fileNodeKey, "not hexadecimal"},
		{fileOperatorKey, strings.Repeat("00", 31)},
		{fileBoxKey, ""},
		{fileBoxDocument, "\xa0"},
		{fileNodeKey, strings.Repeat("x", maxStateFile+1)},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := New(Config{State: dir})
		if err == nil {
			a.store.Close()
		}
		if envelope.KindOf(err) != envelope.Corrupt || !strings.Contains(err.Error(), c.file) {
			t.Errorf("damaged %s: %v, want kind %d and the file's name", c.file, err, envelope.Corrupt)
		}
	}
}

func TestPeersAcrossRestarts(t *testing.T) {
	t.Parallel()
	s, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.readPeers(); got != nil {
		t.Errorf("peers of a new node: %v", got)
	}
	want := []wire.Peer{{Node: envelope.NodeID{1}, Addr: "10.0.0.1:9011"}}
	if err := s.writePeers(want); err != nil {
		t.Fatal(err)
	}
	if got := s.readPeers(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %v, wrote %v", got, want)
	}
	if err := s.write(filePeers, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if got := s.readPeers(); got != nil {
		t.Errorf("peers of a damaged file: %v", got)
	}
}

func TestRejectionsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		counted := 0
		r := newRejections(slog.New(slog.NewTextHandler(&out, nil)), func(string) { counted++ })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.run(ctx); close(done) }()
		for i := range 1000 {
			r.add("handshake", fmt.Sprintf("peer %d", i))
		}
		r.add("request", "peer x")
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if got := strings.Count(out.String(), "\n"); got != 2 {
			t.Errorf("%d lines after a minute, want 2:\n%s", got, out.String())
		}
		if !strings.Contains(out.String(), "times=1000") || !strings.Contains(out.String(), `last="peer 999"`) {
			t.Errorf("the log doesn't say how often and who:\n%s", out.String())
		}
		r.add("request", "peer y")
		cancel()
		<-done
		if got := strings.Count(out.String(), "\n"); got != 3 {
			t.Errorf("what was left isn't logged at the end:\n%s", out.String())
		}
		if counted != 1002 {
			t.Errorf("%d were counted, want 1002", counted)
		}
	})
}

func TestTurn(t *testing.T) {
	t.Parallel()
	tn := newTurn()
	if err := tn.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tn.acquire(ctx); envelope.KindOf(err) != envelope.Unavailable {
		t.Errorf("a turn that is taken: %v", err)
	}
	tn.release()
	if err := tn.acquire(t.Context()); err != nil {
		t.Error(err)
	}
}
