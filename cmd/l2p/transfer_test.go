package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"l2p/envelope"
	"l2p/netq/wire"
)

// A fakeKeeper keeps segments in memory and can fail and lie.
type fakeKeeper struct {
	mu      sync.Mutex
	frames  map[envelope.SegmentID][]byte
	running int
	most    int                                       // requests at once
	put     func(index uint64) (wire.PutReply, error) // nil: 3 of 3 copies
	get     func(id envelope.SegmentID, frame []byte) ([]byte, error)
}

func (k *fakeKeeper) enter() func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running++
	k.most = max(k.most, k.running)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.running--
	}
}

func (k *fakeKeeper) PutSegment(ctx context.Context, id envelope.SegmentID, owner envelope.AgentID, frame []byte) (wire.PutReply, error) {
	defer k.enter()()
	if err := ctx.Err(); err != nil {
		return wire.PutReply{}, err
	}
	reply := wire.PutReply{Copies: 3, Want: 3}
	if k.put != nil {
		var err error
		if reply, err = k.put(id.Index); err != nil {
			return reply, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frames[id] = bytes.Clone(frame)
	return reply, nil
}

func (k *fakeKeeper) GetSegment(ctx context.Context, id envelope.SegmentID) ([]byte, error) {
	defer k.enter()()
	k.mu.Lock()
	frame, ok := k.frames[id]
	k.mu.Unlock()
	if !ok {
		return nil, envelope.Errorf(envelope.NotFound, "no segment %d", id.Index)
	}
	if k.get != nil {
		return k.get(id, frame)
	}
	return frame, nil
}

// A testAuthor signs and, with an identity, reads.
type testAuthor struct {
	document *envelope.Document
	key      ed25519.PrivateKey
	identity envelope.Identity
}

func (a *testAuthor) Agent() envelope.AgentID        { return a.document.ID() }
func (a *testAuthor) DocumentVersion() uint64        { return 1 }
func (a *testAuthor) PrivateKey() ed25519.PrivateKey { return a.key }

func (a *testAuthor) Chain(_ context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	if id != a.document.ID() {
		return nil, envelope.Errorf(envelope.NotFound, "unknown agent")
	}
	return []*envelope.Document{a.document}, nil
}

type testSigner struct {
	agent envelope.AgentID
	key   ed25519.PrivateKey
}

func (s testSigner) Agent() envelope.AgentID        { return s.agent }
func (s testSigner) DocumentVersion() uint64        { return 1 }
func (s testSigner) PrivateKey() ed25519.PrivateKey { return s.key }

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func newTestAuthor(t *testing.T) *testAuthor {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	d := &envelope.Document{
		Format: 1, Kind: envelope.User, Version: 1, Time: 1, Recipient: identity.Recipient().String(),
		Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: public}},
	}
	if d, err = envelope.SignDocument(d, nil, testSigner{key: key}); err != nil {
		t.Fatal(err)
	}
	return &testAuthor{d, key, envelope.Identity{Agent: d.ID(), Age: identity}}
}

func (a *testAuthor) options(t *testing.T, public bool) envelope.SealOptions {
	t.Helper()
	opts := envelope.SealOptions{Author: a, Name: "course", Public: public}
	if !public {
		r, err := envelope.RecipientOf(a.document)
		if err != nil {
			t.Fatal(err)
		}
		opts.Readers = []envelope.Recipient{r}
	}
	return opts
}

