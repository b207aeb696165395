package envelope

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// A layout is the way in which a payload is cut into chunks and segments: the
// number of bytes that sealing adds to a chunk.
type layout int

const (
	publicLayout layout = 0
	sealedLayout layout = chacha20poly1305.Overhead
)

func (h *Header) layout() layout {
	if h.Public() {
		return publicLayout
	}
	return sealedLayout
}

// chunk returns the number of payload bytes of a full chunk.
func (l layout) chunk() int { return ChunkSize + int(l) }

// segment returns the number of payload bytes of a full segment.
func (l layout) segment() int { return ChunksPerSegment * l.chunk() }

// size returns the number of payload bytes that a plaintext of n bytes takes.
func (l layout) size(n uint64) uint64 {
	chunks := max(1, (n+ChunkSize-1)/ChunkSize)
	return n + chunks*uint64(l)
}

// isSize reports whether a payload can have n bytes. Only an empty file has
// an empty chunk, so each n has at most one plaintext size.
func (l layout) isSize(n uint64) bool {
	if n > MaxSegments*uint64(l.segment()) {
		return false
	}
	if l == publicLayout || n == uint64(l) {
		return true
	}
	last := n % uint64(l.chunk())
	return n > 0 && (last == 0 || last > uint64(l))
}

// check checks that the segment with the given index and final flag can have n
// bytes of data in a payload of the given size, if that is known.
func (l layout) check(index uint64, final bool, n int, size *uint64) error {
	full := uint64(l.segment())
	if index >= MaxSegments || n > l.segment() {
		return Errorf(Corrupt, "segment %d can't have %d bytes", index, n)
	}
	end := index*full + uint64(n)
	empty := n == 0 && (index > 0 || l != publicLayout)
	if final && (empty || !l.isSize(end)) || !final && uint64(n) != full {
		return Errorf(Corrupt, "segment %d can't have %d bytes", index, n)
	}
	if size != nil && (final && end != *size || !final && end >= *size) {
		return Errorf(Corrupt, "segment %d doesn't fit into a payload of %d bytes", index, *size)
	}
	return nil
}

// A payload turns plaintext into segments' data and back. Chunks are
// independent of each other, so any number of goroutines may share one.
type payload struct {
	layout layout
	aead   cipher.AEAD // nil if public
}

// newPayload returns the payload of an age file with the given file key and
// nonce: age-encryption.org/v1, "Payload".
func newPayload(fileKey, nonce []byte) (*payload, error) {
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return &payload{layout: sealedLayout, aead: aead}, nil
}

// nonce is that of age's STREAM: 11 bytes of counter, 1 of flag.
type chunkNonce [chacha20poly1305.NonceSize]byte

func nonceOf(chunk uint64, last bool) *chunkNonce {
	var n chunkNonce
	binary.BigEndian.PutUint64(n[3:], chunk)
	if last {
		n[11] = 1
	}
	return &n
}

// seal appends the data of the segment with the given index to dst, which does
// not overlap plain.
func (p *payload) seal(dst, plain []byte, index uint64, final bool) []byte {
	if p.aead == nil {
		return append(dst, plain...)
	}
	for chunk := index * ChunksPerSegment; ; chunk++ {
		n := min(len(plain), ChunkSize)
		last := n == len(plain)
		dst = p.aead.Seal(dst, nonceOf(chunk, final && last)[:], plain[:n], nil)
		if last {
			return dst
		}
		plain = plain[n:]
	}
}

// open appends the plaintext of data, which is the whole of the segment with
// the given index and does not overlap dst, to dst. If any chunk is not what
// was sealed, the error is of kind Corrupt and nothing of it remains in dst.
func (p *payload) open(dst, data []byte, index uint64, final bool) ([]byte, error) {
	if p.aead == nil {
		return append(dst, data...), nil
	}
	start := len(dst)
	for chunk := index * ChunksPerSegment; ; chunk++ {
		n := min(len(data), p.layout.chunk())
		last := n == len(data)
		out, err := p.aead.Open(dst, nonceOf(chunk, final && last)[:], data[:n], nil)
		if err != nil {
			clear(dst[start:])
			return nil, Errorf(Corrupt, "segment %d doesn't decrypt: altered, truncated or not of this envelope", index)
		}
		dst = out
		if last {
			return dst, nil
		}
		data = data[n:]
	}
}
