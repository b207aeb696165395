package replica

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"

	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// A cluster is replicas in one process. Its network delivers, or doesn't.
type cluster struct {
	t  testing.TB
	mu sync.Mutex
	// members is the roster; nodes are the machines, whether or not they are
	// members or run.
	members []ring.Node
	ring    *ring.Ring
	nodes   map[envelope.NodeID]*testNode
	order   []*testNode
	broken  func(*Replica) // nil: replicas as they are
	refuse  wire.Type      // requests of this type are refused by every node
	// lie, if set, may replace a node's reply.
	lie func(from envelope.NodeID, t wire.Type, data []byte, err error) ([]byte, error)
	// endless, if set, says of each page of records, or of keys, that there are more.
	endless envelope.NodeID
	// scrubPass and scrubRate are those of nodes that start; 0: the defaults.
	scrubPass time.Duration
	scrubRate uint64
	quota     uint64 // of stores that are opened
}

type testNode struct {
	*Replica
	c       *cluster
	dir     string
	place   ring.Node
	down    bool // doesn't answer
	mute    bool // takes requests and never answers
	stopRun func()
}

// grace is an hour and not a day, since Badger's tickers make simulated time
// cost real time.
const grace = time.Hour

// delay is how long the network takes one way.
const delay = time.Millisecond

func newCluster(t testing.TB, n int) *cluster { return newBrokenCluster(t, n, nil) }

// newBrokenCluster returns a cluster whose replicas are changed before they run.
func newBrokenCluster(t testing.TB, n int, broken func(*Replica)) *cluster {
	t.TempDir() // first, so that it is removed after the nodes have stopped
	c := &cluster{t: t, broken: broken, nodes: make(map[envelope.NodeID]*testNode), ring: ring.New(nil)}
	for range n {
		c.add()
	}
	for _, node := range c.order {
		c.join(node)
	}
	t.Cleanup(func() {
		for _, n := range c.order {
			n.stop()
		}
	})
	return c
}

// add starts a machine that is no member yet.
func (c *cluster) add() *testNode {
	i := byte(len(c.order) + 1)
	n := &testNode{c: c, dir: c.t.TempDir(), place: place(i)}
	n.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[n.place.ID] = n
	c.order = append(c.order, n)
	return n
}

// place returns where the i-th machine, counted from 1, sits on the ring.
func place(i byte) ring.Node {
	return ring.Node{ID: envelope.NodeID{i}, Box: envelope.AgentID{i}, Nonce: envelope.HashOf("test nonce\n", []byte{i})}
}

// newWriterOfLaterNodes returns an author whose records are kept by the nodes 4, 5 and 6
// once there are six.
func newWriterOfLaterNodes(t testing.TB) *writer {
	six := ring.New([]ring.Node{place(1), place(2), place(3), place(4), place(5), place(6)})
	for {
		w := newWriter(t)
		if !slices.ContainsFunc(six.Successors(ring.RecordPosition(w.id), DefaultK), func(n envelope.NodeID) bool { return n[0] <= 3 }) {
			return w
		}
	}
}

