package wire

import (
	"crypto/ed25519"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"l2p/envelope"
)

// Limits of what admission sends, in bytes of encoding.
const (
	MaxCertSize        = 1 << 10 // a Signed BoxCert, NodeCert or Revocation
	MaxCredentialsSize = 3 << 10
	MaxJoinRequestSize = 8 << 10 // a Signed JoinRequest, the box's document included
	maxBodySize        = 8 << 10
)

const (
	// CertValidity is how long a certificate is good, if its issuer doesn't
	// say otherwise: ten years, so that no clock that is off by a year ends one.
	CertValidity = 10 * 365 * 24 * time.Hour
	// CertBackdate is how far before its issue a certificate's NotBefore lies.
	CertBackdate = 24 * time.Hour
	// maxUnixTime keeps times far from the ends of int64, where sums wrap.
	maxUnixTime = 1 << 40
)

// CertTimes returns the NotBefore and NotAfter of a certificate issued now.
func CertTimes(now time.Time) (notBefore, notAfter int64) {
	return now.Add(-CertBackdate).Unix(), now.Add(CertValidity).Unix()
}

// decodeBody decodes the body of a certificate or request and checks what all
// of them share: no attachments, and as many signatures as there must be, each
// a plain Ed25519 one, because the structure itself says who signs.
func decodeBody(s *envelope.Signed, what string, signatures int, body any) error {
	if len(s.Attachments) != 0 {
		return envelope.Errorf(envelope.Corrupt, "a %s has no attachments", what)
	}
	if len(s.Signatures) != signatures {
		return envelope.Errorf(envelope.Corrupt, "a %s has %d signatures, not %d", what, signatures, len(s.Signatures))
	}
	for _, sig := range s.Signatures {
		if sig.Algorithm != envelope.Ed25519 || !sig.Signer.IsZero() || sig.Version != 0 || len(sig.Bytes) != ed25519.SignatureSize {
			return envelope.Errorf(envelope.Corrupt, "a %s has a signature of the wrong form", what)
		}
	}
	if err := envelope.Decode(s.Body, maxBodySize, body); err != nil {
		return envelope.Errorf(envelope.KindOf(err), "%s: %w", what, err)
	}
	return nil
}

func malformed(what, field string) error {
	return envelope.Errorf(envelope.Corrupt, "%s: bad %s", what, field)
}

// ParseBoxCert decodes a box certificate and checks its form. It checks no
// signature and no time.
func ParseBoxCert(s *envelope.Signed) (*BoxCert, error) {
	var c BoxCert
	if err := decodeBody(s, "box certificate", 1, &c); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *BoxCert) check() error {
	const what = "box certificate"
	switch {
	case c.Format != 1:
		return malformed(what, "format")
	case c.Network.IsZero():
		return malformed(what, "network")
	case envelope.CheckBoxName(c.Name) != nil:
		return malformed(what, "box name")
	case c.Agent.IsZero():
		return malformed(what, "agent")
	case len(c.Key) != ed25519.PublicKeySize:
		return malformed(what, "key")
	}
	return checkTimes(what, c.NotBefore, c.NotAfter)
}

// ParseNodeCert decodes a node certificate and checks its form. It checks no
// signature and no time.
func ParseNodeCert(s *envelope.Signed) (*NodeCert, error) {
	var c NodeCert
	if err := decodeBody(s, "node certificate", 2, &c); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *NodeCert) check() error {
	const what = "node certificate"
	switch {
	case c.Format != 1:
		return malformed(what, "format")
	case c.Network.IsZero():
		return malformed(what, "network")
	case c.BoxCert.IsZero():
		return malformed(what, "box certificate")
	case len(c.Key) != ed25519.PublicKeySize:
		return malformed(what, "key")
	case c.Ordinal > MaxOrdinal:
		return malformed(what, "ordinal")
	case c.Serial == 0:
		return malformed(what, "serial")
	}
	return checkTimes(what, c.NotBefore, c.NotAfter)
}

// ParseRevocation decodes a revocation and checks its form. It checks no
// signature.
func ParseRevocation(s *envelope.Signed) (*Revocation, error) {
	var r Revocation
	if err := decodeBody(s, "revocation", 1, &r); err != nil {
		return nil, err
	}
	return &r, r.check()
}

