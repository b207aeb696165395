package envelope

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// A sample has a field of every sort that the formats use.
type sample struct {
	Number uint64   `cbor:"1,keyasint"`
	Time   int64    `cbor:"2,keyasint"`
	Text   string   `cbor:"3,keyasint"`
	Bytes  []byte   `cbor:"4,keyasint"`
	ID     AgentID  `cbor:"5,keyasint"`
	List   []uint   `cbor:"6,keyasint"`
	Zero   Hash     `cbor:"7,keyasint,omitzero"`
	Maybe  *uint64  `cbor:"8,keyasint,omitempty"`
	Flag   bool     `cbor:"9,keyasint,omitempty"`
	Inner  *sample  `cbor:"10,keyasint,omitempty"`
	Inners []sample `cbor:"11,keyasint,omitempty"`
}

func TestDecodeRefusesSecondEncodings(t *testing.T) {
	t.Parallel()
	id := "5820" + hex.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct {
		data string
		ok   bool
	}{
		"right":                  {"a60101022003616104410105" + id + "068101", true},
		"empty list":             {"a60101022003616104410105" + id + "0680", true},
		"null for a list":        {"a60101022003616104410105" + id + "06f6", false},
		"null for bytes":         {"a601010220036161" + "04f6" + "05" + id + "0680", false},
		"null for a number":      {"a601f6022003616104410105" + id + "0680", false},
		"undefined for a list":   {"a60101022003616104410105" + id + "06f7", false},
		"a long number":          {"a6011801022003616104410105" + id + "0680", false},
		"a negative number":      {"a60120022003616104410105" + id + "0680", false},
		"a number too large":     {"a60101021bffffffffffffffff03616104410105" + id + "0680", false},
		"a float":                {"a601f93c00022003616104410105" + id + "0680", false},
		"keys out of order":      {"a602200101" + "03616104410105" + id + "0680", false},
		"a key twice":            {"a7010101010220" + "03616104410105" + id + "0680", false},
		"a key too many":         {"a70101022003616104410105" + id + "068018630a", false},
		"a key as text":          {"a661310102200361610441" + "0105" + id + "0680", false},
		"a key too few":          {"a50101022003616104410105" + id, false},
		"zero that is absent":    {"a70101022003616104410105" + id + "068007" + id, false},
		"null that is absent":    {"a70101022003616104410105" + id + "068008f6", false},
		"false that is absent":   {"a70101022003616104410105" + id + "068009f4", false},
		"short id":               {"a60101022003616104410105" + "581f" + id[4:len(id)-2] + "0680", false},
		"long id":                {"a60101022003616104410105" + "5821" + id[4:] + "00" + "0680", false},
		"id as a list":           {"a60101022003616104410105" + "80" + "0680", false},
		"text for bytes":         {"a60101022003616104610105" + id + "0680", false},
		"bytes for text":         {"a60101022003416104410105" + id + "0680", false},
		"text that isn't UTF-8":  {"a6010102200361ff04410105" + id + "0680", false},
		"indefinite map":         {"bf0101022003616104410105" + id + "0680ff", false},
		"indefinite list":        {"a60101022003616104410105" + id + "069fff", false},
		"a tag":                  {"c1a60101022003616104410105" + id + "0680", false},
		"a byte too many":        {"a60101022003616104410105" + id + "068000", false},
		"a byte too few":         {"a60101022003616104410105" + id + "06", false},
		"nothing":                {"", false},
		"a list":                 {"80", false},
		"a list of 2^32 numbers": {"a60101022003616104410105" + id + "069b0000000100000000", false},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var v sample
		err = Decode(data, 1000, &v)
		if c.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok && (err == nil || KindOf(err) != Corrupt) {
			t.Errorf("%s: decoded, %v", name, err)
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	t.Parallel()
	v := &sample{Bytes: noise(100), List: []uint{1}}
	data := mustEncode(v)
	var got sample
	if err := Decode(data, len(data), &got); err != nil || !bytes.Equal(got.Bytes, v.Bytes) {
		t.Error(err)
	}
	for _, limit := range []int{len(data) - 1, 0, -1, 1 << 40} {
		if err := Decode(data, limit, &sample{}); KindOf(err) != Corrupt {
			t.Errorf("with a limit of %d: %v", limit, err)
		}
	}
	for range 20 {
		v = &sample{Inner: v}
	}
	if err := Decode(mustEncode(v), 10_000, &sample{}); KindOf(err) != Corrupt {
		t.Errorf("a structure in a structure, twenty deep: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	n := uint64(1)
	f.Add(mustEncode(&sample{}))
	f.Add(mustEncode(&sample{Number: 1 << 40, Time: -5, Text: "é", Bytes: []byte{1}, List: []uint{1, 500}, Zero: Hash{1}, Maybe: &n, Flag: true,
		Inner: &sample{}, Inners: []sample{{Number: 7}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		if Decode(data, 1<<16, &v) != nil {
			return
		}
		if again := mustEncode(&v); !bytes.Equal(again, data) {
			t.Errorf("%x was decoded, and encodes as %x", data, again)
		}
	})
}
