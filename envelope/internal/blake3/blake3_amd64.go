package blake3

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// vectors says whether hash16 works here. Its last instructions, on half
// registers, need AVX512VL beside the foundation, which a Xeon Phi doesn't have.
var vectors = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL

// hash16 hashes 16 inputs of one length at once. Input i begins at in +
// i·stride and has the given number of blocks of 64 bytes; its counter is
// counter + i·step. All blocks have the flags, the first one also first and
// the last one also last. What it puts into out may be where it read.
//
//go:noescape
func hash16(out *[lanes]chainingValue, in *byte, stride, blocks uint64, counter, step, flags, first, last uint32)

// hashParents puts the parents of 16 pairs of subtrees into out.
func hashParents(out *[lanes]chainingValue, pairs *[2 * lanes]chainingValue) {
	hash16(out, (*byte)(unsafe.Pointer(pairs)), blockSize, 1, 0, 0, parent, 0, 0)
}
