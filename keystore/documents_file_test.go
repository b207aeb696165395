package keystore

import (
	"bytes"
	"testing"

	"l2p/envelope"
)

// TestKindIn: what a document's file begins with tells a group from others.
func TestKindIn(t *testing.T) {
	t.Parallel()
	w := newWorld()
	adam := w.user(t, "adam")
	for _, id := range []envelope.AgentID{adam.agent, w.group(t, adam), w.agent(t, envelope.Service, "", true).agent, w.agent(t, envelope.Box, "a-tech", true).agent} {
		d := w.newest(t, id)
		for _, signed := range []*envelope.Signed{d.Signed(), d.Bare().Signed()} {
			data := signed.Encode()
			if kind, ok := kindIn(data[:16]); !ok || kind != d.Kind {
				t.Errorf("a %s is taken for a %s, %v", d.Kind, kind, ok)
			}
			for n := range 16 {
				if kind, ok := kindIn(data[:n]); ok && kind != d.Kind {
					t.Errorf("%d bytes of a %s are taken for a %s", n, d.Kind, kind)
				}
			}
		}
	}
	if _, ok := kindIn(bytes.Repeat([]byte{0xff}, 16)); ok {
		t.Error("nonsense has a kind")
	}
}
