#include "textflag.h"

// BLAKE3's compression function for 16 inputs at once, one in each 32-bit lane
// of the AVX-512 registers: Z0 to Z15 are the state's words, Z16 to Z31 the
// message's. See hash16 in blake3_amd64.go.

DATA initial<>+0(SB)/4, $0x6a09e667
DATA initial<>+4(SB)/4, $0xbb67ae85
DATA initial<>+8(SB)/4, $0x3c6ef372
DATA initial<>+12(SB)/4, $0xa54ff53a
DATA initial<>+16(SB)/4, $0x510e527f
DATA initial<>+20(SB)/4, $0x9b05688c
DATA initial<>+24(SB)/4, $0x1f83d9ab
DATA initial<>+28(SB)/4, $0x5be0cd19
GLOBL initial<>(SB), RODATA|NOPTR, $32

DATA lane<>+0(SB)/4, $0
DATA lane<>+4(SB)/4, $1
DATA lane<>+8(SB)/4, $2
DATA lane<>+12(SB)/4, $3
DATA lane<>+16(SB)/4, $4
DATA lane<>+20(SB)/4, $5
DATA lane<>+24(SB)/4, $6
DATA lane<>+28(SB)/4, $7
DATA lane<>+32(SB)/4, $8
DATA lane<>+36(SB)/4, $9
DATA lane<>+40(SB)/4, $10
DATA lane<>+44(SB)/4, $11
DATA lane<>+48(SB)/4, $12
DATA lane<>+52(SB)/4, $13
DATA lane<>+56(SB)/4, $14
DATA lane<>+60(SB)/4, $15
GLOBL lane<>(SB), RODATA|NOPTR, $64

// Quarters of words: rows a, b, c, d become, in each 128 bits, columns.
#define COLUMNS(a, b, c, d, t, u) \
	VPUNPCKLDQ  b, a, t \
	VPUNPCKHDQ  b, a, a \
	VPUNPCKLDQ  d, c, u \
	VPUNPCKHDQ  d, c, c \
	VPUNPCKHQDQ c, a, d \
	VPUNPCKLQDQ c, a, c \
	VPUNPCKLQDQ u, t, a \
	VPUNPCKHQDQ u, t, b

// The 4 by 4 quarters of a, b, c, d change rows for columns.
#define QUARTERS(a, b, c, d, t, u) \
	VSHUFI32X4 $0x88, b, a, t \
	VSHUFI32X4 $0xdd, b, a, a \
	VSHUFI32X4 $0x88, d, c, u \
	VSHUFI32X4 $0xdd, d, c, c \
	VSHUFI32X4 $0x88, c, a, b \
	VSHUFI32X4 $0xdd, c, a, d \
	VSHUFI32X4 $0x88, u, t, a \
	VSHUFI32X4 $0xdd, u, t, c

#define G(a, b, c, d, x, y) \
	VPADDD x, a, a    \
	VPADDD b, a, a    \
	VPXORD a, d, d    \
	VPRORD $16, d, d  \
	VPADDD d, c, c    \
	VPXORD c, b, b    \
	VPRORD $12, b, b  \
	VPADDD y, a, a    \
	VPADDD b, a, a    \
	VPXORD a, d, d    \
	VPRORD $8, d, d   \
	VPADDD d, c, c    \
	VPXORD c, b, b    \
	VPRORD $7, b, b

#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
	G(Z0, Z4, Z8, Z12, m0, m1)    \
	G(Z1, Z5, Z9, Z13, m2, m3)    \
	G(Z2, Z6, Z10, Z14, m4, m5)   \
	G(Z3, Z7, Z11, Z15, m6, m7)   \
	G(Z0, Z5, Z10, Z15, m8, m9)   \
	G(Z1, Z6, Z11, Z12, m10, m11) \
	G(Z2, Z7, Z8, Z13, m12, m13)  \
	G(Z3, Z4, Z9, Z14, m14, m15)

// func hash16(out *[lanes]chainingValue, in *byte, stride, blocks uint64, counter, step, flags, first, last uint32)
TEXT ·hash16(SB), NOSPLIT, $0-52
	MOVQ out+0(FP), DI
	MOVQ in+8(FP), SI
	MOVQ stride+16(FP), AX
	MOVQ blocks+24(FP), CX
	MOVL flags+40(FP), DX
	MOVL first+44(FP), R8
	LEAQ (AX)(AX*2), BX        // 3 strides

	VPBROADCASTD initial<>+0(SB), Z0
	VPBROADCASTD initial<>+4(SB), Z1
	VPBROADCASTD initial<>+8(SB), Z2
	VPBROADCASTD initial<>+12(SB), Z3
	VPBROADCASTD initial<>+16(SB), Z4
	VPBROADCASTD initial<>+20(SB), Z5
	VPBROADCASTD initial<>+24(SB), Z6
	VPBROADCASTD initial<>+28(SB), Z7