func (n *testNode) start() {
	s, err := store.Open(n.dir, store.Options{Statfs: func(string) (uint64, uint64, error) { return 1 << 40, 1 << 41, nil }, Quota: n.c.quota})
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.Replica = New(Config{
		Self: n.place.ID, Store: s, Peers: link{n.c, n.place.ID},
		Ring:  func() *ring.Ring { n.c.mu.Lock(); defer n.c.mu.Unlock(); return n.c.ring },
		Grace: grace, ScrubPass: n.c.scrubPass, ScrubRate: n.c.scrubRate,
		Alive: func(id envelope.NodeID) bool { n.c.mu.Lock(); defer n.c.mu.Unlock(); return !n.c.nodes[id].down },
	})
	if n.c.broken != nil {
		n.c.broken(n.Replica)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	n.stopRun = func() { cancel(); running.Wait() }
}

// stop ends the node's process; what it had stored stays.
func (n *testNode) stop() {
	if n.Replica == nil {
		return
	}
	n.c.set(func() { n.down = true })
	n.stopRun()
	n.Close()
	if err := n.Store.Close(); err != nil {
		n.c.t.Error(err)
	}
	n.Replica = nil
}

func (n *testNode) restart() {
	n.start()
	n.c.set(func() { n.down = false })
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	f()
	var running []*Replica
	for _, n := range c.order {
		if n.Replica != nil {
			running = append(running, n.Replica)
		}
	}
	c.mu.Unlock()
	for _, r := range running {
		r.Kick()
	}
}

func (c *cluster) join(n *testNode) {
	c.set(func() {
		c.members = append(c.members, n.place)
		c.ring = ring.New(c.members)
	})
}

func (c *cluster) expel(n *testNode) {
	c.set(func() { c.ring = c.ring.Without(n.place.ID); c.members = c.ring.Nodes() })
}

// A link is one node's way to the others.
type link struct {
	c    *cluster
	self envelope.NodeID
}

func (l link) Call(ctx context.Context, to envelope.NodeID, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	encoded, err := envelope.Encode(body)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx); err != nil {
		return nil, err
	}
	l.c.mu.Lock()
	node := l.c.nodes[to]
	down, mute, r, lie, refuse := node.down || node.Replica == nil, node.mute, node.Replica, l.c.lie, l.c.refuse
	endless := to == l.c.endless
	l.c.mu.Unlock()
	if down {
		return nil, envelope.Errorf(envelope.Unavailable, "no route")
	}
	if mute {
		<-ctx.Done()
		return nil, envelope.Errorf(envelope.Unavailable, "silence")
	}
	if t == refuse {
		return nil, envelope.Errorf(envelope.Full, "no room")
	}
	rt, rbody, rdata, err := r.HandleNode(ctx, l.self, t, encoded, bytes.Clone(data))
	if lie != nil {
		rdata, err = lie(to, t, rdata, err)
	}
	switch {
	case endless && t == wire.TypeListRecords:
		rbody = &wire.RecordsReply{More: true}
	case endless && t == wire.TypeLiveKeys:
		rbody = &wire.LiveKeysReply{Keys: [][]byte{make([]byte, 32)}, More: true}
	}
	if err != nil {
		var e *envelope.Error // only this much goes over the wire
		if errors.As(err, &e) {
			err = &envelope.Error{Kind: envelope.KindOf(err), Text: e.Text, Hint: e.Hint}
		}
		return nil, err
	}
	if rbody == nil {
		rbody = wire.Empty{}
	}
	back, err := envelope.Encode(rbody)
	if err != nil {
		return nil, err
	}
	if reply != nil {
		if err := wire.DecodeBody(rt, back, reply); err != nil {
			return nil, err
		}
	}
	return rdata, sleep(ctx)
}

func sleep(ctx context.Context) error {
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A writer is an agent who signs what tests store.
type writer struct {
	key     ed25519.PrivateKey
	id      envelope.AgentID
	version uint64
	doc     *envelope.Document
}

func (w *writer) Agent() envelope.AgentID        { return w.id }
func (w *writer) DocumentVersion() uint64        { return w.version }
func (w *writer) PrivateKey() ed25519.PrivateKey { return w.key }

func newWriter(t testing.TB) *writer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{key: key, version: 1}
	w.doc = w.sign(t, w.document(t, envelope.User), w)
	w.id = w.doc.ID()
	return w
}

func (w *writer) document(t testing.TB, kind envelope.AgentKind) *envelope.Document {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &envelope.Document{
		Format: 1, Kind: kind, Version: 1, Time: time.Now().UnixMilli(),
		Keys:      []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: w.key.Public().(ed25519.PublicKey)}},
		Recipient: identity.Recipient().String(),
	}
}

