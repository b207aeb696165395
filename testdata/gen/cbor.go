package main

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A pair is one entry of a CBOR map.
type pair struct {
	key   uint64
	value []byte // encoded
}

// head encodes a major type with its argument in the fewest bytes (RFC 8949 §4.2.1).
func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n <= 0xff:
		return []byte{major<<5 | 24, byte(n)}
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
	default:
		return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
	}
}

func num(n uint64) []byte  { return head(0, n) }
func bin(b []byte) []byte  { return append(head(2, uint64(len(b))), b...) }
func text(s string) []byte { return append(head(3, uint64(len(s))), s...) }

func boolean(v bool) []byte {
	if v {
		return []byte{0xf5}
	}
	return []byte{0xf4}
}

func array(items ...[]byte) []byte {
	return append(head(4, uint64(len(items))), bytes.Join(items, nil)...)
}

func bins(items ...[]byte) []byte {
	var encoded [][]byte
	for _, b := range items {
		encoded = append(encoded, bin(b))
	}
	return array(encoded...)
}

// object encodes a map with its keys in ascending order. A pair without a
// value is left out.
func object(pairs ...pair) []byte {
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.value == nil })
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(num(a.key), num(b.key)) })
	return unsorted(pairs...)
}

// unsorted encodes a map in the order given.
func unsorted(pairs ...pair) []byte {
	b := head(5, uint64(len(pairs)))
	for _, p := range pairs {
		b = append(append(b, num(p.key)...), p.value...)
	}
	return b
}

// with returns pairs with one entry replaced, added or (nil) removed.
func with(pairs []pair, key uint64, value []byte) []pair {
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.key == key })
	return append(pairs, pair{key, value})
}

// A signature is one entry of a Signed's list.
type signature struct {
	algorithm uint64
	signer    []byte // nil: absent
	version   uint64 // 0: absent
	bytes     []byte
}

func (s signature) encode() []byte {
	var signer, version []byte
	if s.signer != nil {
		signer = bin(s.signer)
	}
	if s.version != 0 {
		version = num(s.version)
	}
	return object(pair{1, num(s.algorithm)}, pair{2, signer}, pair{3, version}, pair{4, bin(s.bytes)})
}

// signed encodes a Signed.
func signed(body []byte, attachments [][]byte, signatures ...signature) []byte {
	var sigs [][]byte
	for _, s := range signatures {
		sigs = append(sigs, s.encode())
	}
	var att []byte
	if len(attachments) > 0 {
		att = bins(attachments...)
	}
	return object(pair{1, bin(body)}, pair{2, array(sigs...)}, pair{3, att})
}

func bodyHash(body []byte) []byte { return hash("l2p body v1\n", body) }
