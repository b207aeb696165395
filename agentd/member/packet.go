package member

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

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

// A sealer seals and opens packets. Where the key has just been replaced it
// opens those under the one before as well, while that reaches the others.
type sealer struct {
	mu       sync.Mutex
	key      [32]byte
	aead     cipher.AEAD
	previous cipher.AEAD // nil: none
	until    time.Time   // previous is used
}

const previousKeyFor = 5 * time.Second

func newSealer(key [32]byte) (*sealer, error) {
	aead, err := chacha20poly1305.NewX(key[:])
	return &sealer{key: key, aead: aead}, err
}

// replace seals with key from now on.
func (s *sealer) replace(key [32]byte) error {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key != s.key {
		s.previous, s.until = s.aead, time.Now().Add(previousKeyFor)
		s.key, s.aead = key, aead
	}
	return nil
}

// keys returns the keys that packets may be sealed with, the current one first.
func (s *sealer) keys() []cipher.AEAD {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.previous != nil && time.Now().Before(s.until) {
		return []cipher.AEAD{s.aead, s.previous}
	}
	return []cipher.AEAD{s.aead}
}

func (s *sealer) seal(message []byte) ([]byte, error) {
	packet := make([]byte, 1+chacha20poly1305.NonceSizeX, len(message)+packetOverhead)
	packet[0] = packetVersion
	if _, err := rand.Read(packet[1:]); err != nil {
		return nil, err
	}
	return s.keys()[0].Seal(packet, packet[1:], message, []byte(packetDomain)), nil
}

// open returns the message in a packet, or nil where it isn't one of this
// network's members'.
func (s *sealer) open(packet []byte) []byte {
	if len(packet) <= packetOverhead || packet[0] != packetVersion {
		return nil
	}
	nonce, sealed := packet[1:1+chacha20poly1305.NonceSizeX], packet[1+chacha20poly1305.NonceSizeX:]
	for _, aead := range s.keys() {
		if message, err := aead.Open(nil, nonce, sealed, []byte(packetDomain)); err == nil {
			return message
		}
	}
	return nil
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
