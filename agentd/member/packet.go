package member

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// A gossip packet is
//
//	packetVersion      1 byte, 1; below 0x40, which tells it from QUIC's packets
//	nonce              24 random bytes
//	sealed             XChaCha20-Poly1305 of memberlist's message under the
//	                   gossip key, additional data "l2p gossip v1\n"
//
// memberlist would seal packets itself, but its code after that panics on what
// a member may send (an empty message, old padding) and unpacks compressed
// messages of 40 MiB. So it is given messages that have been opened and looked
// through here. The long nonce may be drawn at random for ever.
const (
	packetVersion  = 1
	packetOverhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
	packetDomain   = "l2p gossip v1\n"
)

// A sealer seals and opens packets.
type sealer struct{ aead cipher.AEAD }

func newSealer(key [32]byte) (sealer, error) {
	aead, err := chacha20poly1305.NewX(key[:])
	return sealer{aead}, err
}

func (s sealer) seal(message []byte) ([]byte, error) {
	packet := make([]byte, 1+chacha20poly1305.NonceSizeX, len(message)+packetOverhead)
	packet[0] = packetVersion
	if _, err := rand.Read(packet[1:]); err != nil {
		return nil, err
	}
	return s.aead.Seal(packet, packet[1:], message, []byte(packetDomain)), nil
}

// open returns the message in a packet, or nil where it isn't one of this
// network's members'.
func (s sealer) open(packet []byte) []byte {
	if len(packet) <= packetOverhead || packet[0] != packetVersion {
		return nil
	}
	message, err := s.aead.Open(nil, packet[1:1+chacha20poly1305.NonceSizeX], packet[1+chacha20poly1305.NonceSizeX:], []byte(packetDomain))
	if err != nil {
		return nil
	}
	return message
}

// memberlist's message types (its net.go), as far as packets and streams of
// ours have them.
const (
	msgPing         = 0
	msgIndirectPing = 1
	msgAck          = 2
	msgSuspect      = 3
	msgAlive        = 4
	msgDead         = 5
	msgPushPull     = 6
	msgCompound     = 7
	msgUser         = 8
	msgNack         = 11
	msgCRC          = 12
)

// acceptable reports whether memberlist may be given a message: one that
// nodes of ours send, which are never compressed, at most once compound, and
// at most once with a checksum around that.
func acceptable(message []byte) bool {
	if len(message) > 5 && message[0] == msgCRC {
		message = message[5:]
	}
	if len(message) > 0 && message[0] == msgCompound {
		return acceptableParts(message[1:])
	}
	return acceptablePart(message)
}

func acceptableParts(b []byte) bool {
	if len(b) < 1 || len(b) < 1+2*int(b[0]) {
		return false
	}
	lengths, parts := b[1:1+2*int(b[0])], b[1+2*int(b[0]):]
	for ; len(lengths) > 0; lengths = lengths[2:] {
		n := int(binary.BigEndian.Uint16(lengths))
		if n > len(parts) || !acceptablePart(parts[:n]) {
			return false
		}
		parts = parts[n:]
	}
	return len(parts) == 0
}

func acceptablePart(message []byte) bool {
	if len(message) == 0 {
		return false
	}
	switch message[0] {
	case msgPing, msgIndirectPing, msgAck, msgSuspect, msgAlive, msgDead, msgUser, msgNack:
		return true
	}
	return false
}
