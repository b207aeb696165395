package member

import (
	"bytes"
	"encoding/binary"
	"math"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"l2p/envelope"
)

func testSealer(t testing.TB, key byte) *sealer {
	t.Helper()
	s, err := newSealer([32]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Under a new key the old one is good for a few seconds more, and not longer.
func TestReplaceKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seal := func(s *sealer) []byte {
			packet, err := s.seal([]byte{msgPing})
			if err != nil {
				t.Fatal(err)
			}
			return packet
		}
		slow, fast := testSealer(t, 1), testSealer(t, 1)
		if err := fast.replace([32]byte{2}); err != nil {
			t.Fatal(err)
		}
		if fast.open(seal(slow)) == nil {
			t.Error("deaf to those who haven't heard of the new key")
		}
		if slow.open(seal(fast)) != nil {
			t.Error("sealed with the old key")
		}
		time.Sleep(previousKeyFor)
		if fast.open(seal(slow)) != nil {
			t.Error("the old key is good for ever")
		}
		if err := slow.replace([32]byte{2}); err != nil || slow.open(seal(fast)) == nil {
			t.Errorf("the new key doesn't open (%v)", err)
		}
	})
}

func TestSeal(t *testing.T) {
	t.Parallel()
	s := testSealer(t, 1)
	message := []byte{msgPing, 1, 2, 3}
	packet, err := s.seal(message)
	if err != nil {
		t.Fatal(err)
	}
	if len(packet) != len(message)+packetOverhead || packet[0] >= 0x40 {
		t.Errorf("packet of %d bytes begins with %#x", len(packet), packet[0])
	}
	if got := s.open(packet); !bytes.Equal(got, message) {
		t.Errorf("came back as %x", got)
	}
	if again, _ := s.seal(message); bytes.Equal(again, packet) {
		t.Error("sealed twice alike")
	}
	if testSealer(t, 2).open(packet) != nil {
		t.Error("opened with another key")
	}
	for i := range packet {
		changed := bytes.Clone(packet)
		changed[i] ^= 1
		if s.open(changed) != nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if s.open(packet[:i]) != nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
	empty, err := s.seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.open(empty) != nil {
		t.Error("an empty message came through")
	}
}

func compound(parts ...[]byte) []byte {
	b := []byte{msgCompound, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return append(b, bytes.Join(parts, nil)...)
}

func withCRC(m []byte) []byte { return append([]byte{msgCRC, 0, 0, 0, 0}, m...) }

func TestAcceptable(t *testing.T) {
	t.Parallel()
	const compressed, encrypted, failure = 9, 10, 13
	for name, m := range map[string][]byte{
		"ping":         {msgPing, 1},
		"nack":         {msgNack},
		"compound":     compound([]byte{msgAlive, 1}, []byte{msgDead}, []byte{msgUser, 7, 7}),
		"checksum":     withCRC([]byte{msgSuspect}),
		"both":         withCRC(compound([]byte{msgAck}, []byte{msgIndirectPing})),
		"empty bundle": compound(),
	} {
		if !acceptable(m) {
			t.Errorf("%s: refused", name)
		}
	}
	for name, m := range map[string][]byte{
		"empty":                nil,
		"compressed":           {compressed, 1},
		"encrypted":            {encrypted},
		"push/pull":            {msgPushPull},
		"error":                {failure},
		"label":                {244, 1, 'x'},
		"compressed in bundle": compound([]byte{msgPing}, []byte{compressed}),
		"compressed after crc": withCRC([]byte{compressed}),
		"bundle in bundle":     compound(compound([]byte{msgPing})),
		"crc in bundle":        compound(withCRC([]byte{msgPing})),
		"crc in crc":           withCRC(withCRC([]byte{msgPing})),
		"empty part":           compound(nil),
		"cut bundle":           compound([]byte{msgPing, 1, 2})[:5],
		"cut lengths":          {msgCompound, 3, 0, 1},
		"no lengths":           {msgCompound},
		"trailing byte":        append(compound([]byte{msgPing}), 0),
		"crc alone":            {msgCRC, 0, 0, 0, 0},
	} {
		if acceptable(m) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func pushPull(t testing.TB, h pushPullHeader) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{msgPushPull})
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(h); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, peekPushPull)...)
}

