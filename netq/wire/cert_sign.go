package wire

import (
	"crypto/ed25519"

	"l2p/envelope"
)

// SignBoxCert checks c and signs it with the network's root key.
func SignBoxCert(c *BoxCert, root ed25519.PrivateKey) (*envelope.Signed, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return signBody(c, envelope.DomainBoxCert, root)
}

// SignNodeCert checks c and signs it with the box's key and the node's, whose
// public half c names.
func SignNodeCert(c *NodeCert, box, node ed25519.PrivateKey) (*envelope.Signed, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !node.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(c.Key)) {
		return nil, malformed("node certificate", "key")
	}
	return signBody(c, envelope.DomainNodeCert, box, node)
}

// SignRevocation checks r and signs it: with the root key, or where Left is set
// with the box's.
func SignRevocation(r *Revocation, key ed25519.PrivateKey) (*envelope.Signed, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return signBody(r, envelope.DomainRevocation, key)
}

// SignGossipKey checks k and signs it with the network's root key.
func SignGossipKey(k *GossipKey, root ed25519.PrivateKey) (*envelope.Signed, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	return signBody(k, envelope.DomainGossipKey, root)
}

// SignJoinRequest checks r and signs it with the box's key, whose public half
// r names.
func SignJoinRequest(r *JoinRequest, box ed25519.PrivateKey) (*envelope.Signed, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if !box.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(r.Key)) {
		return nil, malformed("join request", "key")
	}
	return signBody(r, envelope.DomainJoinRequest, box)
}

func signBody(body any, domain string, keys ...ed25519.PrivateKey) (*envelope.Signed, error) {
	data, err := envelope.Encode(body)
	if err != nil {
		return nil, err
	}
	s := &envelope.Signed{Body: data}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, envelope.Signature{
			Algorithm: envelope.Ed25519,
			Bytes:     envelope.SignBytes(key, domain, data),
		})
	}
	return s, nil
}
