package replica

import (
	"context"
	"testing"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// FuzzHandleNode: whatever an admitted node sends, the answer is a reply or an
// error, and what is kept is only what verifies.
func FuzzHandleNode(f *testing.F) {
	s, err := store.Open(f.TempDir(), store.Options{Statfs: func(string) (uint64, uint64, error) { return 1 << 40, 1 << 41, nil }})
	if err != nil {
		f.Fatal(err)
	}
	self := ring.Node{ID: envelope.NodeID{1}}
	on := ring.New([]ring.Node{self})
	r := New(Config{Self: self.ID, Store: s, Ring: func() *ring.Ring { return on }}) // alone: there are no peers to call
	f.Cleanup(func() {
		r.Close()
		s.Close()
	})
	adam := newWriter(f)
	v1 := adam.seal(f, "course", envelope.Version{}, 1)
	add := func(t wire.Type, body any, data []byte) {
		b, err := envelope.Encode(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(t), b, data)
	}
	ref := v1.rec.Ref
	add(wire.TypePutRecord, &wire.PutRecord{Kind: envelope.KindDocument, Repair: true}, adam.doc.Signed().Encode())
	add(wire.TypePutRecord, &wire.PutRecord{Kind: envelope.KindEnvelope}, v1.rec.Signed.Encode())
	add(wire.TypeGetRecord, &wire.GetRecord{Ref: ref, N: 1}, nil)
	add(wire.TypeListRecords, &wire.ListRecords{Kind: ref.Kind, Owner: ref.Owner, AllNames: true, History: true, AfterName: "a", AfterN: 1}, nil)
	add(wire.TypeMemberships, &wire.Memberships{Agent: adam.id, After: adam.id}, nil)
	add(wire.TypeHasRecords, &wire.HasRecords{Records: []wire.RecordID{{Ref: ref, Version: v1.rec.Version}}}, nil)
	add(wire.TypePutSegment, &wire.PutSegment{ID: v1.ids[0], Owner: adam.id, Age: 1 << 63}, v1.frames[0])
	add(wire.TypeGetSegment, &wire.GetSegment{ID: v1.ids[0]}, nil)
	add(wire.TypeHasSegments, &wire.HasSegments{IDs: v1.ids}, nil)
	add(wire.TypeLiveKeys, &wire.LiveKeys{Owner: adam.id, After: make([]byte, 32)}, nil)
	add(wire.TypeStop, &wire.Empty{}, nil)
	f.Fuzz(func(t *testing.T, kind uint16, body, data []byte) {
		rt, reply, out, err := r.HandleNode(context.Background(), envelope.NodeID{2}, wire.Type(kind), body, data)
		if err != nil {
			return
		}
		if rt != wire.Type(kind).Reply() {
			t.Fatalf("%s is answered with %s", wire.Type(kind), rt)
		}
		if reply == nil {
			reply = wire.Empty{}
		}
		b, err := envelope.Encode(reply)
		if err != nil || len(b) > rt.Limits().Body || len(out) > rt.Limits().Data {
			t.Fatalf("the reply to %s doesn't fit: %d and %d bytes, %v", wire.Type(kind), len(b), len(out), err)
		}
	})
}
