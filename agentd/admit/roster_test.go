package admit

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"l2p/envelope"
	"l2p/netq/wire"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// key returns a key that is the same in every run.
func key(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n)}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var root = key(250)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func boxLine(name string, agent int, boxKey ed25519.PrivateKey, notBefore int64) (wire.Statement, envelope.Hash) {
	s := must(wire.SignBoxCert(&wire.BoxCert{Format: 1, Network: envelope.NetworkIDOf(public(root)), Name: name,
		Agent: envelope.AgentID{byte(agent)}, Key: public(boxKey), Nonce: [32]byte{byte(agent)}, NotBefore: notBefore, NotAfter: 1 << 39}, root))
	return wire.Statement{Kind: wire.StatementBox, Data: s.Encode()}, s.Hash()
}

func nodeLine(box envelope.Hash, boxKey, nodeKey ed25519.PrivateKey, ordinal uint, serial uint64) (wire.Statement, envelope.Hash) {
	s := must(wire.SignNodeCert(&wire.NodeCert{Format: 1, Network: envelope.NetworkIDOf(public(root)), BoxCert: box,
		Key: public(nodeKey), Ordinal: ordinal, Serial: serial, NotBefore: 1, NotAfter: 1 << 39}, boxKey, nodeKey))
	return wire.Statement{Kind: wire.StatementNode, Data: s.Encode()}, s.Hash()
}

func revocationLine(cert envelope.Hash, left bool, at int64, signer ed25519.PrivateKey) wire.Statement {
	s := must(wire.SignRevocation(&wire.Revocation{Format: 1, Network: envelope.NetworkIDOf(public(root)), Cert: cert, Time: at, Left: left}, signer))
	return wire.Statement{Kind: wire.StatementRevocation, Data: s.Encode()}
}

// drawLines draws statements that conflict in every way they can: names,
// agents, keys, places, serials, revocations of both signers.
func drawLines(t *rapid.T) []wire.Statement {
	var lines []wire.Statement
	type cert struct {
		hash   envelope.Hash
		signer ed25519.PrivateKey
	}
	var certs, boxes []cert
	for range rapid.IntRange(1, 5).Draw(t, "boxes") {
		boxKey := key(rapid.IntRange(1, 3).Draw(t, "box key"))
		name := rapid.SampledFrom([]string{"a-tech", "e-build"}).Draw(t, "name")
		st, hash := boxLine(name, rapid.IntRange(1, 3).Draw(t, "agent"), boxKey, rapid.Int64Range(1, 3).Draw(t, "not before"))
		lines, boxes = append(lines, st), append(boxes, cert{hash, boxKey})
	}
	certs = append(certs, boxes...)
	for range rapid.IntRange(0, 6).Draw(t, "nodes") {
		box := rapid.SampledFrom(boxes).Draw(t, "box of node")
		st, hash := nodeLine(box.hash, box.signer, key(rapid.IntRange(10, 13).Draw(t, "node key")),
			rapid.UintRange(0, 1).Draw(t, "ordinal"), rapid.Uint64Range(1, 3).Draw(t, "serial"))
		lines, certs = append(lines, st), append(certs, cert{hash, box.signer})
	}
	for range rapid.IntRange(0, 4).Draw(t, "revocations") {
		c, left := rapid.SampledFrom(certs).Draw(t, "revoked"), rapid.Bool().Draw(t, "left")
		signer := root
		if left {
			signer = c.signer
		}
		lines = append(lines, revocationLine(c.hash, left, rapid.Int64Range(1, 2).Draw(t, "time"), signer))
	}
	return lines
}

func shuffled(t *rapid.T, lines []wire.Statement, label string) []wire.Statement {
	return rapid.Permutation(lines).Draw(t, label)
}

func setOf(t interface{ Fatalf(string, ...any) }, batches ...[]wire.Statement) *statements {
	s := newStatements(public(root))
	for _, b := range batches {
		if _, err := s.add(b); err != nil && envelope.KindOf(err) != envelope.NotFound {
			t.Fatalf("add: %v", err)
		}
	}
	return s
}

func linesOf(s *statements) []wire.Statement { return newView(s).wire(nil) }

func describe(s *statements) string {
	v := newView(s)
	out := fmt.Sprintf("%d statements, digest %s;", len(v.lines), v.digest.Short())
	for _, b := range v.boxes {
		out += fmt.Sprintf(" box %s=%x cert %s;", b.Name, b.Agent[0], b.Cert.Short())
	}
	for _, n := range v.nodes {
		out += fmt.Sprintf(" node %s of %x at %d;", n.ID.Short(), n.Box[0], n.Ordinal)
	}
	return out
}

func TestSetJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := drawLines(t)
		all := setOf(t, lines)
		if got, want := describe(setOf(t, shuffled(t, lines, "order"))), describe(all); got != want {
			t.Fatalf("another order in one batch:\n%s\n%s", got, want)
		}
		// Three replicas that have heard different parts, each as its parts
		// allow: joins are commutative, associative, idempotent.
		part := func(label string) *statements {
			return setOf(t, rapid.SliceOfDistinct(rapid.SampledFrom(lines), func(s wire.Statement) string { return string(s.Data) }).Draw(t, label))
		}
		a, b, c := part("a"), part("b"), part("c")
		A, B, C := linesOf(a), linesOf(b), linesOf(c)
		if got, want := describe(setOf(t, B, A)), describe(setOf(t, A, B)); got != want {
			t.Fatalf("not commutative:\n%s\n%s", got, want)
		}
		left := setOf(t, linesOf(setOf(t, A, B)), C)
		right := setOf(t, A, linesOf(setOf(t, B, C)))
		if got, want := describe(left), describe(right); got != want {
			t.Fatalf("not associative:\n%s\n%s", got, want)
		}
		if got, want := describe(setOf(t, A, A)), describe(a); got != want {
			t.Fatalf("not idempotent:\n%s\n%s", got, want)
		}
		// Any first part of what a set tells stands by itself.
		v := linesOf(all)
		n := rapid.IntRange(0, len(v)).Draw(t, "first part")
		if _, err := newStatements(public(root)).add(v[:n]); err != nil {
			t.Fatalf("the first %d of %d statements don't stand alone: %v", n, len(v), err)
		}
	})
}

func TestViewInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := setOf(t, drawLines(t))
		v := newView(s)
		names, agents := map[string]bool{}, map[envelope.AgentID]bool{}
		for _, b := range v.boxes {
			if names[b.Name] || agents[b.Agent] {
				t.Fatalf("box %s %x twice", b.Name, b.Agent[0])
			}
			names[b.Name], agents[b.Agent] = true, true
			if s.revoked(b.Cert) {
				t.Fatalf("box %s holds by a revoked certificate", b.Name)
			}
		}
		seats, ids := map[string]bool{}, map[envelope.NodeID]bool{}
		for _, n := range v.nodes {
			seat := fmt.Sprint(n.Box, n.Ordinal)
			if seats[seat] || ids[n.ID] || !agents[n.Box] {
				t.Fatalf("node %s: two in one place, or twice, or of no box", n.ID.Short())
			}
			seats[seat], ids[n.ID] = true, true
			if c := v.certOf[n.ID]; s.revoked(c.hash) || s.revoked(c.cert.BoxCert) {
				t.Fatalf("node %s holds by a revoked certificate", n.ID.Short())
			}
		}
	})
}

