package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"log/slog"
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

// A doubleNode is a node of one box that keeps everything in memory, speaks
// the real protocol, and can be made to lie.
type doubleNode struct {
	network envelope.NetworkID
	root    ed25519.PrivateKey
	rootKey ed25519.PublicKey // that it says is the root's
	node    envelope.NodeID
	boxName string
	boxKey  ed25519.PrivateKey
	box     *envelope.Document
	oper    ed25519.PublicKey
	ended   chan struct{} // closed by Stop

	mu       sync.Mutex
	records  []*envelope.Record
	segments map[envelope.SegmentID][]byte
	roster   []wire.Statement
	pending  []wire.PendingRequest
	waits    int  // answers to Join that say: wait
	alone    bool // it says that it is in no network
	copies   wire.PutReply
	refuse   error // what puts of records are answered with
	// lie, if set, may change a reply.
	lie func(r *netq.Request, body any, data []byte, err error) (any, []byte, error)
}

// startDouble runs a double whose state directory is that of home, as if it
// were the own node there.
func startDouble(t *testing.T, home, boxName string) *doubleNode {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := &doubleNode{boxName: boxName, segments: make(map[envelope.SegmentID][]byte), ended: make(chan struct{}), copies: wire.PutReply{Copies: 3, Want: 3}}
	nodeKey, operKey := newKey(t), newKey(t)
	d.root, d.boxKey, d.oper = newKey(t), newKey(t), public(operKey)
	d.rootKey = public(d.root)
	d.network, d.node = envelope.NetworkIDOf(d.rootKey), envelope.NodeIDOf(public(nodeKey))
	var err error
	d.box, err = envelope.SignDocument(&envelope.Document{
		Format: 1, Kind: envelope.Box, Version: 1, Time: 1,
		Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: public(d.boxKey)}},
	}, nil, testSigner{key: d.boxKey})
	must(err)
	record, err := envelope.NewRecord(envelope.KindDocument, d.box.Signed())
	must(err)
	d.records = append(d.records, record)
	d.admit(t, d.root)

	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(err)
	e, err := netq.Listen(netq.Config{
		PacketConn: conn, Handler: d, Log: slog.New(slog.DiscardHandler),
		Identity:  func() netq.Identity { return netq.Identity{Key: nodeKey} },
		Authorize: func(string, netq.Peer) error { return nil },
	})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		e.Close()
	})

	dir := filepath.Join(home, "node")
	must(os.MkdirAll(dir, 0o700))
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	must(err)
	t.Cleanup(func() { lock.Close() })
	must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	go func() { // the lock ends with the node
		select {
		case <-d.ended:
			lock.Close()
		case <-ctx.Done():
		}
	}()
	must(os.WriteFile(filepath.Join(dir, "node.key"), nil, 0o600))
	must(os.WriteFile(filepath.Join(dir, "operator.key"), []byte(hex.EncodeToString(operKey.Seed())+"\n"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "endpoint"), fmt.Appendf(nil, "%s@%s\n", d.node, e.LocalAddr()), 0o600))
	return d
}

func (d *doubleNode) Serve(ctx context.Context, r *netq.Request) (wire.Type, any, []byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, data, err := d.answer(r)
	if d.lie != nil {
		body, data, err = d.lie(r, body, data, err)
	}
	return 0, body, data, err
}

func (d *doubleNode) welcome(operator bool) wire.Welcome {
	if d.alone {
		return wire.Welcome{Node: d.node, Software: "double", Operator: operator}
	}
	return wire.Welcome{Network: d.network, Node: d.node, Box: d.box.ID(), BoxName: d.boxName, Software: "double", Operator: operator}
}

func decoded[T any](r *netq.Request) (T, error) {
	var body T
	return body, r.Decode(&body)
}

