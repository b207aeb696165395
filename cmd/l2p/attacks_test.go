package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// What attacks.txtar needs beside l2p: Mallory has a program of her own, which
// speaks the node protocol and keeps to no rule. She is an admitted person of
// the box whose home is L2P_HOME.

// A mallory is the attacker, connected to one node.
type mallory struct {
	ts     *testscript.TestScript
	me     envelope.Signer
	victim envelope.AgentID
	box    envelope.AgentID // the victim's
	client *netq.Client
	name   string // of the victim's envelope
	course *envelope.Record
	ctx    context.Context
}

// attack FORGERIES NAME VICTIM HOME…: sends forgeries about VICTIM, an own
// agent of the first HOME, and their envelope NAME to the node of each HOME. All
// must be refused as forgeries.
func attack(ts *testscript.TestScript, neg bool, args []string) {
	forgeries := map[string]func(*mallory) []forgery{"overwrite": (*mallory).overwrite, "squat": (*mallory).squat}
	if neg || len(args) < 4 || forgeries[args[0]] == nil {
		ts.Fatalf("usage: attack overwrite|squat NAME VICTIM HOME…")
	}
	mine, err := openFastKeystore(filepath.Join(ts.Getenv("L2P_HOME"), "keystore"))
	ts.Check(err)
	agent, err := mine.FindAgent("mallory@e-build")
	ts.Check(err)
	me, err := mine.Unlock(agent.ID(), nil)
	ts.Check(err)
	theirs, err := openFastKeystore(filepath.Join(args[3], "keystore"))
	ts.Check(err)
	victim, err := theirs.FindAgent(args[2])
	ts.Check(err)
	m := &mallory{ts: ts, me: me, victim: victim.ID(), name: args[1]}
	for i, home := range args[3:] {
		m.onNode(home, i == 0, forgeries[args[0]])
	}
}

// onNode sends forgeries to the node of home.
func (m *mallory) onNode(home string, victims bool, forgeries func(*mallory) []forgery) {
	node, addr, err := parseEndpoint(strings.TrimSpace(m.ts.ReadFile(filepath.Join(home, "node", endpointFile))))
	m.ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	m.ctx = ctx
	m.client, err = netq.DialClient(ctx, netq.ClientConfig{Addr: addr, Node: node, Key: m.me.PrivateKey(), Agent: m.me.Agent()})
	m.ts.Check(err)
	defer m.client.Close()
	if victims {
		m.box = m.client.Welcome().Box
	}
	data, _, err := m.client.GetRecord(ctx, envelope.Ref{Kind: envelope.KindEnvelope, Owner: m.victim, Name: m.name}, 0)
	m.ts.Check(err)
	m.course, err = envelope.ParseRecord(envelope.KindEnvelope, data)
	m.ts.Check(err)
	list := forgeries(m)
	if err := m.own().send(); err != nil {
		m.ts.Fatalf("Mallory can't even write what is hers, so this shows nothing: %v", err)
	}
	for _, f := range list {
		if err := f.send(); envelope.KindOf(err) != envelope.Corrupt && envelope.KindOf(err) != envelope.Denied {
			m.ts.Fatalf("%s at the node of %s: %v, want it refused", f.what, home, err)
		}
	}
}

// A forgery is something that nodes must refuse.
type forgery struct {
	what string
	send func() error
}

// asVictim signs with Mallory's key and says that it is the victim's.
func (m *mallory) asVictim() envelope.Signer { return testSigner{m.victim, m.me.PrivateKey()} }

func (m *mallory) record(what string, kind envelope.RecordKind, signed *envelope.Signed, err error) forgery {
	m.ts.Check(err)
	return forgery{what, func() error {
		_, err := m.client.PutRecord(m.ctx, kind, signed.Encode())
		return err
	}}
}

// header is a header of one segment of text at a place of the victim's.
func (m *mallory) header(what, name string, author envelope.Signer, parent envelope.Version) forgery {
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: author, Owner: m.asVictim(), Name: name, Parent: parent, Public: true})
	m.ts.Check(err)
	signed, err := sealer.Header(nil)
	return m.record(what, envelope.KindEnvelope, signed, err)
}

// own is what Mallory may write: a first version below herself.
func (m *mallory) own() forgery {
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: m.me, Name: rand.Text(), Public: true})
	m.ts.Check(err)
	signed, err := sealer.Header(nil)
	return m.record("her own", envelope.KindEnvelope, signed, err)
}

// take makes the victim's content Mallory's, under her name and as if she had read
// it: all of the header is hers to make but for the word of the segment key.
func (m *mallory) take(what string, change func(*envelope.Header)) forgery {
	h := *m.course.Header
	h.Owner, h.Author, h.Name, h.Version, h.Parent = m.me.Agent(), m.me.Agent(), rand.Text(), 1, envelope.Hash{}
	change(&h)
	body, err := envelope.Encode(&h)
	m.ts.Check(err)
	signed := &envelope.Signed{Body: body, Signatures: []envelope.Signature{envelope.Sign(m.me, envelope.DomainHeader, body)}}
	return m.record(what, envelope.KindEnvelope, signed, nil)
}

