package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"l2p/envelope"
)

// testKey returns a key that is the same in every run.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var (
	rootKey  = testKey(1)
	boxKey   = testKey(2)
	nodeKey  = testKey(3)
	issued   = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	testNet  = envelope.NetworkIDOf(public(rootKey))
	testUnix = issued.Unix()
)

func testBoxCert() *BoxCert {
	before, after := CertTimes(issued)
	return &BoxCert{Format: 1, Network: testNet, Name: "a-tech", Agent: envelope.AgentID{7}, Key: public(boxKey),
		Nonce: [32]byte{9}, NotBefore: before, NotAfter: after}
}

func testNodeCert(box *envelope.Signed) *NodeCert {
	before, after := CertTimes(issued)
	return &NodeCert{Format: 1, Network: testNet, BoxCert: box.Hash(), Key: public(nodeKey), Ordinal: 2, Serial: 1,
		NotBefore: before, NotAfter: after}
}

func testRevocation(cert envelope.Hash) *Revocation {
	return &Revocation{Format: 1, Network: testNet, Cert: cert, Time: testUnix}
}

func testJoinRequest() *JoinRequest {
	return &JoinRequest{Format: 1, Network: testNet, Name: "e-build", Document: []byte("document"), Key: public(boxKey),
		Agent: envelope.AgentID{7}, Addr: ":4242", Time: testUnix, Node: public(nodeKey)}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testCredentials() *Credentials {
	box := must(SignBoxCert(testBoxCert(), rootKey))
	node := must(SignNodeCert(testNodeCert(box), boxKey, nodeKey))
	return &Credentials{RootKey: public(rootKey), Box: box.Encode(), Node: node.Encode()}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	data := must(envelope.Encode(testCredentials()))
	if len(data) > MaxCredentialsSize {
		t.Errorf("credentials take %d bytes, more than the limit", len(data))
	}
	creds, err := ParseCredentials(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{issued, issued.AddDate(-20, 0, 0), issued.AddDate(9, 0, 0)} {
		box, node, err := VerifyCredentials(creds, public(nodeKey), now)
		if err != nil {
			t.Fatalf("at %v: %v", now, err)
		}
		if box.Name != "a-tech" || node.Ordinal != 2 || creds.Network() != testNet {
			t.Errorf("at %v: got box %q, ordinal %d", now, box.Name, node.Ordinal)
		}
	}
}

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	stranger := testKey(66)
	sign := func(change func(box *BoxCert, node *NodeCert), root, boxSigner ed25519.PrivateKey) *Credentials {
		b := testBoxCert()
		n := testNodeCert(&envelope.Signed{})
		change(b, n)
		box := must(SignBoxCert(b, root))
		if n.BoxCert == (&envelope.Signed{}).Hash() {
			n.BoxCert = box.Hash()
		}
		node := must(SignNodeCert(n, boxSigner, nodeKey))
		return &Credentials{RootKey: public(rootKey), Box: box.Encode(), Node: node.Encode()}
	}
	same := func(*BoxCert, *NodeCert) {}
	tests := []struct {
		name  string
		creds *Credentials
		key   ed25519.PrivateKey
		now   time.Time
		kind  envelope.ErrorKind
	}{
		{"another node's", testCredentials(), stranger, issued, envelope.Denied},
		{"expired", testCredentials(), nodeKey, issued.AddDate(11, 0, 0), envelope.Denied},
		{"box signed by a stranger", sign(same, stranger, boxKey), nodeKey, issued, envelope.Corrupt},
		{"node signed by a stranger", sign(same, rootKey, stranger), nodeKey, issued, envelope.Corrupt},
		{"box of another network", sign(func(b *BoxCert, _ *NodeCert) { b.Network[0]++ }, rootKey, boxKey), nodeKey, issued, envelope.Corrupt},
		{"node of another network", sign(func(_ *BoxCert, n *NodeCert) { n.Network[0]++ }, rootKey, boxKey), nodeKey, issued, envelope.Corrupt},
		{"node of another certificate", sign(func(_ *BoxCert, n *NodeCert) { n.BoxCert = envelope.Hash{1} }, rootKey, boxKey), nodeKey, issued, envelope.Corrupt},
		{"no certificates", &Credentials{RootKey: public(rootKey)}, nodeKey, issued, envelope.Corrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := VerifyCredentials(tt.creds, public(tt.key), tt.now)
			if err == nil || envelope.KindOf(err) != tt.kind {
				t.Errorf("got %v, want an error of kind %d", err, tt.kind)
			}
		})
	}
}

