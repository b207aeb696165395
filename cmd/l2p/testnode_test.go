package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A testNode is a node that keeps records in memory and checks nothing, so
// that it can be made to lie. It is the box a-tech of a network of its own.
type testNode struct {
	node, root, box, operator ed25519.PrivateKey

	network  envelope.NetworkID
	boxAgent envelope.AgentID

	mu      sync.Mutex
	records map[envelope.Ref][]*envelope.Record
	roster  []wire.Statement
	rootKey []byte // that the node says it has
	refuse  error  // what puts are answered with
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// A testSigner signs for the box.
type testSigner struct {
	agent envelope.AgentID
	key   ed25519.PrivateKey
}

func (s testSigner) Agent() envelope.AgentID        { return s.agent }
func (s testSigner) DocumentVersion() uint64        { return 1 }
func (s testSigner) PrivateKey() ed25519.PrivateKey { return s.key }

// startTestNode starts a node as the own one of home.
func startTestNode(t *testing.T, home string) *testNode {
	t.Helper()
	n := &testNode{node: newKey(t), root: newKey(t), box: newKey(t), operator: newKey(t), records: make(map[envelope.Ref][]*envelope.Record)}
	n.rootKey, n.network = public(n.root), envelope.NetworkIDOf(public(n.root))
	doc, err := envelope.SignDocument(&envelope.Document{
		Format: 1, Kind: envelope.Box, Version: 1, Time: 1, Name: "a-tech",
		Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: public(n.box)}},
	}, nil, testSigner{key: n.box})
	if err != nil {
		t.Fatal(err)
	}
	n.boxAgent = doc.ID()
	n.put(t, envelope.KindDocument, doc.Signed())
	n.admit(t, "a-tech", n.root)

	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := netq.Listen(netq.Config{
		PacketConn: pc,
		Identity:   func() netq.Identity { return netq.Identity{Key: n.node} },
		Authorize:  func(string, netq.Peer) error { return nil },
		Handler:    n,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		e.Close()
		<-done
	})
	dir := filepath.Join(home, "node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		endpointFile:    envelope.NodeIDOf(public(n.node)).String() + "@" + pc.LocalAddr().String() + "\n",
		operatorKeyFile: hex.EncodeToString(n.operator.Seed()) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holdLock(t, dir)
	return n
}

