package envelope

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A change is one byte of an envelope altered, put in or taken out, or the end
// cut off.
type change struct {
	how   byte
	at    int
	value byte
}

const (
	alter  byte = iota // xor with value, which isn't 0
	insert             // value before at
	remove
	cut // at and everything behind
	changes
)

// of returns data with the change, and false if it wouldn't be one.
func (c change) of(data []byte) ([]byte, bool) {
	if c.at < 0 || c.at >= len(data) {
		return nil, false
	}
	data = slices.Clone(data)
	switch c.how {
	case alter:
		data[c.at] ^= c.value
		return data, c.value != 0
	case insert:
		return slices.Insert(data, c.at, c.value), true
	case remove:
		return slices.Delete(data, c.at, c.at+1), true
	case cut:
		return data[:c.at], true
	}
	return nil, false
}

// TestEveryInsertedOrRemovedByteIsRefused puts a byte before each byte of an
// envelope, and takes each out. (What can be put into an envelope that still
// opens is a whole signature of an algorithm that isn't known.)
func TestEveryInsertedOrRemovedByteIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, sealed := range s.smallEnvelopes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := range sealed {
				for _, c := range []change{{remove, at, 0}, {insert, at, 0}, {insert, at, sealed[at]}} {
					changed, _ := c.of(sealed)
					var buf bytes.Buffer
					if _, err := Open(t.Context(), &buf, bytes.NewReader(changed), s.all()); !isRefusal(err) || buf.Len() != 0 {
						t.Fatalf("%+v: %v, %d bytes came out", c, err, buf.Len())
					}
				}
			}
		})
	}
}

// TestEveryChangeOfArmorIsRefused changes each character of armor. What opens
// all the same differs in white space alone.
func TestEveryChangeOfArmorIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := []byte(armored(t, s.sealed(t, []byte("for all"))))
	opens := 0
	for at := range text {
		for _, c := range []change{{alter, at, 0x01}, {alter, at, 0x80}, {remove, at, 0}, {insert, at, ' '}, {insert, at, '\n'}, {insert, at, 'A'}} {
			changed, _ := c.of(text)
			var buf bytes.Buffer
			_, err := Open(t.Context(), &buf, bytes.NewReader(changed), s.opens(s.carl))
			switch {
			case err != nil && (!isRefusal(err) || buf.Len() != 0):
				t.Fatalf("%+v: %v, %d bytes came out", c, err, buf.Len())
			case err == nil && !bytes.Equal(plainArmor(changed), plainArmor(text)):
				t.Fatalf("%+v: it opened", c)
			case err == nil:
				opens++
			}
		}
	}
	if opens == 0 {
		t.Error("not even white space may be added")
	}
}

// isRefusal reports whether err is what a change makes of an envelope: corrupt,
// or signed with the key of a document that nobody has, since the change hit its
// number.
func isRefusal(err error) bool { return KindOf(err) == Corrupt || KindOf(err) == NotFound }

// plainArmor takes off the white space that may stand around armor.
func plainArmor(text []byte) []byte {
	return bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
}

// A longEnvelope has several segments. Opening it costs some milliseconds.
type longEnvelope struct {
	name   string
	plain  []byte
	sealed []byte
	starts []int // of the segments' frames
	opts   OpenOptions
}

func longEnvelopes(t testing.TB) []longEnvelope {
	t.Helper()
	s := newStage(t)
	plain := noise(2*SegmentPlainSize + 11)
	var list []longEnvelope
	for name, sealed := range map[string][]byte{
		"hybrid": s.sealed(t, plain, s.eve),
		"public": s.sealed(t, plain),
		"owned": sealWith(t, plain, SealOptions{Author: s.adam, Owner: s.trainers, Name: "a/b", Pad: true,
			Readers: []Recipient{s.carl.recipient(t)}}),
	} {
		l := longEnvelope{name: name, plain: plain, sealed: sealed, opts: s.all()}
		at := len(sealed)
		for _, f := range slices.Backward(frames(t, sealed)) {
			at -= len(f)
			l.starts = append([]int{at}, l.starts...)
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b longEnvelope) int { return strings.Compare(a.name, b.name) })
	return list
}

// check makes a change and expects that it is noticed, and that exactly the
// segments before it come out.
func (l longEnvelope) check(t *testing.T, c change) {
	t.Helper()
	changed, ok := c.of(l.sealed)
	if !ok {
		return
	}
	proven := 0
	for proven+1 < len(l.starts) && l.starts[proven+1] <= c.at {
		proven++
	}
	var buf bytes.Buffer
	_, err := Open(t.Context(), &buf, bytes.NewReader(changed), l.opts)
	if !isRefusal(err) {
		t.Fatalf("%s, %+v: got %v", l.name, c, err)
	}
	if !bytes.Equal(buf.Bytes(), l.plain[:proven*SegmentPlainSize]) {
		t.Fatalf("%s, %+v: %d bytes came out, want those of %d segments", l.name, c, buf.Len(), proven)
	}
}

// TestLongEnvelopesChanged makes changes around the beginnings of long
// envelopes' frames and chunks, and at random places. FuzzChanged is its long form.
func TestLongEnvelopesChanged(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	for _, l := range longEnvelopes(t) {
		var places []int
		for _, start := range l.starts {
			places = append(places, start-1, start, start+3, start+4, start+SegmentFrameHeader-1, start+SegmentFrameHeader)
		}
		for range 20 {
			places = append(places, dice.IntN(len(l.sealed)))
		}
		for i, at := range places {
			l.check(t, change{alter, at, 1 << (i % 8)})
			if !testing.Short() {
				l.check(t, change{1 + byte(i)%(changes-1), at, 1})
			}
		}
	}
}

// FuzzChanged changes long envelopes anywhere.
func FuzzChanged(f *testing.F) {
	list := longEnvelopes(f)
	for which := range list {
		for how := range changes {
			f.Add(byte(which), how, uint32(list[which].starts[1]), byte(1))
		}
	}
	f.Fuzz(func(t *testing.T, which, how byte, at uint32, value byte) {
		l := list[int(which)%len(list)]
		l.check(t, change{how % changes, int(at) % len(l.sealed), value})
	})
}
