package admit

import (
	"cmp"
	"crypto/ed25519"
	"maps"
	"slices"

	"l2p/envelope"
	"l2p/netq/wire"
)

// MaxStatements bounds a roster. A box can make at most 33 statements with its
// own keys (16 node certificates, and revocations of those and of itself), so
// only the root key's holder can fill it.
const MaxStatements = 16 << 10

// A statement is one verified line of the roster. Its hash is that of the
// signed body, so that other signatures over it don't make it another one.
type statement struct {
	wire.Statement
	hash envelope.Hash
}

type boxStatement struct {
	statement
	cert *wire.BoxCert
}

type nodeStatement struct {
	statement
	cert *wire.NodeCert
}

// A nodeSlot has room for one node certificate: the highest serial wins, then
// the smaller hash. So a box can't grow the roster without end.
type nodeSlot struct {
	box     envelope.Hash
	ordinal uint
}

// A revocationSlot has room for one revocation: the smaller hash wins.
type revocationSlot struct {
	cert envelope.Hash
	left bool // signed by the box, not by the root key
}

// statements is the set of verified statements in its normal form. Joining two
// sets is commutative, associative and idempotent: every slot takes the
// greatest of what is offered, and a box's own revocation stays as long as the
// certificate that it revokes.
type statements struct {
	network     envelope.NetworkID
	root        ed25519.PublicKey
	boxes       map[envelope.Hash]boxStatement
	nodes       map[nodeSlot]nodeStatement
	revocations map[revocationSlot]statement
}

func newStatements(root ed25519.PublicKey) *statements {
	return &statements{
		network:     envelope.NetworkIDOf(root),
		root:        root,
		boxes:       map[envelope.Hash]boxStatement{},
		nodes:       map[nodeSlot]nodeStatement{},
		revocations: map[revocationSlot]statement{},
	}
}

// clone returns a copy that may be added to without changing s.
func (s *statements) clone() *statements {
	c := *s
	c.boxes, c.nodes, c.revocations = maps.Clone(s.boxes), maps.Clone(s.nodes), maps.Clone(s.revocations)
	return &c
}

func (s *statements) len() int { return len(s.boxes) + len(s.nodes) + len(s.revocations) }

// add verifies a batch of statements, in any order, and takes those that hold.
// A node certificate whose box certificate neither s nor the batch has is
// refused; a box's own revocation of a certificate that isn't there is passed
// over. It returns whether anything was new, and the first error.
func (s *statements) add(batch []wire.Statement) (changed bool, first error) {
	if len(batch) > MaxStatements {
		return false, envelope.Errorf(envelope.Corrupt, "%d statements at once, at most %d are allowed", len(batch), MaxStatements)
	}
	// What others depend on comes first: box certificates, node certificates, revocations.
	batch = slices.Clone(batch)
	slices.SortStableFunc(batch, func(a, b wire.Statement) int { return cmp.Compare(a.Kind, b.Kind) })
	for _, st := range batch {
		took, err := s.addOne(st)
		changed = changed || took
		if err != nil && first == nil {
			first = err
		}
	}
	return changed, first
}

func (s *statements) addOne(st wire.Statement) (bool, error) {
	signed, err := envelope.ParseSigned(st.Data, wire.MaxCertSize)
	if err != nil {
		return false, err
	}
	line := statement{Statement: st, hash: signed.Hash()}
	switch st.Kind {
	case wire.StatementBox:
		return s.addBox(line, signed)
	case wire.StatementNode:
		return s.addNode(line, signed)
	case wire.StatementRevocation:
		return s.addRevocation(line, signed)
	}
	return false, envelope.Errorf(envelope.Corrupt, "unknown kind of statement %d", st.Kind)
}

func (s *statements) addBox(line statement, signed *envelope.Signed) (bool, error) {
	if _, known := s.boxes[line.hash]; known {
		return false, nil
	}
	cert, err := wire.VerifyBoxCert(signed, s.root)
	if err != nil {
		return false, err
	}
	if cert.Network != s.network {
		return false, otherNetwork()
	}
	if err := s.room(); err != nil {
		return false, err
	}
	s.boxes[line.hash] = boxStatement{line, cert}
	return true, nil
}

