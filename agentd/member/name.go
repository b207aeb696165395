package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net"
	"strings"

	"l2p/envelope"
)

// A name is what gossip calls a node from one start to the next: its id and a
// number drawn at the start. A node that has been declared dead, for whatever
// reason and however firmly, comes back under a new name.
//
//	base64url(node id, 32 bytes) "." base64url(8 random bytes)
func newName(id envelope.NodeID) (string, error) {
	var boot [8]byte
	if _, err := rand.Read(boot[:]); err != nil {
		return "", err
	}
	return idText(id) + "." + base64.RawURLEncoding.EncodeToString(boot[:]), nil
}

func idText(id envelope.NodeID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// nameID returns the node that a name, or the first part of one, is of.
func nameID(name string) (envelope.NodeID, bool) {
	text, boot, found := strings.Cut(name, ".")
	var id envelope.NodeID
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) != len(id) || strings.ContainsAny(text, "\r\n") {
		return id, false
	}
	if found {
		n, err := strictBase64.DecodeString(boot)
		if err != nil || len(n) != 8 || strings.ContainsAny(boot, "\r\n") {
			return id, false
		}
	}
	copy(id[:], b)
	return id, true
}

var strictBase64 = base64.RawURLEncoding.Strict()

// Meta goes with every word that a node is alive. The node signs it together
// with its name and address, so that no member can invent names for another,
// or move its address:
//
//	version            1 byte, 1
//	roster digest      8 bytes, the first of the digest
//	public key         32 bytes, whose hash is the node's id
//	signature          64 bytes, of "l2p gossip name v1\n" ‖ the 41 bytes above ‖
//	                   length of the name (1 byte) ‖ name ‖ address (16 bytes) ‖ port (2 bytes)
type meta struct {
	digest digestPrefix
	key    ed25519.PublicKey
}

type digestPrefix [8]byte

const (
	metaVersion = 1
	metaBody    = 1 + 8 + ed25519.PublicKeySize
	metaSize    = metaBody + ed25519.SignatureSize
	metaDomain  = "l2p gossip name v1\n"
)

func metaMessage(body []byte, name string, ip net.IP, port uint16) []byte {
	m := bytes.Clone(body)
	m = append(m, byte(len(name)))
	m = append(m, name...)
	m = append(m, ip.To16()...)
	return binary.BigEndian.AppendUint16(m, port)
}

func signMeta(key ed25519.PrivateKey, digest envelope.Hash, name string, ip net.IP, port uint16) []byte {
	m := append([]byte{metaVersion}, digest[:8]...)
	m = append(m, key.Public().(ed25519.PublicKey)...)
	return append(m, envelope.SignBytes(key, metaDomain, metaMessage(m, name, ip, port))...)
}

// parseMeta takes meta apart and checks whose it says it is. It checks no
// signature, see verifyMeta.
func parseMeta(data []byte, name string) (meta, bool) {
	id, ok := nameID(name)
	if !ok || len(data) != metaSize || data[0] != metaVersion {
		return meta{}, false
	}
	m := meta{key: bytes.Clone(data[9:metaBody])}
	copy(m.digest[:], data[1:9])
	return m, envelope.NodeIDOf(m.key) == id
}

func verifyMeta(data []byte, name string, ip net.IP, port uint16) bool {
	m, ok := parseMeta(data, name)
	return ok && ip.To16() != nil && len(name) <= 255 &&
		envelope.VerifyBytes(m.key, metaDomain, metaMessage(data[:metaBody], name, ip, port), data[metaBody:])
}
