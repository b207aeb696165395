// Package blake3 hashes segments, 16 of BLAKE3's chunks at a time where the
// processor has AVX-512: then the hash of every segment costs a fifth of its
// encryption, and elsewhere two thirds. Everything else, and every other
// processor, is left to github.com/zeebo/blake3, which has AVX2.
//
// The hash is BLAKE3 with 32 bytes of output, without key or context:
// https://github.com/BLAKE3-team/BLAKE3-specs, whose words are used here. The
// package must not know what is hashed, or why.
package blake3

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/blake3"
)

const (
	blockSize = 64
	chunkSize = 1024

	lanes     = 16
	maxChunks = 1025 // of what is hashed here: 1 MiB and the tags of its encryption

	chunkStart = 1 << 0
	chunkEnd   = 1 << 1
	parent     = 1 << 2
	root       = 1 << 3
)

// A chainingValue stands for a subtree.
type chainingValue [8]uint32

var initial = chainingValue{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// Sum returns the hash of data.
func Sum(data []byte) [32]byte {
	if !vectors || len(data) < lanes*chunkSize || len(data) > maxChunks*chunkSize {
		return blake3.Sum256(data)
	}
	return sum(data)
}

// sum is Sum of 16 to maxChunks chunks. It makes the tree level by level: of
// an odd number of subtrees the last one goes up as it is.
func sum(data []byte) [32]byte {
	// The kernel may read and write up to 15 subtrees behind the last.
	var tree [maxChunks + 2*lanes]chainingValue
	n := hashChunks(tree[:], data)
	for n > 2 {
		pairs, odd := n/2, tree[n-1]
		for i := 0; i < pairs; i += lanes {
			hashParents((*[lanes]chainingValue)(tree[i:]), (*[2 * lanes]chainingValue)(tree[2*i:]))
		}
		if n%2 == 1 {
			tree[pairs] = odd
			pairs++
		}
		n = pairs
	}
	var block [16]uint32
	copy(block[:8], tree[0][:])
	copy(block[8:], tree[1][:])
	return encode(compress(initial, &block, 0, blockSize, parent|root))
}

func encode(cv chainingValue) (out [32]byte) {
	for i, word := range cv {
		binary.LittleEndian.PutUint32(out[4*i:], word)
	}
	return out
}

// hashChunks puts the chunks' chaining values into tree and returns their number.
func hashChunks(tree []chainingValue, data []byte) (n int) {
	for ; len(data) >= lanes*chunkSize; data = data[lanes*chunkSize:] {
		hash16((*[lanes]chainingValue)(tree[n:]), &data[0], chunkSize, chunkSize/blockSize, uint32(n), 1, 0, chunkStart, chunkEnd)
		n += lanes
	}
	for len(data) > 0 {
		size := min(len(data), chunkSize)
		tree[n] = hashChunk(data[:size], uint32(n))
		data = data[size:]
		n++
	}
	return n
}

// hashChunk returns the chaining value of one chunk, which isn't empty.
func hashChunk(chunk []byte, counter uint32) chainingValue {
	cv, flags := initial, uint32(chunkStart)
	for {
		var padded [blockSize]byte
		n := copy(padded[:], chunk)
		if chunk = chunk[n:]; len(chunk) == 0 {
			flags |= chunkEnd
		}
		var block [16]uint32
		for i := range block {
			block[i] = binary.LittleEndian.Uint32(padded[4*i:])
		}
		cv = compress(cv, &block, counter, uint32(n), flags)
		if len(chunk) == 0 {
			return cv
		}
		flags = 0
	}
}

// compress is BLAKE3's compression function, as far as its first 8 words.
func compress(cv chainingValue, block *[16]uint32, counter, length, flags uint32) chainingValue {
	v := [16]uint32{cv[0], cv[1], cv[2], cv[3], cv[4], cv[5], cv[6], cv[7],
		initial[0], initial[1], initial[2], initial[3], counter, 0, length, flags}
	m := *block
	for range 7 {
		g(&v, 0, 4, 8, 12, m[0], m[1])
		g(&v, 1, 5, 9, 13, m[2], m[3])
		g(&v, 2, 6, 10, 14, m[4], m[5])
		g(&v, 3, 7, 11, 15, m[6], m[7])
		g(&v, 0, 5, 10, 15, m[8], m[9])
		g(&v, 1, 6, 11, 12, m[10], m[11])
		g(&v, 2, 7, 8, 13, m[12], m[13])
		g(&v, 3, 4, 9, 14, m[14], m[15])
		m = [16]uint32{m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8]}
	}
	for i := range cv {
		cv[i] = v[i] ^ v[i+8]
	}
	return cv
}

func g(v *[16]uint32, a, b, c, d int, x, y uint32) {
	v[a] += v[b] + x
	v[d] = bits.RotateLeft32(v[d]^v[a], -16)
	v[c] += v[d]
	v[b] = bits.RotateLeft32(v[b]^v[c], -12)
	v[a] += v[b] + y
	v[d] = bits.RotateLeft32(v[d]^v[a], -8)
	v[c] += v[d]
	v[b] = bits.RotateLeft32(v[b]^v[c], -7)
}