// Nobody may certify a node whose key isn't theirs.
func TestNodeCertNeedsNodeKey(t *testing.T) {
	t.Parallel()
	box := must(SignBoxCert(testBoxCert(), rootKey))
	c := testNodeCert(box)
	if _, err := SignNodeCert(c, boxKey, testKey(66)); err == nil {
		t.Error("signed a node certificate with another node's key")
	}
	s := must(signBody(c, envelope.DomainNodeCert, boxKey, boxKey))
	if _, err := VerifyNodeCert(s, public(boxKey)); err == nil {
		t.Error("accepted a node certificate that the node didn't sign")
	}
}

func TestSignedForms(t *testing.T) {
	t.Parallel()
	box := must(SignBoxCert(testBoxCert(), rootKey))
	tests := []struct {
		name   string
		signed *envelope.Signed
		parse  func(*envelope.Signed) error
	}{
		{"box", box, func(s *envelope.Signed) error { _, err := VerifyBoxCert(s, public(rootKey)); return err }},
		{"node", must(SignNodeCert(testNodeCert(box), boxKey, nodeKey)),
			func(s *envelope.Signed) error { _, err := VerifyNodeCert(s, public(boxKey)); return err }},
		{"revocation", must(SignRevocation(testRevocation(box.Hash()), rootKey)),
			func(s *envelope.Signed) error { _, err := VerifyRevocation(s, public(rootKey)); return err }},
		{"join request", must(SignJoinRequest(testJoinRequest(), boxKey)),
			func(s *envelope.Signed) error { _, _, err := ParseJoinRequest(s.Encode()); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.parse(tt.signed); err != nil {
				t.Fatal(err)
			}
			if n := len(tt.signed.Encode()); n > MaxCertSize {
				t.Errorf("takes %d bytes, more than the limit", n)
			}
			last := len(tt.signed.Signatures) - 1
			for name, change := range map[string]func(*envelope.Signed){
				"attachment":      func(s *envelope.Signed) { s.Attachments = [][]byte{{1}} },
				"extra signature": func(s *envelope.Signed) { s.Signatures = append(s.Signatures, s.Signatures[0]) },
				"signer named":    func(s *envelope.Signed) { s.Signatures[last].Signer = envelope.AgentID{1} },
				"version named":   func(s *envelope.Signed) { s.Signatures[last].Version = 1 },
				"algorithm":       func(s *envelope.Signed) { s.Signatures[last].Algorithm = 2 },
				"short signature": func(s *envelope.Signed) { s.Signatures[last].Bytes = s.Signatures[last].Bytes[:63] },
				"wrong signature": func(s *envelope.Signed) { s.Signatures[last].Bytes[5] ^= 1 },
				"empty body":      func(s *envelope.Signed) { s.Body = nil },
				"trailing byte":   func(s *envelope.Signed) { s.Body = append(s.Body, 0) },
			} {
				s := must(envelope.ParseSigned(tt.signed.Encode(), MaxJoinRequestSize))
				change(s)
				if err := tt.parse(s); err == nil || envelope.KindOf(err) != envelope.Corrupt {
					t.Errorf("%s: got %v, want an error of kind Corrupt", name, err)
				}
			}
			for i := range tt.signed.Body {
				s := must(envelope.ParseSigned(tt.signed.Encode(), MaxJoinRequestSize))
				s.Body[i] ^= 1
				if tt.parse(s) == nil {
					t.Errorf("accepted with byte %d of the body changed", i)
				}
			}
		})
	}
}