// holdLock takes a state directory's lock, as a node does that runs.
func holdLock(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// admit adds a certificate of the box under a name to the roster.
func (n *testNode) admit(t *testing.T, name string, root ed25519.PrivateKey) {
	t.Helper()
	cert := &wire.BoxCert{Format: 1, Network: envelope.NetworkIDOf(public(root)), Name: name, Agent: n.boxAgent, Key: public(n.box), Nonce: [32]byte{1}}
	cert.NotBefore, cert.NotAfter = wire.CertTimes(time.Now())
	signed, err := wire.SignBoxCert(cert, root)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.roster = append(n.roster, wire.Statement{Kind: wire.StatementBox, Data: signed.Encode()})
}

// bind binds a name as the box does, signed by key.
func (n *testNode) bind(t *testing.T, local string, id envelope.AgentID, key ed25519.PrivateKey) {
	t.Helper()
	signed, err := n.binding(local, id, key)
	if err != nil {
		t.Fatal(err)
	}
	n.put(t, envelope.KindBinding, signed)
}

func (n *testNode) binding(local string, id envelope.AgentID, key ed25519.PrivateKey) (*envelope.Signed, error) {
	b := &envelope.Binding{Format: 1, Box: n.boxAgent, Name: local, Version: 1, Time: 1, Agent: id}
	n.mu.Lock()
	defer n.mu.Unlock()
	if chain := n.records[envelope.Ref{Kind: envelope.KindBinding, Owner: n.boxAgent, Name: local}]; len(chain) > 0 {
		last := chain[len(chain)-1].Version
		b.Version, b.Parent = last.N+1, last.Hash
	}
	return envelope.SignBinding(b, testSigner{n.boxAgent, key})
}

func (n *testNode) put(t *testing.T, kind envelope.RecordKind, signed *envelope.Signed) {
	t.Helper()
	r, err := envelope.NewRecord(kind, signed)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[r.Ref] = append(n.records[r.Ref], r)
}

// Serve answers as a node would.
func (n *testNode) Serve(_ context.Context, r *netq.Request) (wire.Type, any, []byte, error) {
	switch r.Type {
	case wire.TypeHello:
		return 0, wire.Welcome{Network: n.network, Node: envelope.NodeIDOf(public(n.node)), Box: n.boxAgent, BoxName: "a-tech", Software: "test",
			Operator: bytes.Equal(r.Peer.Key, public(n.operator))}, nil, nil
	case wire.TypeBind:
		var b wire.Bind
		if err := r.Decode(&b); err != nil {
			return 0, nil, nil, err
		}
		signed, err := n.binding(b.Name, b.Agent, n.box)
		if err != nil {
			return 0, nil, nil, err
		}
		return 0, nil, nil, n.take(envelope.KindBinding, signed.Encode())
	case wire.TypePutRecord:
		var p wire.PutRecord
		if err := r.Decode(&p); err != nil {
			return 0, nil, nil, err
		}
		return 0, wire.PutReply{Copies: 1, Want: 1}, nil, n.take(p.Kind, r.Data)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r.Type {
	case wire.TypeRoster:
		var q wire.RosterRequest
		if err := r.Decode(&q); err != nil {
			return 0, nil, nil, err
		}
		reply := wire.RosterReply{Network: n.network, RootKey: n.rootKey, Statements: []wire.Statement{}}
		if len(q.Have) == 0 {
			reply.Statements = n.roster
		}
		return 0, reply, nil, nil
	case wire.TypeGetRecord:
		var g wire.GetRecord
		if err := r.Decode(&g); err != nil {
			return 0, nil, nil, err
		}
		chain := n.records[g.Ref]
		if g.N == 0 {
			g.N = uint64(len(chain))
		}
		if g.N == 0 || g.N > uint64(len(chain)) {
			return 0, nil, nil, envelope.Errorf(envelope.NotFound, "no such record")
		}
		return 0, wire.RecordReply{}, chain[g.N-1].Signed.Encode(), nil
	case wire.TypeListRecords:
		var l wire.ListRecords
		if err := r.Decode(&l); err != nil {
			return 0, nil, nil, err
		}
		var list [][]byte
		for _, rec := range n.records[envelope.Ref{Kind: l.Kind, Owner: l.Owner, Name: l.Name}] {
			if rec.Version.N > l.AfterN {
				list = append(list, rec.Document.Bare().Signed().Encode())
			}
		}
		data, err := wire.EncodeRecords(list)
		return 0, wire.RecordsReply{}, data, err
	case wire.TypeMemberships:
		var m wire.Memberships
		if err := r.Decode(&m); err != nil {
			return 0, nil, nil, err
		}
		var list [][]byte
		refs := slices.SortedFunc(maps.Keys(n.records), func(a, b envelope.Ref) int {
			return cmp.Or(bytes.Compare(a.Owner[:], b.Owner[:]), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
		})
		for _, ref := range refs {
			last := n.records[ref][len(n.records[ref])-1]
			if last.Document == nil || last.Document.Group == nil {
				continue
			}
			if _, ok := last.Document.Member(m.Agent); ok {
				list = append(list, last.Signed.Encode())
			}
		}
		data, err := wire.EncodeRecords(list)
		return 0, wire.RecordsReply{}, data, err
	}
	return 0, nil, nil, envelope.Errorf(envelope.Usage, "not here")
}

// take is a compare-and-set.
func (n *testNode) take(kind envelope.RecordKind, data []byte) error {
	r, err := envelope.ParseRecord(kind, data)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return n.refuse
	}
	if r.Version.N != uint64(len(n.records[r.Ref]))+1 {
		return envelope.Errorf(envelope.Conflict, "another version is the newest")
	}
	n.records[r.Ref] = append(n.records[r.Ref], r)
	return nil
}

// A result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

// l2p runs a command line in home.
func l2p(t *testing.T, home, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	s := newSession(strings.NewReader(stdin), &out, &errs)
	code := run(t.Context(), s, append([]string{"--home", home}, args...))
	return result{code, out.String(), errs.String()}
}

// must runs a command line that must succeed and returns its output.
func must(t *testing.T, home, stdin string, args ...string) string {
	t.Helper()
	r := l2p(t, home, stdin, args...)
	if r.code != 0 {
		t.Fatalf("l2p %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// mustFail runs a command line that must fail in one line that contains words.
func mustFail(t *testing.T, kind envelope.ErrorKind, words, home, stdin string, args ...string) {
	t.Helper()
	r := l2p(t, home, stdin, args...)
	if r.code != int(kind) || !strings.Contains(r.stderr, words) {
		t.Fatalf("l2p %s: exit code %d, want %d, and standard error with %q: %s", strings.Join(args, " "), r.code, kind, words, r.stderr)
	}
}

// revoke ends a certificate by the root key.
func (n *testNode) revoke(t *testing.T, cert envelope.Hash) {
	t.Helper()
	signed, err := wire.SignRevocation(&wire.Revocation{Format: 1, Network: n.network, Cert: cert, Time: time.Now().Unix()}, n.root)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.roster = append(n.roster, wire.Statement{Kind: wire.StatementRevocation, Data: signed.Encode()})
}
