package envelope

import (
	"bytes"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// Limits that hold for every encoded structure.
const (
	maxDepth    = 16
	maxElements = 1 << 17 // enough for the 10,000 members of a group, many times over
)

var encMode = func() cbor.EncMode {
	opts := cbor.CoreDetEncOptions()
	// An empty list has one encoding, whether Go calls it nil or not.
	opts.NilContainers = cbor.NilContainerAsEmpty
	m, err := opts.EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		NaN:               cbor.NaNDecodeForbidden,
		Inf:               cbor.InfDecodeForbidden,
		IntDec:            cbor.IntDecConvertNone,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Encode returns v in CBOR, core deterministic encoding (RFC 8949 §4.2.1).
func Encode(v any) ([]byte, error) { return encMode.Marshal(v) }

// mustEncode is Encode for structures of our own that always have an encoding.
func mustEncode(v any) []byte {
	b, err := Encode(v)
	if err != nil {
		panic("envelope: " + err.Error())
	}
	return b
}

// Decode reads data, which must be one value of at most limit bytes in core
// deterministic encoding and nothing else, into v. A second encoding of the
// same value, an unknown field, a duplicate key and trailing bytes are
// refused, so that one value has one encoding. Errors are of kind Corrupt.
func Decode(data []byte, limit int, v any) error {
	if limit <= 0 || limit > math.MaxInt32 || len(data) > limit {
		return Errorf(Corrupt, "encoded value has %d bytes, more than the limit of %d", len(data), limit)
	}
	if err := decMode.Unmarshal(data, v); err != nil {
		return Errorf(Corrupt, "malformed CBOR: %w", err)
	}
	again, err := encMode.Marshal(v)
	if err != nil || !bytes.Equal(again, data) {
		return Errorf(Corrupt, "CBOR is not in core deterministic encoding")
	}
	return nil
}
