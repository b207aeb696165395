package admit

import (
	"crypto/ed25519"
	"slices"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// RenewBefore is how long before they expire certificates are renewed: long
// enough for a box that is switched on once a year.
const RenewBefore = 400 * 24 * time.Hour

func due(notAfter int64, now time.Time) bool {
	return notAfter-now.Unix() < int64(RenewBefore/time.Second)
}

// CertifyNode makes the node with the given key a node of the box with the
// given key, in the box's place number ordinal, and merges the certificate. It
// takes the place over from a node that had it. A node that has its
// certificate already keeps it, unless that expires within [RenewBefore] or the
// box has a newer certificate itself.
func (r *Roster) CertifyNode(boxKey, nodeKey ed25519.PrivateKey, ordinal uint, now time.Time) error {
	c := &wire.NodeCert{Format: 1, Network: r.Network(), Key: nodeKey.Public().(ed25519.PublicKey), Ordinal: ordinal, Serial: 1}
	c.NotBefore, c.NotAfter = wire.CertTimes(now)

	r.mu.RLock()
	var box *Box
	for _, b := range r.view.boxes {
		if b.Key.Equal(boxKey.Public()) {
			box = b
		}
	}
	if box == nil {
		r.mu.RUnlock()
		return envelope.Errorf(envelope.Denied, "the box has no certificate that holds")
	}
	c.BoxCert = box.Cert
	current := r.view.certOf[envelope.NodeIDOf(c.Key)].cert
	for slot, n := range r.statements.nodes {
		// A box's serials only rise, so that its newest word holds.
		if r.statements.boxes[slot.box].cert.Agent == box.Agent {
			c.Serial = max(c.Serial, n.cert.Serial+1)
		}
	}
	r.mu.RUnlock()

	if current != nil && current.BoxCert == c.BoxCert && current.Ordinal == ordinal && !due(current.NotAfter, now) {
		return nil
	}
	s, err := wire.SignNodeCert(c, boxKey, nodeKey)
	if err != nil {
		return err
	}
	_, err = r.Add([]wire.Statement{{Kind: wire.StatementNode, Data: s.Encode()}})
	return err
}

// Leave takes the box with the given key out of the network, by revoking its
// own certificates, and returns the revocations, which others must be told
// before the box goes.
func (r *Roster) Leave(boxKey ed25519.PrivateKey, now time.Time) ([]wire.Statement, error) {
	own := boxKey.Public().(ed25519.PublicKey)
	revocations, err := r.revoke(boxKey, true, now, func(c *wire.BoxCert) bool { return own.Equal(ed25519.PublicKey(c.Key)) })
	if err != nil {
		return nil, err
	}
	_, err = r.Add(revocations)
	return revocations, err
}

// revoke signs revocations of all box certificates that match and aren't
// revoked yet.
func (r *Roster) revoke(key ed25519.PrivateKey, left bool, now time.Time, match func(*wire.BoxCert) bool) ([]wire.Statement, error) {
	r.mu.RLock()
	var certs []envelope.Hash
	for hash, b := range r.statements.boxes {
		if match(b.cert) && !r.statements.revoked(hash) {
			certs = append(certs, hash)
		}
	}
	r.mu.RUnlock()
	if len(certs) == 0 {
		return nil, envelope.Errorf(envelope.NotFound, "no such box takes part in the network")
	}
	slices.SortFunc(certs, compareHash)
	var revocations []wire.Statement
	for _, hash := range certs {
		s, err := wire.SignRevocation(&wire.Revocation{Format: 1, Network: r.Network(), Cert: hash, Time: now.Unix(), Left: left}, key)
		if err != nil {
			return nil, err
		}
		revocations = append(revocations, wire.Statement{Kind: wire.StatementRevocation, Data: s.Encode()})
	}
	return revocations, nil
}
