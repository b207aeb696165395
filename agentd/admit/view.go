package admit

import (
	"cmp"
	"crypto/ed25519"
	"slices"

	"l2p/agentd/ring"
	"l2p/envelope"
)

// A Box is a box that takes part.
type Box struct {
	Name  string // of the box and its namespace
	Agent envelope.AgentID
	Key   ed25519.PublicKey
	Cert  envelope.Hash // of the certificate that holds
	Nonce [32]byte      // places its nodes on the ring
	// NotAfter is when the certificate expires, Unix seconds.
	NotAfter int64
}

// A view is what a set of statements means. It is a pure function of the set
// (no clock, no order of arrival), so every node that has the same statements
// has the same ring; it never changes once made.
type view struct {
	boxes   []*Box // ascending by name
	byName  map[string]*Box
	byAgent map[envelope.AgentID]*Box
	nodes   []ring.Node // ascending by id
	boxOf   map[envelope.NodeID]*Box
	certOf  map[envelope.NodeID]nodeStatement
	lines   []statement // as statements.all returns them
	digest  envelope.Hash
}

func newView(s *statements) *view {
	v := &view{
		byName:  map[string]*Box{},
		byAgent: map[envelope.AgentID]*Box{},
		boxOf:   map[envelope.NodeID]*Box{},
		certOf:  map[envelope.NodeID]nodeStatement{},
		lines:   s.all(),
	}
	v.holdBoxes(s)
	v.holdNodes(s)
	var hashes []byte
	for _, line := range v.lines {
		hashes = append(hashes, line.hash[:]...)
	}
	v.digest = envelope.HashOf("l2p roster v1\n", s.root, hashes)
	return v
}

// holdBoxes decides which box certificates hold: of those that aren't revoked,
// the later NotBefore first, then the smaller hash, each unless one before it
// has the same name or the same agent.
func (v *view) holdBoxes(s *statements) {
	certs := make([]boxStatement, 0, len(s.boxes))
	for hash, b := range s.boxes {
		if !s.revoked(hash) {
			certs = append(certs, b)
		}
	}
	slices.SortFunc(certs, func(a, b boxStatement) int {
		return cmp.Or(-cmp.Compare(a.cert.NotBefore, b.cert.NotBefore), compareHash(a.hash, b.hash))
	})
	for _, c := range certs {
		if v.byName[c.cert.Name] != nil || v.byAgent[c.cert.Agent] != nil {
			continue
		}
		b := &Box{Name: c.cert.Name, Agent: c.cert.Agent, Key: c.cert.Key, Cert: c.hash, Nonce: c.cert.Nonce, NotAfter: c.cert.NotAfter}
		v.byName[b.Name], v.byAgent[b.Agent] = b, b
		v.boxes = append(v.boxes, b)
	}
	slices.SortFunc(v.boxes, func(a, b *Box) int { return cmp.Compare(a.Name, b.Name) })
}

// holdNodes decides which node certificates hold: those under any unrevoked
// certificate of a box that holds, with the same key, so that a renewed box
// certificate doesn't end the box's nodes. The higher serial first, then the
// later NotBefore, then the smaller hash, each unless one before it has the
// same node key, or the same box and ordinal.
func (v *view) holdNodes(s *statements) {
	certs := make([]nodeStatement, 0, len(s.nodes))
	for slot, n := range s.nodes {
		under := s.boxes[slot.box].cert
		box := v.byAgent[under.Agent]
		if box != nil && box.Key.Equal(ed25519.PublicKey(under.Key)) && !s.revoked(slot.box) && !s.revoked(n.hash) {
			certs = append(certs, n)
		}
	}
	slices.SortFunc(certs, func(a, b nodeStatement) int {
		return cmp.Or(-cmp.Compare(a.cert.Serial, b.cert.Serial), -cmp.Compare(a.cert.NotBefore, b.cert.NotBefore), compareHash(a.hash, b.hash))
	})
	type seat struct {
		box     envelope.AgentID
		ordinal uint
	}
	seats := map[seat]bool{}
	for _, c := range certs {
		id := envelope.NodeIDOf(c.cert.Key)
		box := v.byAgent[s.boxes[c.cert.BoxCert].cert.Agent]
		at := seat{box.Agent, c.cert.Ordinal}
		if v.boxOf[id] != nil || seats[at] {
			continue
		}
		seats[at] = true
		v.boxOf[id], v.certOf[id] = box, c
		v.nodes = append(v.nodes, ring.Node{ID: id, Box: box.Agent, Nonce: box.Nonce, Ordinal: c.cert.Ordinal})
	}
	slices.SortFunc(v.nodes, func(a, b ring.Node) int { return slices.Compare(a.ID[:], b.ID[:]) })
}