// overwrite forges versions of the victim's envelope, and its content.
func (m *mallory) overwrite() []forgery {
	tombstone, err := envelope.Tombstone(m.asVictim(), nil, m.name, m.course.Version, time.Now())
	m.ts.Check(err)
	resigned := *m.course.Signed
	resigned.Signatures = []envelope.Signature{envelope.Sign(m.me, envelope.DomainHeader, resigned.Body)}
	id := envelope.SegmentID{Key: [32]byte(m.course.Header.SegmentKey)}
	text := []byte("forged")
	segment := &envelope.Segment{ID: id, Final: true, Data: text}
	copy(segment.Signature[:], envelope.SignBytes(m.me.PrivateKey(), envelope.DomainSegment, text))
	return []forgery{
		m.header("a next version in Adam's name", m.name, m.asVictim(), m.course.Version),
		m.header("a next version by Mallory at Adam's place", m.name, m.me, m.course.Version),
		m.header("another first version in Adam's name", m.name, m.asVictim(), envelope.Version{}),
		m.record("a removal in Adam's name", envelope.KindEnvelope, tombstone, nil),
		m.take("Adam's content at Mallory's place", func(*envelope.Header) {}),
		m.take("Adam's content as Mallory's", func(h *envelope.Header) {
			body := slices.Concat(h.Author[:], h.Owner[:], h.SegmentKey, []byte{byte(h.Origin.Payload)})
			h.Origin = &envelope.Origin{Writer: envelope.Sign(m.me, envelope.DomainOrigin, body), Segments: h.Origin.Segments, Payload: h.Origin.Payload}
		}),
		m.record("Adam's header, signed by Mallory", envelope.KindEnvelope, &resigned, nil),
		{"another segment in the place of Adam's", func() error {
			_, err := m.client.PutSegment(m.ctx, id, m.victim, segment.AppendFrame(nil))
			return err
		}},
	}
}

// squat forges what says who the victim is and what is theirs.
func (m *mallory) squat() []forgery {
	public := m.me.PrivateKey().Public().(ed25519.PublicKey)
	data, _, err := m.client.GetRecord(m.ctx, envelope.Ref{Kind: envelope.KindDocument, Owner: m.victim}, 0)
	m.ts.Check(err)
	first, err := envelope.ParseDocument(data)
	m.ts.Check(err)
	takenOver := &envelope.Document{Format: 1, Kind: first.Kind, Version: first.Version + 1, Agent: m.victim, Parent: first.Hash(),
		Time: time.Now().UnixMilli(), Name: first.Name, Recipient: first.Recipient, Keys: []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: public}}}
	document, err := envelope.SignDocument(takenOver, nil, m.asVictim(), testSignerOf{testSigner{m.victim, m.me.PrivateKey()}, takenOver.Version})
	m.ts.Check(err)
	asBox := testSigner{m.box, m.me.PrivateKey()}
	binding := func(name string, parent *envelope.Record) (*envelope.Signed, error) {
		b := &envelope.Binding{Format: 1, Box: m.box, Name: name, Version: 1, Time: 1, Agent: m.me.Agent()}
		if parent != nil {
			b.Version, b.Parent = parent.Version.N+1, parent.Version.Hash
		}
		return envelope.SignBinding(b, asBox)
	}
	data, _, err = m.client.GetRecord(m.ctx, envelope.Ref{Kind: envelope.KindBinding, Owner: m.box, Name: "adam"}, 0)
	m.ts.Check(err)
	bound, err := envelope.ParseRecord(envelope.KindBinding, data)
	m.ts.Check(err)
	taken, takenErr := binding("adam", bound)
	free, freeErr := binding("trainers", nil)
	return []forgery{
		m.header("a free name of Adam's, in his name", "plans", m.asVictim(), envelope.Version{}),
		m.header("a free name of Adam's, by Mallory", "plans", m.me, envelope.Version{}),
		m.record("new keys for Adam", envelope.KindDocument, document.Signed(), nil),
		m.record("Adam's name for Mallory", envelope.KindBinding, taken, takenErr),
		m.record("a free name of Adam's box", envelope.KindBinding, free, freeErr),
	}
}

// A testSignerOf signs with the key of a later document.
type testSignerOf struct {
	testSigner
	version uint64
}

func (s testSignerOf) DocumentVersion() uint64 { return s.version }

// distinct HOME…: in the segments that the homes' nodes keep no two blocks of 16
// bytes are the same, within a segment or between two. A block cipher without a
// mode, or one key and nonce used twice, would show here.
func distinct(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: distinct HOME…")
	}
	const block = 16
	var kept []string // the segments, each once, though several nodes keep them
	for _, home := range args {
		ts.Check(eachFile(filepath.Join(home, "node", "segments"), func(path string, data []byte) {
			if s := string(data); !slices.Contains(kept, s) {
				kept = append(kept, s)
			}
		}))
	}
	seen := make(map[string]bool)
	for _, s := range kept {
		for i := envelope.SegmentFrameHeader; i+block <= len(s); i += block {
			if seen[s[i:i+block]] {
				ts.Fatalf("two blocks are the same")
			}
			seen[s[i:i+block]] = true
		}
	}
	if len(kept) < 4 || len(seen) < 1<<16 {
		ts.Fatalf("only %d segments with %d blocks: this shows nothing", len(kept), len(seen))
	}
}