func (w *writer) sign(t testing.TB, d *envelope.Document, by ...envelope.Signer) *envelope.Document {
	t.Helper()
	d, err := envelope.SignDocument(d, nil, by...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rotate returns the writer with a new key, and its document.
func (w *writer) rotate(t testing.TB) *writer {
	next := newWriter(t)
	next.id, next.version = w.id, w.version+1
	d := next.document(t, envelope.User)
	d.Version, d.Agent, d.Parent = next.version, w.id, w.doc.Hash()
	next.doc = next.sign(t, d, w, next)
	return next
}

// A course is an envelope as it was put.
type course struct {
	rec    *envelope.Record
	ids    []envelope.SegmentID
	frames [][]byte
}

func (w *writer) seal(t testing.TB, name string, parent envelope.Version, size int) course {
	t.Helper()
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: w, Name: name, Parent: parent, Public: true})
	if err != nil {
		t.Fatal(err)
	}
	var c course
	content := make([]byte, size)
	rand.Read(content)
	n, err := sealer.Segments(context.Background(), bytes.NewReader(content), func(s *envelope.Segment) error {
		c.ids = append(c.ids, s.ID)
		c.frames = append(c.frames, s.AppendFrame(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sealer.Header(&n)
	if err != nil {
		t.Fatal(err)
	}
	if c.rec, err = envelope.NewRecord(envelope.KindEnvelope, s); err != nil {
		t.Fatal(err)
	}
	return c
}

func (n *testNode) putDocument(w *writer) error {
	_, err := n.PutRecord(context.Background(), envelope.KindDocument, w.doc.Signed().Encode())
	return err
}

func (n *testNode) putHeader(c course) error {
	_, err := n.PutRecord(context.Background(), envelope.KindEnvelope, c.rec.Signed.Encode())
	return err
}

func (n *testNode) putCourse(c course) error {
	for i, id := range c.ids {
		if _, err := n.PutSegment(context.Background(), wire.PutSegment{ID: id, Owner: c.rec.Ref.Owner}, c.frames[i]); err != nil {
			return err
		}
	}
	return n.putHeader(c)
}

// wantCourse insists that the node reads all of a course, its newest version.
func (n *testNode) wantCourse(c course) {
	n.c.t.Helper()
	data, reply, err := n.GetRecord(context.Background(), c.rec.Ref, 0)
	if err != nil || !bytes.Equal(data, c.rec.Signed.Encode()) {
		n.c.t.Fatalf("get of version %d: %d bytes, %+v, %v", c.rec.Version.N, len(data), reply, err)
	}
	for i, id := range c.ids {
		if frame, err := n.GetSegment(context.Background(), id); err != nil || !bytes.Equal(frame, c.frames[i]) {
			n.c.t.Fatalf("segment %d: %d bytes, %v", i, len(frame), err)
		}
	}
}

// wantCopies insists that exactly the successors keep each part of a course.
func (c *cluster) wantCopies(want course) {
	c.t.Helper()
	check := func(what string, pos uint64, has func(*testNode) bool) {
		c.t.Helper()
		successors := c.ring.Successors(pos, DefaultK)
		for _, n := range c.order {
			if n.Replica == nil {
				continue
			}
			should := false
			for _, s := range successors {
				should = should || s == n.place.ID
			}
			if has(n) != should {
				c.t.Errorf("%s: node %d has it: %v, should: %v", what, n.place.ID[0], has(n), should)
			}
		}
	}
	check("record", ring.RecordPosition(want.rec.Ref.Owner), func(n *testNode) bool {
		has, err := n.Store.HasRecord(want.rec.Ref, want.rec.Version)
		return has && err == nil
	})
	for _, id := range want.ids {
		check("segment", ring.SegmentPosition(id), func(n *testNode) bool {
			has, err := n.Store.HasSegments([]envelope.SegmentID{id})
			return err == nil && has[0]
		})
	}
}

// successors returns the nodes that keep an owner's records, in order, and one
// that doesn't (nil if all do).
func (c *cluster) successors(owner envelope.AgentID) (in []*testNode, out *testNode) {
	ids := c.ring.Successors(ring.RecordPosition(owner), DefaultK)
	for _, id := range ids {
		in = append(in, c.nodes[id])
	}
	for _, n := range c.order {
		if !slices.Contains(in, n) {
			out = n
		}
	}
	return in, out
}

func wantKind(t testing.TB, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil || envelope.KindOf(err) != kind {
		t.Fatalf("error is %v, want one of kind %d", err, kind)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flipBit damages the one segment that the store in dir keeps.
func flipBit(t testing.TB, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d segment files, %v", len(files), err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	data[len(data)-1] ^= 1
	must(t, os.WriteFile(files[0], data, 0o600))
}