func TestPushPull(t *testing.T) {
	t.Parallel()
	if err := checkPushPull(pushPull(t, pushPullHeader{Nodes: 100, Join: true})); err != nil {
		t.Errorf("refused: %v", err)
	}
	if n := len(pushPull(t, pushPullHeader{math.MaxInt, math.MaxInt, true})) - peekPushPull; n > peekPushPull {
		t.Errorf("a header has %d bytes, more than are looked at", n)
	}
	for name, head := range map[string][]byte{
		"empty":       nil,
		"ping":        append([]byte{msgPing}, make([]byte, 64)...),
		"compressed":  append([]byte{9}, make([]byte, 64)...),
		"many nodes":  pushPull(t, pushPullHeader{Nodes: 1 << 20}),
		"negative":    pushPull(t, pushPullHeader{Nodes: -1}),
		"user state":  pushPull(t, pushPullHeader{Nodes: 1, UserStateLen: 20 << 20}),
		"no header":   append([]byte{msgPushPull}, bytes.Repeat([]byte{0xc1}, 64)...),
		"long string": append([]byte{msgPushPull, 0x81, 0xdb, 0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...),
	} {
		if err := checkPushPull(head); envelope.KindOf(err) != envelope.Corrupt || err == nil {
			t.Errorf("%s: got %v, want an error of kind Corrupt", name, err)
		}
	}
	// The check stands before whatever memberlist reads.
	near, far := net.Pipe()
	defer far.Close()
	s := newPushPullStream(near)
	defer s.Close()
	go far.Write(pushPull(t, pushPullHeader{Nodes: 1 << 20})) // ends with far
	buf := make([]byte, 10)
	if n, err := s.Read(buf); n != 0 || err == nil {
		t.Errorf("read %d bytes of a bad push/pull, %v", n, err)
	}
	if n, err := s.Read(buf); n != 0 || err == nil {
		t.Errorf("read %d bytes of a bad push/pull at the second attempt, %v", n, err)
	}
}

// memberlist's decoder doesn't make room for what a message only claims.
func TestDecoderBelievesNoLength(t *testing.T) {
	t.Parallel()
	message := []byte{0x81, 0xa4, 'A', 'd', 'd', 'r', 0xc6, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3} // 2 GiB of address
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var a aliveMessage
	if err := codec.NewDecoder(bytes.NewReader(message), &codec.MsgpackHandle{}).Decode(&a); err == nil {
		t.Error("decoded a message that isn't there")
	}
	runtime.ReadMemStats(&after)
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 256<<20 {
		t.Errorf("allocated %d MiB", grew>>20)
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	id := testID(1)
	name, err := newName(id)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := nameID(name); !ok || got != id {
		t.Errorf("%q is of %v, %v", name, got, ok)
	}
	if got, ok := nameID(idText(id)); !ok || got != id {
		t.Errorf("the first part is of %v, %v", got, ok)
	}
	for _, bad := range []string{"", ".", "a.b", name + "x", name + ".x", name[1:], "\n" + name, name + "\n", name[:10] + "\r" + name[10:], idText(id) + "."} {
		if _, ok := nameID(bad); ok {
			t.Errorf("%q accepted", bad)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte{msgPing, 1})
	f.Add(withCRC(compound([]byte{msgAck}, []byte{msgIndirectPing})))
	f.Add(pushPull(f, pushPullHeader{Nodes: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if acceptable(b) && (len(b) == 0 || b[0] == 9 || b[0] == msgPushPull) {
			t.Fatalf("accepted %x", b)
		}
		_ = checkPushPull(b)
	})
}

func FuzzMeta(f *testing.F) {
	name := idText(testID(1)) + ".AAAAAAAAAAA"
	ip := testAddr(1).IP
	f.Add(signMeta(testKey(1), envelope.Hash{1}, name, ip, 7000), name, []byte(ip), uint16(7000))
	f.Fuzz(func(t *testing.T, data []byte, name string, ip []byte, port uint16) {
		if verifyMeta(data, name, ip, port) {
			if id, ok := nameID(name); !ok || id != testID(1) {
				t.Fatalf("believed %q", name)
			}
		}
	})
}