// nowhere SECRET HOME…: no file of the homes contains the secret, in any of the
// forms that programs give to bytes.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[0] == "" {
		ts.Fatalf("usage: nowhere SECRET HOME…")
	}
	forms, files := formsOf(args[0]), 0
	for _, home := range args[1:] {
		ts.Check(eachFile(home, func(path string, data []byte) {
			files++
			for _, form := range forms {
				if bytes.Contains(data, form) {
					ts.Fatalf("%s contains the secret", path)
				}
			}
		}))
	}
	if files < 4*len(args[1:]) {
		ts.Fatalf("only %d files: this shows nothing", files)
	}
}

func formsOf(secret string) [][]byte {
	return [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret))), []byte(strings.ToUpper(hex.EncodeToString([]byte(secret)))),
		[]byte(base64.RawStdEncoding.EncodeToString([]byte(secret))), []byte(base64.RawURLEncoding.EncodeToString([]byte(secret)))}
}

func eachFile(dir string, f func(path string, data []byte)) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			f(path, data)
		}
		return err
	})
}

// TestAttackWrongVersionReturned: who asks for version 1 gets version 1, or
// an error, whatever the node answers.
func TestAttackWrongVersionReturned(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	x := sh.file("x", "first")
	sh.ok("put", "course", x, "--public")
	sh.file("x", "second")
	sh.ok("put", "course", x)
	for n, want := range map[string]string{"1": "first", "2": "second"} {
		if got, _, _ := sh.run("", "get", "course", "--version", n, "-o", "-"); got != want {
			t.Errorf("version %s is %q, want %q", n, got, want)
		}
	}
	record := func(n uint64) []byte {
		i := slices.IndexFunc(sh.node.records, func(r *envelope.Record) bool { return r.Ref.Name == "course" && r.Version.N == n })
		return sh.node.records[i].Signed.Encode()
	}
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if ask, askErr := decoded[wire.GetRecord](r); r.Type == wire.TypeGetRecord && askErr == nil && ask.Ref.Name == "course" && ask.N != 0 {
			data = record(3 - ask.N)
		}
		return body, data, err
	})
	y := filepath.Join(sh.home, "y")
	for _, n := range []string{"1", "2"} {
		sh.fails(envelope.Corrupt, "", "get", "course", "--version", n, "-o", y)
	}
	if _, err := os.Stat(y); err == nil {
		t.Error("something was written")
	}
}

// TestAttackPassphraseSeen: all that a person's box asks of its node, from making
// an agent to reading an envelope, is without their passphrase and their keys,
// but for the keys that the passphrase locks.
func TestAttackPassphraseSeen(t *testing.T) {
	t.Parallel()
	const passphrase = "correct horse battery staple"
	sh := newShell(t)
	var asked []byte
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		asked = append(append(asked, r.Body...), r.Data...)
		return body, data, err
	})
	file := sh.file("passphrase", passphrase+"\n")
	x := sh.file("x", "text")
	as := func(args ...string) []string {
		return append([]string{"--as", "anna@a-tech", "--passphrase-file", file}, args...)
	}
	sh.ok("--passphrase-file", file, "agent", "create", "anna@a-tech")
	sh.ok(as("put", "course", x, "-t", "anna@a-tech", "-t", "eve@a-tech")...)
	sh.ok(as("group", "create", "team@a-tech", "-m", "eve@a-tech")...)
	sh.ok(as("get", "course", "-o", filepath.Join(sh.home, "y"))...)
	sh.fails(envelope.Denied, "passphrase", "--as", "anna@a-tech", "--passphrase-file", x, "get", "course", "-o", "-")

	store, err := openFastKeystore(filepath.Join(sh.home, "keystore"))
	if err != nil {
		t.Fatal(err)
	}
	agent, err := store.FindAgent("anna@a-tech")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := store.Unlock(agent.ID(), []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	sh.node.mu.Lock()
	defer sh.node.mu.Unlock()
	if !bytes.Contains(asked, secrets.PrivateKey().Public().(ed25519.PublicKey)) || !bytes.Contains(asked, []byte("-> scrypt ")) {
		t.Fatal("neither the public key nor the locked keys were sent: this test shows nothing")
	}
	for what, secret := range map[string]string{"passphrase": passphrase, "half of it": "horse battery", "signing key": string(secrets.PrivateKey().Seed()), "plaintext": "AGE-SECRET-KEY-"} {
		for _, form := range formsOf(secret) {
			if bytes.Contains(asked, form) {
				t.Errorf("the node was sent the %s", what)
			}
		}
	}
}