// send seals and stores content, and returns what opens it. Without sized, the
// header doesn't say how long it is.
func send(t *testing.T, a *testAuthor, node *fakeKeeper, content []byte, public, sized bool) (*envelope.Opener, wire.PutReply) {
	t.Helper()
	sealer, err := envelope.NewSealer(a.options(t, public))
	if err != nil {
		t.Fatal(err)
	}
	size, worst, err := sendPayload(t.Context(), node, sealer, a.Agent(), bytes.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	sizeOf := &size
	if !sized {
		sizeOf = nil
	}
	signed, err := sealer.Header(sizeOf)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := envelope.NewOpener(t.Context(), signed, envelope.OpenOptions{Identities: []envelope.Identity{a.identity}, Documents: a})
	if err != nil {
		t.Fatal(err)
	}
	return opener, worst
}

func newFakeKeeper() *fakeKeeper { return &fakeKeeper{frames: make(map[envelope.SegmentID][]byte)} }

func TestPayloadThereAndBack(t *testing.T) {
	t.Parallel()
	a := newTestAuthor(t)
	for _, size := range []int{0, 1, envelope.SegmentPlainSize - 1, envelope.SegmentPlainSize, envelope.SegmentPlainSize + 1, 20*envelope.SegmentPlainSize + 7} {
		for _, public := range []bool{false, true} {
			for _, sized := range []bool{false, true} {
				content := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
				node := newFakeKeeper()
				opener, worst := send(t, a, node, content, public, sized)
				if worst != (wire.PutReply{Copies: 3, Want: 3}) {
					t.Errorf("size %d: %+v", size, worst)
				}
				var got bytes.Buffer
				if err := fetchPayload(t.Context(), node, opener, &got, nil); err != nil {
					t.Errorf("size %d, public %v, sized %v: %v", size, public, sized, err)
				} else if !bytes.Equal(got.Bytes(), content) {
					t.Errorf("size %d, public %v, sized %v: other content", size, public, sized)
				}
				if node.most > window+1 {
					t.Errorf("%d requests at once", node.most)
				}
				if sized && uint64(len(node.frames)) != segmentsOf(opener.Header()) {
					t.Errorf("size %d: %d segments, segmentsOf says %d", size, len(node.frames), segmentsOf(opener.Header()))
				}
			}
		}
	}
}

func TestSendPayloadFails(t *testing.T) {
	t.Parallel()
	a := newTestAuthor(t)
	content := make([]byte, 30*envelope.SegmentPlainSize)
	notDurable := envelope.Errorf(envelope.NotDurable, "1 of 3 copies")
	t.Run("node", func(t *testing.T) {
		node := newFakeKeeper()
		node.put = func(index uint64) (wire.PutReply, error) {
			if index == 5 {
				return wire.PutReply{}, notDurable
			}
			return wire.PutReply{Copies: 3, Want: 3}, nil
		}
		sealer, err := envelope.NewSealer(a.options(t, true))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = sendPayload(t.Context(), node, sealer, a.Agent(), bytes.NewReader(content), nil)
		if !errors.Is(err, notDurable) {
			t.Errorf("error %v", err)
		}
		if node.running != 0 {
			t.Error("requests go on")
		}
	})
	t.Run("source", func(t *testing.T) {
		sealer, err := envelope.NewSealer(a.options(t, true))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = sendPayload(t.Context(), newFakeKeeper(), sealer, a.Agent(), errReader{errors.New("disk on fire")}, nil)
		if err == nil || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("fewest copies", func(t *testing.T) {
		node := newFakeKeeper()
		node.put = func(index uint64) (wire.PutReply, error) {
			if index == 3 {
				return wire.PutReply{Copies: 2, Want: 3}, nil
			}
			return wire.PutReply{Copies: 3, Want: 3}, nil
		}
		if _, worst := send(t, a, node, content, true, true); worst.Copies != 2 {
			t.Errorf("%+v", worst)
		}
	})
}

// Whatever a node does to a segment, what has been written before is what the
// author sealed, and the error says that something is wrong.
func TestFetchPayloadRefusesLies(t *testing.T) {
	t.Parallel()
	a := newTestAuthor(t)
	content := bytes.Repeat([]byte("content"), 3*envelope.SegmentPlainSize/7)
	tests := map[string]struct {
		kind envelope.ErrorKind
		lie  func(node *fakeKeeper, id envelope.SegmentID, frame []byte) ([]byte, error)
	}{
		"flipped bit": {envelope.Corrupt, func(_ *fakeKeeper, _ envelope.SegmentID, frame []byte) ([]byte, error) {
			frame = bytes.Clone(frame)
			frame[len(frame)/2] ^= 1
			return frame, nil
		}},
		"cut": {envelope.Corrupt, func(_ *fakeKeeper, _ envelope.SegmentID, frame []byte) ([]byte, error) {
			return frame[:len(frame)-1], nil
		}},
		"empty": {envelope.Corrupt, func(*fakeKeeper, envelope.SegmentID, []byte) ([]byte, error) { return nil, nil }},
		"another segment": {envelope.Corrupt, func(node *fakeKeeper, id envelope.SegmentID, _ []byte) ([]byte, error) {
			id.Index = 0
			return node.frames[id], nil
		}},
		"called final": {envelope.Corrupt, func(_ *fakeKeeper, _ envelope.SegmentID, frame []byte) ([]byte, error) {
			frame = bytes.Clone(frame)
			frame[0] |= 0x80
			return frame, nil
		}},
		"gone": {envelope.NotFound, func(*fakeKeeper, envelope.SegmentID, []byte) ([]byte, error) {
			return nil, envelope.Errorf(envelope.NotFound, "no segment")
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, sized := range []bool{false, true} {
				node := newFakeKeeper()
				opener, _ := send(t, a, node, content, false, sized)
				node.get = func(id envelope.SegmentID, frame []byte) ([]byte, error) {
					if id.Index == 1 {
						return test.lie(node, id, frame)
					}
					return frame, nil
				}
				var got bytes.Buffer
				err := fetchPayload(t.Context(), node, opener, &got, nil)
				if err == nil || envelope.KindOf(err) != test.kind {
					t.Errorf("sized %v: error %v, want kind %d", sized, err, test.kind)
				}
				if !bytes.Equal(got.Bytes(), content[:envelope.SegmentPlainSize]) {
					t.Errorf("sized %v: %d bytes were written", sized, got.Len())
				}
				if node.running != 0 {
					t.Error("requests go on")
				}
			}
		})
	}
}

func TestFetchPayloadStops(t *testing.T) {
	t.Parallel()
	a := newTestAuthor(t)
	node := newFakeKeeper()
	opener, _ := send(t, a, node, make([]byte, 3*envelope.SegmentPlainSize), true, true)
	full := errors.New("disk full")
	if err := fetchPayload(t.Context(), node, opener, failingWriter{full}, nil); err != full {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fetchPayload(ctx, node, opener, &bytes.Buffer{}, nil); err == nil {
		t.Error("went on without being wanted")
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