func (r *Revocation) check() error {
	const what = "revocation"
	switch {
	case r.Format != 1:
		return malformed(what, "format")
	case r.Network.IsZero():
		return malformed(what, "network")
	case r.Cert.IsZero():
		return malformed(what, "certificate")
	case !plausible(r.Time):
		return malformed(what, "time")
	}
	return nil
}

// ParseJoinRequest decodes a join request, checks its form, and that the box's
// key signed it. Whether the document proves the agent is for the issuer to check.
func ParseJoinRequest(data []byte) (*JoinRequest, *envelope.Signed, error) {
	s, err := envelope.ParseSigned(data, MaxJoinRequestSize)
	if err != nil {
		return nil, nil, err
	}
	var r JoinRequest
	if err := decodeBody(s, "join request", 1, &r); err != nil {
		return nil, nil, err
	}
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	if !envelope.VerifyBytes(r.Key, envelope.DomainJoinRequest, s.Body, s.Signatures[0].Bytes) {
		return nil, nil, envelope.Errorf(envelope.Corrupt, "join request: the box's signature is wrong")
	}
	return &r, s, nil
}

func (r *JoinRequest) check() error {
	const what = "join request"
	switch {
	case r.Format != 1:
		return malformed(what, "format")
	case r.Network.IsZero():
		return malformed(what, "network")
	case envelope.CheckBoxName(r.Name) != nil:
		return malformed(what, "box name")
	case len(r.Document) == 0:
		return malformed(what, "document")
	case len(r.Key) != ed25519.PublicKeySize:
		return malformed(what, "key")
	case r.Agent.IsZero():
		return malformed(what, "agent")
	case CheckAddr(r.Addr, true) != nil:
		return malformed(what, "address")
	case !plausible(r.Time):
		return malformed(what, "time")
	case len(r.Node) != ed25519.PublicKeySize:
		return malformed(what, "node key")
	}
	return nil
}

func checkTimes(what string, notBefore, notAfter int64) error {
	if !plausible(notBefore) || !plausible(notAfter) || notBefore >= notAfter {
		return malformed(what, "time")
	}
	return nil
}

func plausible(unix int64) bool { return unix >= 0 && unix <= maxUnixTime }

// ParseCredentials decodes credentials. It checks no signature.
func ParseCredentials(data []byte) (*Credentials, error) {
	var c Credentials
	if err := envelope.Decode(data, MaxCredentialsSize, &c); err != nil {
		return nil, err
	}
	if len(c.RootKey) != ed25519.PublicKeySize {
		return nil, malformed("credentials", "root key")
	}
	return &c, nil
}

// Network returns the id of the network that the credentials are of.
func (c *Credentials) Network() envelope.NetworkID { return envelope.NetworkIDOf(c.RootKey) }

// Statements returns the certificates as lines of a roster.
func (c *Credentials) Statements() []Statement {
	return []Statement{{Kind: StatementBox, Data: c.Box}, {Kind: StatementNode, Data: c.Node}}
}

// VerifyCredentials checks that creds say, by the root key that they name, that
// the node with the given key belongs to a box of the network, and that neither
// certificate has expired. Which network it is, and whether a certificate was
// revoked, is for the caller to check.
//
// A certificate that isn't valid yet is accepted: NotBefore orders certificates
// and nothing more, because refusing would shut out whoever's clock is slow,
// and would protect nobody from an issuer, who may choose any time.
func VerifyCredentials(creds *Credentials, nodeKey ed25519.PublicKey, now time.Time) (*BoxCert, *NodeCert, error) {
	network := creds.Network()
	boxSigned, err := envelope.ParseSigned(creds.Box, MaxCertSize)
	if err != nil {
		return nil, nil, err
	}
	box, err := VerifyBoxCert(boxSigned, creds.RootKey)
	if err != nil {
		return nil, nil, err
	}
	nodeSigned, err := envelope.ParseSigned(creds.Node, MaxCertSize)
	if err != nil {
		return nil, nil, err
	}
	node, err := VerifyNodeCert(nodeSigned, box.Key)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case box.Network != network || node.Network != network:
		return nil, nil, envelope.Errorf(envelope.Corrupt, "credentials: a certificate is of another network than the root key")
	case node.BoxCert != boxSigned.Hash():
		return nil, nil, envelope.Errorf(envelope.Corrupt, "credentials: the node certificate names another box certificate")
	case !nodeKey.Equal(ed25519.PublicKey(node.Key)):
		return nil, nil, envelope.Errorf(envelope.Denied, "credentials: they are another node's")
	case expired(box.NotAfter, now):
		return nil, nil, expiredError("the certificate of box "+box.Name, box.NotAfter)
	case expired(node.NotAfter, now):
		return nil, nil, expiredError("a node certificate of box "+box.Name, node.NotAfter)
	}
	return box, node, nil
}

