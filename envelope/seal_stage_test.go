package envelope

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"

	"filippo.io/age"
)

// A player is an agent in a test, with all of its secrets.
type player struct {
	doc *Document
	key ed25519.PrivateKey
	age age.Identity
}

func (p *player) Agent() AgentID                 { return p.doc.ID() }
func (p *player) DocumentVersion() uint64        { return p.doc.Version }
func (p *player) PrivateKey() ed25519.PrivateKey { return p.key }

func (p *player) recipient(t testing.TB) Recipient {
	t.Helper()
	r, err := RecipientOf(p.doc)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *player) identity() Identity { return Identity{p.Agent(), p.age} }

// newborn signs the first document of an agent.
type newborn struct{ key ed25519.PrivateKey }

func (newborn) Agent() AgentID                   { return AgentID{} }
func (newborn) DocumentVersion() uint64          { return 1 }
func (n newborn) PrivateKey() ed25519.PrivateKey { return n.key }

func seedOf(what string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(what))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ageIdentityOf returns an age identity made of what: the same in every
// process, since fuzzing passes envelopes from one process to others.
func ageIdentityOf(t testing.TB, what string, hybrid bool) (age.Identity, string) {
	t.Helper()
	seed := sha256.Sum256([]byte(what + "'s age identity"))
	if hybrid {
		id, err := age.ParseHybridIdentity(strings.ToUpper(bech32String("age-secret-key-pq-", seed[:])))
		if err != nil {
			t.Fatal(err)
		}
		return id, id.Recipient().String()
	}
	id, err := age.ParseX25519Identity(strings.ToUpper(bech32String("age-secret-key-", seed[:])))
	if err != nil {
		t.Fatal(err)
	}
	return id, id.Recipient().String()
}

func newPlayer(t testing.TB, name string, kind AgentKind, hybrid bool) *player {
	t.Helper()
	p := &player{key: seedOf(name)}
	d := &Document{Format: 1, Kind: kind, Version: 1, Time: 1,
		Keys: []SigningKey{{Ed25519, p.key.Public().(ed25519.PublicKey)}}}
	if kind != Box {
		p.age, d.Recipient = ageIdentityOf(t, name, hybrid)
	}
	var err error
	if p.doc, err = SignDocument(d, nil, newborn{p.key}); err != nil {
		t.Fatal(err)
	}
	return p
}

// newGroup makes a group with admin as its admin and only member.
func newGroup(t testing.TB, name string, admin *player) *player {
	t.Helper()
	p := &player{key: seedOf(name)}
	box := []byte("a key box that nobody in this test opens")
	d := &Document{Format: 1, Kind: Group, Version: 1, Time: 1,
		Keys: []SigningKey{{Ed25519, p.key.Public().(ed25519.PublicKey)}},
		Group: &GroupPart{Epoch: 1, Admins: []AgentID{admin.Agent()},
			Members: []Member{{ID: admin.Agent(), Version: 1}}, Boxes: []Hash{AttachmentHash(box)}}}
	p.age, d.Recipient = ageIdentityOf(t, name, true)
	var err error
	if p.doc, err = SignDocument(d, [][]byte{box}, admin); err != nil {
		t.Fatal(err)
	}
	return p
}

// rotate returns p with the next version of its document and a new signing key.
func (p *player) rotate(t testing.TB) *player {
	t.Helper()
	next := &player{key: seedOf(p.Agent().String()), age: p.age}
	d := *p.doc
	d.Version, d.Agent, d.Parent = p.doc.Version+1, p.Agent(), p.doc.Hash()
	d.Keys = []SigningKey{{Ed25519, next.key.Public().(ed25519.PublicKey)}}
	next.doc = &d
	doc, err := SignDocument(&d, nil, p, next)
	if err != nil {
		t.Fatal(err)
	}
	next.doc = doc
	return next
}

// known implements Documents for the players that somebody knows.
type known map[AgentID][]*Document

func knows(players ...*player) known {
	k := known{}
	for _, p := range players {
		k[p.Agent()] = append(k[p.Agent()], p.doc)
	}
	return k
}

func (k known) Chain(_ context.Context, id AgentID) ([]*Document, error) {
	if chain, ok := k[id]; ok {
		return chain, nil
	}
	return nil, Errorf(NotFound, "no documents of %s", id)
}

// A stage has everybody of the story on it.
type stage struct {
	adam, eve, mallory *player // users, hybrid
	carl               *player // a user with a classic recipient
	learn              *player // a service
	trainers           *player // a group whose admin is adam
	box                *player
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{
		adam:    newPlayer(t, "adam", User, true),
		eve:     newPlayer(t, "eve", User, true),
		mallory: newPlayer(t, "mallory", User, true),
		carl:    newPlayer(t, "carl", User, false),
		learn:   newPlayer(t, "learn", Service, true),
		box:     newPlayer(t, "box", Box, false),
	}
	s.trainers = newGroup(t, "trainers", s.adam)
	return s
}

func (s *stage) docs() known {
	return knows(s.adam, s.eve, s.mallory, s.carl, s.learn, s.trainers, s.box)
}

// opens returns the options with which p opens an envelope.
func (s *stage) opens(p *player) OpenOptions {
	return OpenOptions{Identities: []Identity{p.identity()}, Documents: s.docs()}
}

// sealed seals plain by adam for the readers, as one string of bytes.
func (s *stage) sealed(t testing.TB, plain []byte, readers ...*player) []byte {
	t.Helper()
	opts := SealOptions{Author: s.adam, Public: len(readers) == 0}
	for _, r := range readers {
		opts.Readers = append(opts.Readers, r.recipient(t))
	}
	return sealWith(t, plain, opts)
}

func sealWith(t testing.TB, plain []byte, opts SealOptions) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Seal(context.Background(), &buf, bytes.NewReader(plain), opts); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// opened opens an envelope and returns its content and Opener.
func opened(t testing.TB, sealed []byte, opts OpenOptions) ([]byte, *Opener) {
	t.Helper()
	var buf bytes.Buffer
	o, err := Open(context.Background(), &buf, bytes.NewReader(sealed), opts)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), o
}

// refused opens an envelope that must not open, and returns what it wrote
// until it noticed.
func refused(t testing.TB, sealed []byte, opts OpenOptions, kind ErrorKind) []byte {
	t.Helper()
	var buf bytes.Buffer
	o, err := Open(context.Background(), &buf, bytes.NewReader(sealed), opts)
	if err == nil || o != nil {
		t.Fatal("it opened")
	}
	if KindOf(err) != kind {
		t.Fatalf("refused with kind %d (%v), want kind %d", KindOf(err), err, kind)
	}
	return buf.Bytes()
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