func TestFieldsChecked(t *testing.T) {
	t.Parallel()
	box := must(SignBoxCert(testBoxCert(), rootKey))
	boxCert := func(change func(*BoxCert)) error {
		c := testBoxCert()
		change(c)
		_, err := ParseBoxCert(must(signBody(c, envelope.DomainBoxCert, rootKey)))
		_, err2 := SignBoxCert(c, rootKey)
		return errors.Join(err, err2)
	}
	nodeCert := func(change func(*NodeCert)) error {
		c := testNodeCert(box)
		change(c)
		_, err := ParseNodeCert(must(signBody(c, envelope.DomainNodeCert, boxKey, nodeKey)))
		_, err2 := SignNodeCert(c, boxKey, nodeKey)
		return errors.Join(err, err2)
	}
	revocation := func(change func(*Revocation)) error {
		r := testRevocation(box.Hash())
		change(r)
		_, err := ParseRevocation(must(signBody(r, envelope.DomainRevocation, rootKey)))
		return err
	}
	request := func(change func(*JoinRequest)) error {
		r := testJoinRequest()
		change(r)
		_, _, err := ParseJoinRequest(must(signBody(r, envelope.DomainJoinRequest, boxKey)).Encode())
		return err
	}
	for name, err := range map[string]error{
		"box format":          boxCert(func(c *BoxCert) { c.Format = 2 }),
		"box network":         boxCert(func(c *BoxCert) { c.Network = envelope.NetworkID{} }),
		"box name":            boxCert(func(c *BoxCert) { c.Name = "A\x1b[2J" }),
		"box agent":           boxCert(func(c *BoxCert) { c.Agent = envelope.AgentID{} }),
		"box key":             boxCert(func(c *BoxCert) { c.Key = c.Key[:31] }),
		"box times":           boxCert(func(c *BoxCert) { c.NotAfter = c.NotBefore }),
		"box negative":        boxCert(func(c *BoxCert) { c.NotBefore = -1 }),
		"box for ever":        boxCert(func(c *BoxCert) { c.NotAfter = 1 << 62 }),
		"node format":         nodeCert(func(c *NodeCert) { c.Format = 0 }),
		"node network":        nodeCert(func(c *NodeCert) { c.Network = envelope.NetworkID{} }),
		"node box":            nodeCert(func(c *NodeCert) { c.BoxCert = envelope.Hash{} }),
		"node key":            nodeCert(func(c *NodeCert) { c.Key = nil }),
		"node ordinal":        nodeCert(func(c *NodeCert) { c.Ordinal = MaxOrdinal + 1 }),
		"node serial":         nodeCert(func(c *NodeCert) { c.Serial = 0 }),
		"revocation format":   revocation(func(r *Revocation) { r.Format = 9 }),
		"revocation network":  revocation(func(r *Revocation) { r.Network = envelope.NetworkID{} }),
		"revocation cert":     revocation(func(r *Revocation) { r.Cert = envelope.Hash{} }),
		"revocation time":     revocation(func(r *Revocation) { r.Time = -5 }),
		"request format":      request(func(r *JoinRequest) { r.Format = 9 }),
		"request network":     request(func(r *JoinRequest) { r.Network = envelope.NetworkID{} }),
		"request name":        request(func(r *JoinRequest) { r.Name = "" }),
		"request document":    request(func(r *JoinRequest) { r.Document = nil }),
		"request agent":       request(func(r *JoinRequest) { r.Agent = envelope.AgentID{} }),
		"request address":     request(func(r *JoinRequest) { r.Addr = "host" }),
		"request node":        request(func(r *JoinRequest) { r.Node = []byte{1} }),
		"request key":         request(func(r *JoinRequest) { r.Key = public(testKey(66)) }),
		"request too long":    request(func(r *JoinRequest) { r.Document = make([]byte, MaxJoinRequestSize) }),
		"request at no time":  request(func(r *JoinRequest) { r.Time = 1 << 50 }),
		"request short boxes": request(func(r *JoinRequest) { r.Key = r.Key[:4] }),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCheckAddr(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"127.0.0.1:4242", "[::1]:1", "box.a-tech.example:65535", "localhost:80"} {
		if err := CheckAddr(good, false); err != nil {
			t.Errorf("%q refused: %v", good, err)
		}
	}
	if err := CheckAddr(":4242", true); err != nil {
		t.Errorf("empty host refused: %v", err)
	}
	for _, bad := range []string{"", ":4242", "host", "host:", "host:0", "host:65536", "host:+1", "host:01", "ho st:1", "host\n:1",
		"-x:1", ".x:1", "a..b:1", "[fe80::1%eth0]:1", "ho\x1bst:1", strings.Repeat("a", 260) + ":1", "[::1]x:1", "höst:1"} {
		if CheckAddr(bad, false) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func testTicket() *Ticket {
	return &Ticket{Format: 1, Network: testNet, Name: "e-build", Secret: [16]byte{1, 2, 3}, Expires: testUnix,
		Addrs: []string{"192.0.2.1:4242", "[2001:db8::1]:4242"}}
}

func TestTicket(t *testing.T) {
	t.Parallel()
	text := must(testTicket().Text())
	back, err := ParseTicket(text)
	if err != nil {
		t.Fatal(err)
	}
	if must(back.Text()) != text || back.Name != "e-build" || len(back.Addrs) != 2 || back.Secret != testTicket().Secret {
		t.Errorf("came back as %+v", back)
	}
	// Every wrong, missing, doubled or swapped character is noticed.
	for i := range text {
		wrong := []string{text[:i] + text[i+1:], text[:i] + string(text[i]) + text[i:]}
		for _, c := range "qpzry9x8gf2tvdw0s3jn54khce6mua7l1b!Q \n" {
			if byte(c) != text[i] {
				wrong = append(wrong, text[:i]+string(c)+text[i+1:])
			}
		}
		if i > 0 && text[i] != text[i-1] {
			wrong = append(wrong, text[:i-1]+string(text[i])+string(text[i-1])+text[i+1:])
		}
		for _, w := range wrong {
			if _, err := ParseTicket(w); err == nil && w != text {
				t.Fatalf("accepted %q", w)
			} else if w != text && envelope.KindOf(err) != envelope.Usage {
				t.Fatalf("%q: kind %d, want Usage", w, envelope.KindOf(err))
			}
		}
	}
	if _, err := ParseTicket(strings.ToUpper(text)); err == nil {
		t.Error("accepted in capitals: a second text form of one ticket")
	}
}

func TestTicketLimits(t *testing.T) {
	t.Parallel()
	long := testTicket()
	long.Addrs = nil
	for range maxTicketAddrs {
		long.Addrs = append(long.Addrs, strings.Repeat("a", 75)+":4242")
	}
	if _, err := long.Text(); envelope.KindOf(err) != envelope.Full {
		t.Errorf("too long a ticket: got %v, want an error of kind Full", err)
	}
	long.Addrs = long.Addrs[:6]
	text, err := long.Text()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > MaxTicketLen {
		t.Errorf("ticket of %d characters", len(text))
	}
	if _, err := ParseTicket(text); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Ticket){
		"format":    func(k *Ticket) { k.Format = 2 },
		"network":   func(k *Ticket) { k.Network = envelope.NetworkID{} },
		"name":      func(k *Ticket) { k.Name = "E Build" },
		"expires":   func(k *Ticket) { k.Expires = -1 },
		"no addr":   func(k *Ticket) { k.Addrs = nil },
		"many addr": func(k *Ticket) { k.Addrs = make([]string, 9) },
		"bad addr":  func(k *Ticket) { k.Addrs = []string{":1"} },
	} {
		k := testTicket()
		change(k)
		if _, err := k.Text(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzTicket(f *testing.F) {
	f.Add(must(testTicket().Text()))
	f.Add("l2pticket1qqqqqq")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseTicket(s)
		if err != nil {
			return
		}
		if again, err := k.Text(); err != nil || again != s {
			t.Fatalf("%q has the text form %q, %v", s, again, err)
		}
	})
}

func FuzzCertificates(f *testing.F) {
	creds := testCredentials()
	f.Add(creds.Box)
	f.Add(creds.Node)
	f.Add(must(SignRevocation(testRevocation(envelope.Hash{1}), rootKey)).Encode())
	f.Add(must(SignJoinRequest(testJoinRequest(), boxKey)).Encode())
	f.Add(must(SignGossipKey(&GossipKey{Format: 1, Network: envelope.NetworkIDOf(public(rootKey)), Serial: 1, Key: [32]byte{1}}, rootKey)).Encode())
	f.Add(must(envelope.Encode(creds)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCredentials(data); err == nil {
			_, _, _ = VerifyCredentials(c, public(nodeKey), issued)
		}
		if r, s, err := ParseJoinRequest(data); err == nil {
			if again, err := envelope.Encode(r); err != nil || !bytes.Equal(again, s.Body) {
				t.Fatal("a join request has two encodings")
			}
		}
		s, err := envelope.ParseSigned(data, MaxCertSize)
		if err != nil {
			return
		}
		if c, err := ParseBoxCert(s); err == nil && c.check() != nil {
			t.Fatal("ParseBoxCert let a bad certificate through")
		}
		if c, err := ParseNodeCert(s); err == nil && c.check() != nil {
			t.Fatal("ParseNodeCert let a bad certificate through")
		}
		_, _ = ParseRevocation(s)
		_, _ = VerifyGossipKey(s, public(rootKey))
	})
}