func expired(notAfter int64, now time.Time) bool { return now.Unix() > notAfter }

func expiredError(what string, notAfter int64) error {
	err := envelope.Errorf(envelope.Denied, "%s has expired on %s", what, time.Unix(notAfter, 0).UTC().Format(time.DateOnly))
	return envelope.WithHint(err, "check this machine's clock, or ask the network's founder for a new certificate")
}

// VerifyBoxCert parses a box certificate and checks the root key's signature.
func VerifyBoxCert(s *envelope.Signed, rootKey ed25519.PublicKey) (*BoxCert, error) {
	c, err := ParseBoxCert(s)
	if err != nil {
		return nil, err
	}
	if !envelope.VerifyBytes(rootKey, envelope.DomainBoxCert, s.Body, s.Signatures[0].Bytes) {
		return nil, envelope.Errorf(envelope.Corrupt, "box certificate: the root key's signature is wrong")
	}
	return c, nil
}

// VerifyGossipKey parses a gossip key and checks the root key's signature.
func VerifyGossipKey(s *envelope.Signed, rootKey ed25519.PublicKey) (*GossipKey, error) {
	var k GossipKey
	if err := decodeBody(s, "gossip key", 1, &k); err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	if !envelope.VerifyBytes(rootKey, envelope.DomainGossipKey, s.Body, s.Signatures[0].Bytes) {
		return nil, envelope.Errorf(envelope.Corrupt, "gossip key: the root key's signature is wrong")
	}
	return &k, nil
}

func (k *GossipKey) check() error {
	const what = "gossip key"
	switch {
	case k.Format != 1:
		return malformed(what, "format")
	case k.Network.IsZero():
		return malformed(what, "network")
	case k.Serial == 0:
		return malformed(what, "serial")
	case k.Key == [32]byte{}:
		return malformed(what, "key")
	}
	return nil
}

// VerifyNodeCert parses a node certificate and checks the signatures of the
// box's key and of the node's.
func VerifyNodeCert(s *envelope.Signed, boxKey ed25519.PublicKey) (*NodeCert, error) {
	c, err := ParseNodeCert(s)
	if err != nil {
		return nil, err
	}
	if !envelope.VerifyBytes(boxKey, envelope.DomainNodeCert, s.Body, s.Signatures[0].Bytes) {
		return nil, envelope.Errorf(envelope.Corrupt, "node certificate: the box's signature is wrong")
	}
	if !envelope.VerifyBytes(c.Key, envelope.DomainNodeCert, s.Body, s.Signatures[1].Bytes) {
		return nil, envelope.Errorf(envelope.Corrupt, "node certificate: the node's own signature is wrong")
	}
	return c, nil
}

// VerifyRevocation parses a revocation and checks the signature of key: the
// root key, or where Left is set the key of the box that the certificate is of.
func VerifyRevocation(s *envelope.Signed, key ed25519.PublicKey) (*Revocation, error) {
	r, err := ParseRevocation(s)
	if err != nil {
		return nil, err
	}
	if !envelope.VerifyBytes(key, envelope.DomainRevocation, s.Body, s.Signatures[0].Bytes) {
		return nil, envelope.Errorf(envelope.Corrupt, "revocation: the signature is wrong")
	}
	return r, nil
}

// CheckAddr checks that addr is host:port with a port from 1 to 65535 and a
// host that is an IP address without a zone, or a DNS name; or, if emptyHost
// allows it, nothing.
func CheckAddr(addr string, emptyHost bool) error {
	host, port, err := net.SplitHostPort(addr)
	if len(addr) > 260 || err != nil {
		return envelope.Errorf(envelope.Usage, "an address must be host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return envelope.Errorf(envelope.Usage, "the port of an address must be a number from 1 to %d", math.MaxUint16)
	}
	if host == "" && emptyHost || net.ParseIP(host) != nil {
		return nil
	}
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" ||
		strings.HasPrefix(host, "-") || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return envelope.Errorf(envelope.Usage, "the host of an address must be an IP address or a DNS name")
	}
	return nil
}