block:
	// Load a block of each input, and make rows of words of them.
	LEAQ (SI)(AX*4), R9
	LEAQ (R9)(AX*4), R10
	LEAQ (R10)(AX*4), R11
	VMOVDQU32 (SI), Z16
	VMOVDQU32 (SI)(AX*1), Z17
	VMOVDQU32 (SI)(AX*2), Z18
	VMOVDQU32 (SI)(BX*1), Z19
	VMOVDQU32 (R9), Z20
	VMOVDQU32 (R9)(AX*1), Z21
	VMOVDQU32 (R9)(AX*2), Z22
	VMOVDQU32 (R9)(BX*1), Z23
	VMOVDQU32 (R10), Z24
	VMOVDQU32 (R10)(AX*1), Z25
	VMOVDQU32 (R10)(AX*2), Z26
	VMOVDQU32 (R10)(BX*1), Z27
	VMOVDQU32 (R11), Z28
	VMOVDQU32 (R11)(AX*1), Z29
	VMOVDQU32 (R11)(AX*2), Z30
	VMOVDQU32 (R11)(BX*1), Z31
	COLUMNS(Z16, Z17, Z18, Z19, Z8, Z9)
	COLUMNS(Z20, Z21, Z22, Z23, Z10, Z11)
	COLUMNS(Z24, Z25, Z26, Z27, Z12, Z13)
	COLUMNS(Z28, Z29, Z30, Z31, Z14, Z15)
	QUARTERS(Z16, Z20, Z24, Z28, Z8, Z9)
	QUARTERS(Z17, Z21, Z25, Z29, Z10, Z11)
	QUARTERS(Z18, Z22, Z26, Z30, Z12, Z13)
	QUARTERS(Z19, Z23, Z27, Z31, Z14, Z15)

	// The flags of this block: first is 0 from the second block on.
	ORL  DX, R8
	CMPQ CX, $1
	JNE  inner
	ORL  last+48(FP), R8

inner:
	MOVL         step+36(FP), R9
	VPBROADCASTD R9, Z12
	VPMULLD      lane<>(SB), Z12, Z12
	MOVL         counter+32(FP), R9
	VPBROADCASTD R9, Z13
	VPADDD       Z13, Z12, Z12
	VPXORD       Z13, Z13, Z13
	MOVL         $64, R9
	VPBROADCASTD R9, Z14
	VPBROADCASTD R8, Z15
	XORL         R8, R8
	VPBROADCASTD initial<>+0(SB), Z8
	VPBROADCASTD initial<>+4(SB), Z9
	VPBROADCASTD initial<>+8(SB), Z10
	VPBROADCASTD initial<>+12(SB), Z11

	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)
	ROUND(Z18, Z22, Z19, Z26, Z23, Z16, Z20, Z29, Z17, Z27, Z28, Z21, Z25, Z30, Z31, Z24)
	ROUND(Z19, Z20, Z26, Z28, Z29, Z18, Z23, Z30, Z22, Z21, Z25, Z16, Z27, Z31, Z24, Z17)
	ROUND(Z26, Z23, Z28, Z25, Z30, Z19, Z29, Z31, Z20, Z16, Z27, Z18, Z21, Z24, Z17, Z22)
	ROUND(Z28, Z29, Z25, Z27, Z31, Z26, Z30, Z24, Z23, Z18, Z21, Z19, Z16, Z17, Z22, Z20)
	ROUND(Z25, Z30, Z27, Z21, Z24, Z28, Z31, Z17, Z29, Z19, Z16, Z26, Z18, Z22, Z20, Z23)
	ROUND(Z27, Z31, Z21, Z16, Z17, Z25, Z24, Z22, Z30, Z26, Z18, Z28, Z19, Z20, Z23, Z29)

	VPXORD Z8, Z0, Z0
	VPXORD Z9, Z1, Z1
	VPXORD Z10, Z2, Z2
	VPXORD Z11, Z3, Z3
	VPXORD Z12, Z4, Z4
	VPXORD Z13, Z5, Z5
	VPXORD Z14, Z6, Z6
	VPXORD Z15, Z7, Z7
	ADDQ   $64, SI
	DECQ   CX
	JNZ    block

	// Make columns of the 8 rows of chaining values: with rows 8 to 15 empty,
	// the first halves of what comes out are the 16 values.
	COLUMNS(Z0, Z1, Z2, Z3, Z8, Z9)
	COLUMNS(Z4, Z5, Z6, Z7, Z10, Z11)
	VPXORD Z16, Z16, Z16
	VMOVDQA64 Z16, Z17
	VMOVDQA64 Z16, Z18
	VMOVDQA64 Z16, Z19
	VMOVDQA64 Z16, Z20
	VMOVDQA64 Z16, Z21
	VMOVDQA64 Z16, Z22
	VMOVDQA64 Z16, Z23
	QUARTERS(Z0, Z4, Z16, Z20, Z8, Z9)
	QUARTERS(Z1, Z5, Z17, Z21, Z10, Z11)
	QUARTERS(Z2, Z6, Z18, Z22, Z12, Z13)
	QUARTERS(Z3, Z7, Z19, Z23, Z14, Z15)
	VMOVDQU32 Y0, 0(DI)
	VMOVDQU32 Y1, 32(DI)
	VMOVDQU32 Y2, 64(DI)
	VMOVDQU32 Y3, 96(DI)
	VMOVDQU32 Y4, 128(DI)
	VMOVDQU32 Y5, 160(DI)
	VMOVDQU32 Y6, 192(DI)
	VMOVDQU32 Y7, 224(DI)
	VMOVDQU32 Y16, 256(DI)
	VMOVDQU32 Y17, 288(DI)
	VMOVDQU32 Y18, 320(DI)
	VMOVDQU32 Y19, 352(DI)
	VMOVDQU32 Y20, 384(DI)
	VMOVDQU32 Y21, 416(DI)
	VMOVDQU32 Y22, 448(DI)
	VMOVDQU32 Y23, 480(DI)
	VZEROUPPER
	RET