func (d *doubleNode) answer(r *netq.Request) (any, []byte, error) {
	switch r.Type {
	case wire.TypeHello:
		return d.welcome(bytes.Equal(r.Peer.Key, d.oper)), nil, nil
	case wire.TypePutRecord:
		return d.putRecord(r)
	case wire.TypeGetRecord:
		ask, err := decoded[wire.GetRecord](r)
		if err != nil {
			return nil, nil, err
		}
		found := d.versions(ask.Ref, ask.N)
		if len(found) == 0 {
			return nil, nil, envelope.Errorf(envelope.NotFound, "no such record")
		}
		reply := wire.RecordReply{}
		for _, f := range found[1:] {
			if f.Version.N == found[0].Version.N {
				reply.Forks = append(reply.Forks, f.Version)
			}
		}
		return reply, found[0].Signed.Encode(), nil
	case wire.TypeListRecords:
		return d.list(r)
	case wire.TypeMemberships:
		return d.memberships(r)
	case wire.TypePutSegment:
		ask, err := decoded[wire.PutSegment](r)
		if err != nil {
			return nil, nil, err
		}
		d.segments[ask.ID] = bytes.Clone(r.Data)
		return d.copies, nil, nil
	case wire.TypeGetSegment:
		ask, err := decoded[wire.GetSegment](r)
		if err != nil {
			return nil, nil, err
		}
		frame, ok := d.segments[ask.ID]
		if !ok {
			return nil, nil, envelope.Errorf(envelope.NotFound, "no such segment")
		}
		return nil, frame, nil
	case wire.TypeStatus:
		return wire.StatusReply{Welcome: d.welcome(true), Founder: true, Nodes: d.nodes(), K: 3, W: 2, R: 2, Records: 1, Bytes: 1234567, Uptime: 61, Pending: 1}, nil, nil
	case wire.TypeRing:
		return d.ring(r)
	case wire.TypeRoster:
		return d.answerRoster(r)
	case wire.TypeInvite:
		ask, err := decoded[wire.Invite](r)
		ticket := wire.Ticket{Format: 1, Network: d.network, Name: ask.BoxName, Expires: time.Now().Unix() + ask.TTL, Addrs: []string{"127.0.0.1:9011"}}
		text, err2 := ticket.Text()
		if err == nil {
			err = err2
		}
		return wire.InviteReply{Ticket: text, Expires: ticket.Expires}, nil, err
	case wire.TypeLookAt:
		return wire.LookAtReply{Network: d.network, BoxName: "a-tech"}, nil, nil
	case wire.TypeJoin:
		ask, err := decoded[wire.Join](r)
		d.waits--
		return wire.JoinReply{Waiting: d.waits >= 0, Request: envelope.Hash{1}, Network: d.network, BoxName: ask.BoxName, Boxes: 2, Already: ask.BoxName == "a-tech" && !d.alone}, nil, err
	case wire.TypePending:
		return wire.PendingReply{Requests: d.pending}, nil, nil
	case wire.TypeAdmit:
		ask, err := decoded[wire.Admit](r)
		d.pending = slices.DeleteFunc(d.pending, func(p wire.PendingRequest) bool { return p.Request == ask.Request })
		return nil, nil, err
	case wire.TypeBind:
		return d.bind(r)
	case wire.TypeStop:
		close(d.ended)
		return nil, nil, nil
	case wire.TypeInit, wire.TypeLeave:
		return nil, nil, nil
	}
	return nil, nil, envelope.Errorf(envelope.Usage, "the double has no answer to %s", r.Type)
}

// versions returns what is kept at a ref, the winner first; of version n only,
// if n is not 0.
func (d *doubleNode) versions(ref envelope.Ref, n uint64) []*envelope.Record {
	var found []*envelope.Record
	for _, r := range d.records {
		if r.Ref == ref && (n == 0 || r.Version.N == n) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *envelope.Record) int {
		if a.Version.Newer(b.Version) {
			return -1
		}
		return 1
	})
	return found
}

func (d *doubleNode) putRecord(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.PutRecord](r)
	if err != nil {
		return nil, nil, err
	}
	if d.refuse != nil {
		return nil, nil, d.refuse
	}
	record, err := envelope.ParseRecord(ask.Kind, r.Data)
	if err != nil {
		return nil, nil, err
	}
	recovery := record.Document != nil && record.Document.IsRecovery() // whatever its parent
	if have := d.versions(record.Ref, 0); len(have) > 0 && have[0].Version.Hash != record.Parent && !recovery || len(have) == 0 && record.Version.N != 1 {
		return nil, nil, envelope.Errorf(envelope.Conflict, "another version is newer")
	}
	d.records = append(d.records, record)
	return d.copies, nil, nil
}

func (d *doubleNode) list(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.ListRecords](r)
	if err != nil {
		return nil, nil, err
	}
	var found []*envelope.Record
	for _, rec := range d.records {
		newest := d.versions(rec.Ref, 0)[0].Version
		if rec.Ref.Kind == ask.Kind && rec.Ref.Owner == ask.Owner && (ask.AllNames || rec.Ref.Name == ask.Name) && (ask.History || newest == rec.Version) {
			found = append(found, rec)
		}
	}
	slices.SortFunc(found, func(a, b *envelope.Record) int {
		if c := strings.Compare(a.Ref.Name, b.Ref.Name); c != 0 {
			return c
		}
		return int(a.Version.N) - int(b.Version.N)
	})
	var page [][]byte
	for _, rec := range found {
		if rec.Ref.Name < ask.AfterName || rec.Ref.Name == ask.AfterName && rec.Version.N <= ask.AfterN {
			continue
		}
		signed := *rec.Signed
		if ask.Bare {
			signed.Attachments = nil
		}
		page = append(page, signed.Encode())
	}
	return encodePage(page)
}

func encodePage(page [][]byte) (any, []byte, error) {
	data, err := wire.EncodeRecords(page)
	return wire.RecordsReply{}, data, err
}

