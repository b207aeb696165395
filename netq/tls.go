package netq

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// credentialsOID marks the extension of a node's X.509 certificate that holds
// its encoded wire.Credentials. Arc 2.25 needs no registration; the number is
// random and below 2^31, since many X.509 parsers go no further.
var credentialsOID = asn1.ObjectIdentifier{2, 25, 1817325104}

// certificateFor returns a self-signed certificate for id. Its dates and names
// say nothing and nobody reads them: clocks may be wrong, and who the peer is
// follows from the key.
func certificateFor(id Identity) (*tls.Certificate, error) {
	if len(id.Key) != ed25519.PrivateKeySize {
		return nil, envelope.Errorf(envelope.Other, "the node has no key")
	}
	if len(id.Credentials) > wire.MaxCredentialsSize {
		return nil, envelope.Errorf(envelope.Full, "the node's credentials have %d bytes, over the limit of %d", len(id.Credentials), wire.MaxCredentialsSize)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "l2p"},
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	if id.Credentials != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: credentialsOID, Value: id.Credentials}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, id.Key.Public(), id.Key)
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "making the TLS certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: id.Key}, nil
}

// certificates makes the certificate for an identity, once for as long as it
// stays the same.
type certificates struct {
	identity func() Identity

	mu   sync.Mutex
	made Identity
	cert *tls.Certificate
}

func (c *certificates) current() (*tls.Certificate, error) {
	id := c.identity()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert != nil && c.made.Key.Equal(id.Key) && bytes.Equal(c.made.Credentials, id.Credentials) {
		return c.cert, nil
	}
	cert, err := certificateFor(id)
	if err != nil {
		return nil, err
	}
	c.made, c.cert = Identity{Key: id.Key, Credentials: bytes.Clone(id.Credentials)}, cert
	return cert, nil
}

// peerOf reads who the other side is from its certificate. TLS has proven that
// it holds the key; the certificate's own signature would add nothing.
func peerOf(state tls.ConnectionState, addr net.Addr) (Peer, error) {
	if len(state.PeerCertificates) != 1 {
		return Peer{}, envelope.Errorf(envelope.Denied, "the peer presents %d certificates, not one", len(state.PeerCertificates))
	}
	cert := state.PeerCertificates[0]
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return Peer{}, envelope.Errorf(envelope.Denied, "the peer's certificate is not for an Ed25519 key")
	}
	p := Peer{Key: key, Node: envelope.NodeIDOf(key), Addr: addr}
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(credentialsOID) {
			continue
		}
		if p.Credentials != nil {
			return Peer{}, envelope.Errorf(envelope.Denied, "the peer's certificate holds credentials twice")
		}
		creds, err := wire.ParseCredentials(ext.Value)
		if err != nil {
			return Peer{}, envelope.Errorf(envelope.Denied, "the peer's credentials: %w", err)
		}
		p.Credentials = creds
	}
	return p, nil
}

// baseTLS is what both sides have in common. Sessions are never resumed, so
// that every connection goes through Authorize.
func (e *Endpoint) baseTLS(protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protos,
		SessionTicketsDisabled: true,
	}
}

// serverTLS answers handshakes. What it learns of the peer it leaves in the
// slot that connContext put into the handshake's context.
func (e *Endpoint) serverTLS() *tls.Config {
	base := e.baseTLS(ProtoNode, ProtoClient, ProtoJoin)
	base.ClientAuth = tls.RequireAnyClientCert
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return e.certs.current() }
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s, ok := slotOf(hello.Context())
		if !ok {
			return nil, envelope.Errorf(envelope.Other, "a handshake without a slot")
		}
		conf := base.Clone()
		conf.GetConfigForClient = nil
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			p, err := peerOf(state, s.addr)
			if err == nil {
				err = e.authorize(state.NegotiatedProtocol, p)
			}
			if err != nil {
				e.log.Debug("refused a peer", "addr", s.addr, "protocol", state.NegotiatedProtocol, "err", err)
				return err
			}
			s.proto, s.peer = state.NegotiatedProtocol, p
			return nil
		}
		return conf, nil
	}
	return base
}

// clientTLS dials on one protocol. It leaves the peer in p.
func (e *Endpoint) clientTLS(proto string, want envelope.NodeID, addr net.Addr, p *Peer) *tls.Config {
	conf := e.baseTLS(proto)
	conf.ServerName = "l2p"        // not checked, and tells nothing to those who listen
	conf.InsecureSkipVerify = true // of names and dates; VerifyConnection decides
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return e.certs.current() }
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != proto {
			return envelope.Errorf(envelope.Unavailable, "the peer does not speak %s", proto)
		}
		got, err := peerOf(state, addr)
		if err != nil {
			return err
		}
		if !want.IsZero() && got.Node != want {
			return envelope.Errorf(envelope.Denied, "%s is node %s, not %s", addr, got.Node, want)
		}
		if err := e.authorize(proto, got); err != nil {
			return err
		}
		*p = got
		return nil
	}
	return conf
}

func (e *Endpoint) authorize(proto string, p Peer) error {
	if roleOf(proto) == 0 {
		return envelope.Errorf(envelope.Denied, "no protocol was agreed on")
	}
	if e.conf.Authorize == nil {
		return envelope.Errorf(envelope.Denied, "nobody is allowed in")
	}
	return e.conf.Authorize(proto, p)
}

type slotKey struct{}

func slotOf(ctx context.Context) (*slot, bool) {
	s, ok := ctx.Value(slotKey{}).(*slot)
	return s, ok
}