func (s *statements) addNode(line statement, signed *envelope.Signed) (bool, error) {
	cert, err := wire.ParseNodeCert(signed)
	if err != nil {
		return false, err
	}
	box, known := s.boxes[cert.BoxCert]
	if !known {
		return false, envelope.Errorf(envelope.NotFound, "a node certificate came without the box certificate that it depends on")
	}
	slot := nodeSlot{cert.BoxCert, cert.Ordinal}
	old, taken := s.nodes[slot]
	if taken && !beats(cert.Serial, line.hash, old.cert.Serial, old.hash) {
		return false, nil
	}
	if _, err := wire.VerifyNodeCert(signed, box.cert.Key); err != nil {
		return false, err
	}
	if cert.Network != s.network {
		return false, otherNetwork()
	}
	if taken {
		delete(s.revocations, revocationSlot{old.hash, true})
	} else if err := s.room(); err != nil {
		return false, err
	}
	s.nodes[slot] = nodeStatement{line, cert}
	return true, nil
}

func (s *statements) addRevocation(line statement, signed *envelope.Signed) (bool, error) {
	r, err := wire.ParseRevocation(signed)
	if err != nil {
		return false, err
	}
	slot := revocationSlot{r.Cert, r.Left}
	old, taken := s.revocations[slot]
	if taken && !beats(0, line.hash, 0, old.hash) {
		return false, nil
	}
	key := s.root
	if r.Left {
		if key = s.boxKeyOf(r.Cert); key == nil {
			return false, nil // of a certificate that a newer one has replaced here
		}
	}
	if _, err := wire.VerifyRevocation(signed, key); err != nil {
		return false, err
	}
	if r.Network != s.network {
		return false, otherNetwork()
	}
	if !taken {
		if err := s.room(); err != nil {
			return false, err
		}
	}
	s.revocations[slot] = line
	return true, nil
}

// boxKeyOf returns the key of the box that a certificate is of, or nil.
func (s *statements) boxKeyOf(cert envelope.Hash) ed25519.PublicKey {
	if box, ok := s.boxes[cert]; ok {
		return box.cert.Key
	}
	for slot, node := range s.nodes {
		if node.hash == cert {
			return s.boxes[slot.box].cert.Key
		}
	}
	return nil
}

// revoked reports whether a certificate has ended.
func (s *statements) revoked(cert envelope.Hash) bool {
	_, expelled := s.revocations[revocationSlot{cert, false}]
	_, left := s.revocations[revocationSlot{cert, true}]
	return expelled || left
}

// all returns the statements in an order in which each comes after what it
// depends on: box certificates, node certificates, revocations, each ascending
// by hash.
func (s *statements) all() []statement {
	lines := make([]statement, 0, s.len())
	for _, b := range s.boxes {
		lines = append(lines, b.statement)
	}
	for _, n := range s.nodes {
		lines = append(lines, n.statement)
	}
	for _, r := range s.revocations {
		lines = append(lines, r)
	}
	slices.SortFunc(lines, func(a, b statement) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), compareHash(a.hash, b.hash))
	})
	return lines
}

func (s *statements) room() error {
	if s.len() < MaxStatements {
		return nil
	}
	return envelope.Errorf(envelope.Full, "the roster has %d statements, which is its limit", MaxStatements)
}

// beats reports whether (n, hash) wins over (m, other): the higher number,
// then the smaller hash.
func beats(n uint64, hash envelope.Hash, m uint64, other envelope.Hash) bool {
	if n != m {
		return n > m
	}
	return compareHash(hash, other) < 0
}

func compareHash(a, b envelope.Hash) int { return slices.Compare(a[:], b[:]) }

func otherNetwork() error {
	return envelope.Errorf(envelope.WrongNetwork, "a statement is of another network")
}