func (d *doubleNode) memberships(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.Memberships](r)
	if err != nil {
		return nil, nil, err
	}
	var found []*envelope.Document
	for _, rec := range d.records {
		if rec.Document == nil || rec.Document.Group == nil || d.versions(rec.Ref, 0)[0] != rec {
			continue
		}
		if _, ok := rec.Document.Member(ask.Agent); ok {
			found = append(found, rec.Document)
		}
	}
	slices.SortFunc(found, func(a, b *envelope.Document) int {
		x, y := a.ID(), b.ID()
		return bytes.Compare(x[:], y[:])
	})
	var page [][]byte
	for _, doc := range found {
		if id := doc.ID(); bytes.Compare(id[:], ask.After[:]) > 0 {
			page = append(page, doc.Signed().Encode())
		}
	}
	return encodePage(page)
}

func (d *doubleNode) nodes() []wire.NodeStatus {
	return []wire.NodeStatus{
		{Node: d.node, Box: d.box.ID(), BoxName: d.boxName, Addr: "127.0.0.1:9011", Alive: true, Share: 0.5, Self: true},
		{Node: envelope.NodeID{2}, Box: envelope.AgentID{2}, BoxName: "e-build\x1b[2J", Addr: "127.0.0.1:9012", Share: 0.5},
	}
}

func (d *doubleNode) ring(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.Ring](r)
	if err != nil {
		return nil, nil, err
	}
	reply := wire.RingReply{Nodes: d.nodes()}
	if ask.Ref != nil {
		newest := d.versions(*ask.Ref, 0)[0]
		reply.Record = []wire.Replica{{Node: d.node, State: wire.Holds, Has: newest.Version}, {Node: envelope.NodeID{2}, State: wire.Silent}}
		reply.Segments = [][]wire.Replica{
			{{Node: d.node, State: wire.Holds}, {Node: envelope.NodeID{2}, State: wire.Lacks}},
			{{Node: envelope.NodeID{2}, State: wire.Holds}, {Node: d.node, State: wire.Outside}},
		}
	}
	return reply, nil, nil
}

func (d *doubleNode) answerRoster(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.RosterRequest](r)
	if err != nil {
		return nil, nil, err
	}
	reply := wire.RosterReply{Network: d.network, RootKey: d.rootKey, Statements: []wire.Statement{}}
	for _, st := range d.roster {
		signed, err := envelope.ParseSigned(st.Data, wire.MaxCertSize)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(ask.Have, signed.Hash()) {
			reply.Statements = append(reply.Statements, st)
		}
	}
	return reply, nil, nil
}

// admit adds a certificate of the box to the roster, signed by a root key.
func (d *doubleNode) admit(t *testing.T, root ed25519.PrivateKey) {
	t.Helper()
	from, to := wire.CertTimes(time.Unix(1_700_000_000, 0))
	cert, err := wire.SignBoxCert(&wire.BoxCert{
		Format: 1, Network: envelope.NetworkIDOf(public(root)), Name: d.boxName, Agent: d.box.ID(), Key: d.box.SigningKey(), Nonce: [32]byte{7}, NotBefore: from, NotAfter: to,
	}, root)
	if err != nil {
		t.Fatal(err)
	}
	d.roster = append(d.roster, wire.Statement{Kind: wire.StatementBox, Data: cert.Encode()})
}

// revoke ends a certificate by the root key.
func (d *doubleNode) revoke(t *testing.T, cert envelope.Hash) {
	t.Helper()
	signed, err := wire.SignRevocation(&wire.Revocation{Format: 1, Network: d.network, Cert: cert, Time: time.Now().Unix()}, d.root)
	if err != nil {
		t.Fatal(err)
	}
	d.roster = append(d.roster, wire.Statement{Kind: wire.StatementRevocation, Data: signed.Encode()})
}

func (d *doubleNode) bind(r *netq.Request) (any, []byte, error) {
	ask, err := decoded[wire.Bind](r)
	if err != nil {
		return nil, nil, err
	}
	return nil, nil, d.signBinding(ask.Name, ask.Agent, d.boxKey)
}

// bindName is signBinding between requests.
func (d *doubleNode) bindName(t *testing.T, name string, agent envelope.AgentID, key ed25519.PrivateKey) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.signBinding(name, agent, key); err != nil {
		t.Fatal(err)
	}
}

// signBinding binds a name as the box does, signed by key.
func (d *doubleNode) signBinding(name string, agent envelope.AgentID, key ed25519.PrivateKey) error {
	b := &envelope.Binding{Format: 1, Box: d.box.ID(), Name: name, Version: 1, Time: 1, Agent: agent}
	if have := d.versions(envelope.Ref{Kind: envelope.KindBinding, Owner: d.box.ID(), Name: name}, 0); len(have) > 0 {
		b.Version, b.Parent = have[0].Version.N+1, have[0].Version.Hash
	}
	signed, err := envelope.SignBinding(b, testSigner{d.box.ID(), key})
	if err != nil {
		return err
	}
	record, err := envelope.NewRecord(envelope.KindBinding, signed)
	if err != nil {
		return err
	}
	d.records = append(d.records, record)
	return nil
}

// passOff answers for the ref to with the records of the ref from.
func (d *doubleNode) passOff(from, to envelope.Ref) {
	for _, r := range d.records {
		if r.Ref == from {
			other := *r
			other.Ref = to
			d.records = append(d.records, &other)
		}
	}
}
