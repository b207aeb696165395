package blake3

import (
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// TestSum compares with another implementation at every shape of tree.
func TestSum(t *testing.T) {
	t.Parallel()
	data := noise(maxChunks*chunkSize + 1)
	check := func(n int) {
		if got, want := Sum(data[:n]), blake3.Sum256(data[:n]); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
	for n := 0; n < 36*chunkSize; n += 61 {
		check(n)
	}
	for chunks := 0; chunks <= maxChunks; chunks += 1 + chunks/65 {
		for _, n := range []int{chunks*chunkSize - 1, chunks * chunkSize, chunks*chunkSize + 1} {
			if n >= 0 {
				check(n)
			}
		}
	}
	for range 200 {
		check(rand.IntN(len(data) + 1))
	}
}

// TestCompress holds the scalar half against the other implementation, too,
// where the processor has no vectors.
func TestCompress(t *testing.T) {
	t.Parallel()
	for _, n := range []int{chunkSize + 1, chunkSize + 63, 2*chunkSize - 64, 2 * chunkSize} {
		data := noise(n)
		left, right := hashChunk(data[:chunkSize], 0), hashChunk(data[chunkSize:], 1)
		var block [16]uint32
		copy(block[:8], left[:])
		copy(block[8:], right[:])
		if got, want := encode(compress(initial, &block, 0, blockSize, parent|root)), blake3.Sum256(data); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add(uint32(lanes*chunkSize), byte(1))
	f.Add(uint32(maxChunks*chunkSize), byte(0))
	f.Fuzz(func(t *testing.T, n uint32, what byte) {
		data := noise(int(n % (maxChunks*chunkSize + 2)))
		for i := int(what); i < len(data); i += int(what) + 1 {
			data[i] = what
		}
		if Sum(data) != blake3.Sum256(data) {
			t.Errorf("%d bytes hash to something else", len(data))
		}
	})
}

func BenchmarkSum(b *testing.B) {
	data := noise(1<<20 + 256)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		Sum(data)
	}
}
