//go:build !amd64

package blake3

const vectors = false

func hash16(*[lanes]chainingValue, *byte, uint64, uint64, uint32, uint32, uint32, uint32, uint32) {
	panic("unreachable: there are no vectors")
}

func hashParents(*[lanes]chainingValue, *[2 * lanes]chainingValue) {
	panic("unreachable: there are no vectors")
}