// Rosters that tell each other what the other lacks end up the same.
func TestRostersConverge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := drawLines(t)
		var rosters []*Roster
		for i := range 3 {
			heard := rapid.SliceOfDistinct(rapid.SampledFrom(lines), func(s wire.Statement) string { return string(s.Data) }).Draw(t, fmt.Sprint("heard by ", i))
			s := setOf(t, heard)
			rosters = append(rosters, &Roster{statements: s, view: newView(s)})
		}
		merge := func(from, to *Roster) {
			missing, _ := from.Missing(to.Hashes())
			if _, err := to.statements.add(missing); err != nil {
				t.Fatalf("what another roster told was refused: %v", err)
			}
			to.view = newView(to.statements)
		}
		for range 2 {
			for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
				merge(rosters[pair[0]], rosters[pair[1]])
				merge(rosters[pair[1]], rosters[pair[0]])
			}
		}
		for _, r := range rosters[1:] {
			if r.Digest() != rosters[0].Digest() {
				t.Fatalf("rosters differ:\n%s\n%s", describe(rosters[0].statements), describe(r.statements))
			}
			if missing, want := r.Missing(rosters[0].Hashes()); len(missing)+len(want) != 0 {
				t.Fatalf("same digest, but %d missing and %d wanted", len(missing), len(want))
			}
		}
	})
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	older, olderHash := boxLine("a-tech", 1, key(1), 10)
	newer, newerHash := boxLine("a-tech", 2, key(2), 20)
	renewed, renewedHash := boxLine("a-tech", 1, key(1), 30)
	rekeyed, _ := boxLine("a-tech", 1, key(3), 40)
	node, nodeHash := nodeLine(olderHash, key(1), key(10), 0, 1)
	moved, _ := nodeLine(olderHash, key(1), key(11), 0, 2)
	stolen, _ := nodeLine(newerHash, key(2), key(10), 0, 9)
	tests := []struct {
		name  string
		lines []wire.Statement
		want  string // box by agent number, its nodes by key number
	}{
		{"one", []wire.Statement{older, node}, "a-tech=1 10"},
		{"later certificate of a name wins", []wire.Statement{older, newer, node}, "a-tech=2"},
		{"renewed certificate keeps the nodes", []wire.Statement{older, renewed, node}, "a-tech=1 10"},
		{"new key ends the nodes", []wire.Statement{older, rekeyed, node}, "a-tech=1"},
		{"higher serial takes the place", []wire.Statement{older, node, moved}, "a-tech=1 11"},
		{"revoked by the root", []wire.Statement{older, node, revocationLine(olderHash, false, 1, root)}, ""},
		{"left", []wire.Statement{older, node, revocationLine(olderHash, true, 1, key(1))}, ""},
		{"node revoked", []wire.Statement{older, node, revocationLine(nodeHash, true, 1, key(1))}, "a-tech=1"},
		{"revocation of the winner lets the other hold", []wire.Statement{older, newer, node, revocationLine(newerHash, false, 1, root)}, "a-tech=1 10"},
		{"old certificate revoked, renewed one holds without its nodes", []wire.Statement{older, renewed, node, revocationLine(olderHash, false, 1, root)}, "a-tech=1"},
		{"a superseded node's revocation is forgotten", []wire.Statement{older, node, revocationLine(nodeHash, true, 1, key(1)), moved}, "a-tech=1 11"},
		{"node in two boxes, the first of which doesn't hold", []wire.Statement{older, newer, node, stolen}, "a-tech=2 10"},
		{"revocation before what it revokes", []wire.Statement{revocationLine(renewedHash, false, 1, root), older, renewed, node}, "a-tech=1 10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newView(setOf(t, tt.lines))
			got := ""
			for _, b := range v.boxes {
				got += fmt.Sprintf("%s=%d", b.Name, b.Agent[0])
			}
			for _, n := range v.nodes {
				for k := 10; k < 12; k++ {
					if n.ID == envelope.NodeIDOf(public(key(k))) {
						got += fmt.Sprintf(" %d", k)
					}
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStatementsRefused(t *testing.T) {
	t.Parallel()
	box, boxHash := boxLine("a-tech", 1, key(1), 10)
	node, nodeHash := nodeLine(boxHash, key(1), key(10), 0, 1)
	other, otherHash := boxLine("e-build", 2, key(2), 10)
	byStranger := wire.Statement{Kind: wire.StatementBox, Data: must(wire.SignBoxCert(&wire.BoxCert{Format: 1,
		Network: envelope.NetworkIDOf(public(root)), Name: "c-train", Agent: envelope.AgentID{3}, Key: public(key(3)), NotBefore: 1, NotAfter: 2}, key(3))).Encode()}
	elsewhere := wire.Statement{Kind: wire.StatementBox, Data: must(wire.SignBoxCert(&wire.BoxCert{Format: 1,
		Network: envelope.NetworkID{1}, Name: "c-train", Agent: envelope.AgentID{3}, Key: public(key(3)), NotBefore: 1, NotAfter: 2}, root)).Encode()}
	foreign, _ := nodeLine(otherHash, key(1), key(11), 0, 1) // certified by a box that the other isn't
	tests := []struct {
		name string
		line wire.Statement
		kind envelope.ErrorKind // 0: passed over without an error
	}{
		{"box by a stranger", byStranger, envelope.Corrupt},
		{"box of another network", elsewhere, envelope.WrongNetwork},
		{"node by another box", foreign, envelope.Corrupt},
		{"another box says it left", revocationLine(boxHash, true, 1, key(2)), envelope.Corrupt},
		{"another box revokes", revocationLine(boxHash, false, 1, key(2)), envelope.Corrupt},
		{"another box revokes a node", revocationLine(nodeHash, true, 1, key(2)), envelope.Corrupt},
		{"the root says that a box left", revocationLine(boxHash, true, 1, root), envelope.Corrupt},
		{"revocation of nothing known", revocationLine(envelope.Hash{1}, true, 1, key(1)), 0},
		{"node of nothing known", first(nodeLine(envelope.Hash{1}, key(1), key(12), 0, 1)), envelope.NotFound},
		{"kind 4", wire.Statement{Kind: 4, Data: box.Data}, envelope.Corrupt},
		{"wrong kind", wire.Statement{Kind: wire.StatementNode, Data: box.Data}, envelope.Corrupt},
		{"empty", wire.Statement{Kind: wire.StatementBox}, envelope.Corrupt},
		{"too long", wire.Statement{Kind: wire.StatementBox, Data: make([]byte, wire.MaxCertSize+1)}, envelope.Corrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setOf(t, []wire.Statement{box, node, other})
			before := describe(s)
			changed, err := s.add([]wire.Statement{tt.line})
			if changed || (err == nil) != (tt.kind == 0) || err != nil && envelope.KindOf(err) != tt.kind {
				t.Errorf("changed %v, error %v; want no change and kind %d", changed, err, tt.kind)
			}
			if describe(s) != before {
				t.Errorf("the set changed")
			}
		})
	}
	s := newStatements(public(root))
	if changed, err := s.add([]wire.Statement{byStranger, box, {Kind: 9}, node}); !changed || err == nil || s.len() != 2 {
		t.Errorf("bad statements kept good ones out: changed %v, %d statements, %v", changed, s.len(), err)
	}
	if _, err := s.add(make([]wire.Statement, MaxStatements+1)); envelope.KindOf(err) != envelope.Corrupt {
		t.Errorf("oversized batch: %v", err)
	}
}

func first[A, B any](a A, _ B) A { return a }

func TestStatementsBounded(t *testing.T) {
	t.Parallel()
	box, boxHash := boxLine("a-tech", 1, key(1), 10)
	s := setOf(t, []wire.Statement{box})
	// One box tries to fill the roster.
	for serial := range uint64(20) {
		for ordinal := range uint(wire.MaxOrdinal + 1) {
			node, nodeHash := nodeLine(boxHash, key(1), key(10), ordinal, serial+1)
			if _, err := s.add([]wire.Statement{node, revocationLine(nodeHash, true, int64(serial), key(1)), revocationLine(nodeHash, true, int64(serial)+1, key(1))}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.add([]wire.Statement{revocationLine(boxHash, true, int64(serial), key(1))}); err != nil {
			t.Fatal(err)
		}
	}
	if want := 1 + 16 + 16 + 1; s.len() != want {
		t.Errorf("one box made %d statements, want %d", s.len(), want)
	}
	for i := range envelope.HashSize {
		for j := range 256 {
			s.revocations[revocationSlot{envelope.Hash{byte(i), byte(j), 1}, false}] = statement{}
		}
	}
	for i := 0; s.len() < MaxStatements; i++ {
		s.revocations[revocationSlot{envelope.Hash{byte(i), byte(i >> 8), 2}, false}] = statement{}
	}
	more, _ := boxLine("e-build", 2, key(2), 10)
	if _, err := s.add([]wire.Statement{more}); envelope.KindOf(err) != envelope.Full {
		t.Errorf("beyond the limit: got %v, want an error of kind Full", err)
	}
}

func TestRosterFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "roster.cbor")
	if _, err := OpenRoster(path); envelope.KindOf(err) != envelope.NotFound {
		t.Fatalf("no file: got %v, want an error of kind NotFound", err)
	}
	r, err := Found(path, root, "a-tech", envelope.AgentID{1}, public(key(1)), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CertifyNode(key(1), key(10), 0, now); err != nil {
		t.Fatal(err)
	}
	again, err := OpenRoster(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != r.Digest() || again.Network() != r.Network() || len(again.Nodes()) != 1 {
		t.Errorf("the roster came back another one")
	}
	if info := must(os.Stat(path)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	data := must(os.ReadFile(path))
	bad := filepath.Join(t.TempDir(), "bad")
	for range 200 {
		broken := slices.Clone(data)
		broken[rand.IntN(len(broken))] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(bad, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRoster(bad); envelope.KindOf(err) != envelope.Corrupt && envelope.KindOf(err) != envelope.WrongNetwork && envelope.KindOf(err) != envelope.NotFound || err == nil {
			t.Fatalf("a changed bit: %v", err)
		}
	}
	if leftovers := must(os.ReadDir(filepath.Dir(path))); len(leftovers) != 1 {
		t.Errorf("files left behind: %v", leftovers)
	}
}

// A change that couldn't be written counts, is told, and is written later.
func TestRosterFileFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "roster.cbor")
	r := must(CreateRoster(path, public(root)))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	box, _ := boxLine("a-tech", 1, key(1), 10)
	changed, err := r.Add([]wire.Statement{box})
	if !changed || err == nil {
		t.Errorf("changed %v, error %v; want a change and an error", changed, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(nil); err != nil {
		t.Fatal(err)
	}
	if again := must(OpenRoster(path)); again.Digest() != r.Digest() {
		t.Error("the change wasn't written later")
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	box, boxHash := boxLine("a-tech", 1, key(1), 10)
	node, nodeHash := nodeLine(boxHash, key(1), key(10), 0, 1)
	creds := &wire.Credentials{RootKey: public(root), Box: box.Data, Node: node.Data}
	otherRoot := key(251)
	other, _ := boxLine("a-tech", 2, key(2), 20)
	moved, _ := nodeLine(boxHash, key(1), key(11), 0, 2)
	tests := []struct {
		name  string
		has   []wire.Statement
		creds *wire.Credentials
		key   ed25519.PrivateKey
		kind  envelope.ErrorKind // 0: may come in
		new   int
	}{
		{"known", []wire.Statement{box, node}, creds, key(10), 0, 0},
		{"new", nil, creds, key(10), 0, 2},
		{"new node of a known box", []wire.Statement{box}, creds, key(10), 0, 2},
		{"none", []wire.Statement{box, node}, nil, key(10), envelope.Denied, 0},
		{"another's", []wire.Statement{box, node}, creds, key(11), envelope.Denied, 0},
		{"other network", nil, &wire.Credentials{RootKey: public(otherRoot), Box: box.Data, Node: node.Data}, key(10), envelope.WrongNetwork, 0},
		{"expelled", []wire.Statement{revocationLine(boxHash, false, 1, root)}, creds, key(10), envelope.Denied, 0},
		{"left", []wire.Statement{box, revocationLine(boxHash, true, 1, key(1))}, creds, key(10), envelope.Denied, 0},
		{"node revoked", []wire.Statement{box, node, revocationLine(nodeHash, true, 1, key(1))}, creds, key(10), envelope.Denied, 0},
		{"name given to another box", []wire.Statement{other}, creds, key(10), envelope.Denied, 0},
		{"place given to another node", []wire.Statement{box, moved}, creds, key(10), envelope.Denied, 0},
		{"forged", nil, &wire.Credentials{RootKey: public(root), Box: other.Data, Node: node.Data}, key(10), envelope.Corrupt, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setOf(t, tt.has)
			r := &Roster{statements: s, view: newView(s)}
			got, err := r.Authorize(tt.creds, public(tt.key), now)
			if (err == nil) != (tt.kind == 0) || err != nil && envelope.KindOf(err) != tt.kind {
				t.Fatalf("got %v, want kind %d", err, tt.kind)
			}
			if len(got) != tt.new {
				t.Errorf("%d statements to merge, want %d", len(got), tt.new)
			}
			if r.Digest() != newView(s).digest || len(s.boxes) > len(tt.has) {
				t.Error("Authorize changed the roster")
			}
		})
	}
	// Expiry is enforced here, and doesn't touch the ring.
	s := setOf(t, []wire.Statement{box, node})
	r := &Roster{statements: s, view: newView(s)}
	if _, err := r.Authorize(creds, public(key(10)), time.Unix(1<<39+1, 0)); envelope.KindOf(err) != envelope.Denied {
		t.Errorf("expired: got %v", err)
	}
	if len(r.Nodes()) != 1 {
		t.Error("an expired certificate lost its place in the ring")
	}
}

func FuzzStatements(f *testing.F) {
	box, boxHash := boxLine("a-tech", 1, key(1), 10)
	node, _ := nodeLine(boxHash, key(1), key(10), 0, 1)
	f.Add(must(envelope.Encode([]wire.Statement{box, node, revocationLine(boxHash, true, 1, key(1))})))
	f.Fuzz(func(t *testing.T, data []byte) {
		var batch []wire.Statement
		if envelope.Decode(data, 1<<20, &batch) != nil {
			return
		}
		s := newStatements(public(root))
		_, _ = s.add(batch)
		if again := setOf(t, linesOf(s)); newView(again).digest != newView(s).digest {
			t.Fatal("a set doesn't survive being told")
		}
	})
}
