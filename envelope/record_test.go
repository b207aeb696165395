package envelope

import (
	"testing"
	"time"
)

func TestVersionNewer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v, w Version
		want bool
	}{
		{Version{2, Hash{9}}, Version{1, Hash{1}}, true},
		{Version{1, Hash{1}}, Version{2, Hash{9}}, false},
		{Version{1, Hash{1}}, Version{1, Hash{2}}, true},
		{Version{1, Hash{2}}, Version{1, Hash{1}}, false},
		{Version{1, Hash{1}}, Version{1, Hash{1}}, false},
		{Version{1, Hash{1}}, Version{}, true},
	} {
		if got := c.v.Newer(c.w); got != c.want {
			t.Errorf("%v newer than %v: %v", c.v, c.w, got)
		}
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sealer, err := NewSealer(SealOptions{Author: s.adam, Owner: s.trainers, Name: "a/b", Public: true})
	if err != nil {
		t.Fatal(err)
	}
	header, err := sealer.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	tombstone, err := Tombstone(s.adam, nil, "c", Version{1, Hash{1}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := SignBinding(&Binding{Format: 1, Box: s.box.Agent(), Name: "adam", Version: 1, Agent: s.adam.Agent()}, s.box)
	if err != nil {
		t.Fatal(err)
	}
	next := s.adam.rotate(t)
	for name, c := range map[string]struct {
		kind   RecordKind
		signed *Signed
		ref    Ref
		n      uint64
	}{
		"first document":  {KindDocument, s.adam.doc.Signed(), Ref{Kind: KindDocument, Owner: s.adam.Agent()}, 1},
		"second document": {KindDocument, next.doc.Signed(), Ref{Kind: KindDocument, Owner: s.adam.Agent()}, 2},
		"group":           {KindDocument, s.trainers.doc.Signed(), Ref{Kind: KindDocument, Owner: s.trainers.Agent()}, 1},
		"envelope":        {KindEnvelope, header, Ref{KindEnvelope, s.trainers.Agent(), "a/b"}, 1},
		"tombstone":       {KindEnvelope, tombstone, Ref{KindEnvelope, s.adam.Agent(), "c"}, 2},
		"binding":         {KindBinding, binding, Ref{KindBinding, s.box.Agent(), "adam"}, 1},
	} {
		data := c.signed.Encode()
		r, err := ParseRecord(c.kind, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Ref != c.ref || r.Version != (Version{c.n, c.signed.Hash()}) {
			t.Errorf("%s is at %+v, version %+v", name, r.Ref, r.Version)
		}
		if err := VerifyRecord(t.Context(), r, s.docs()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for kind := range RecordKind(5) {
			if _, err := ParseRecord(kind, data); kind != c.kind && KindOf(err) != Corrupt {
				t.Errorf("%s as a record of kind %d: %v", name, kind, err)
			}
		}
		forged := *c.signed
		forged.Signatures = []Signature{forged.Signatures[0]}
		forged.Signatures[0].Bytes = make([]byte, 64)
		if r, err := NewRecord(c.kind, &forged); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := VerifyRecord(t.Context(), r, s.docs()); KindOf(err) != Corrupt || err == nil {
			t.Errorf("%s with a forged signature: %v", name, err)
		}
	}
	mere, err := NewSealer(SealOptions{Author: s.adam, Public: true})
	if err != nil {
		t.Fatal(err)
	}
	file, err := mere.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecord(KindEnvelope, file); KindOf(err) != Corrupt {
		t.Errorf("a mere file as a record: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	s := newStage(f)
	f.Add(uint(KindDocument), s.adam.doc.Signed().Encode())
	f.Add(uint(KindDocument), s.trainers.doc.Signed().Encode())
	signed, _ := split(f, s.smallEnvelopes(f)["owned"])
	f.Add(uint(KindEnvelope), signed.Encode())
	binding, err := SignBinding(&Binding{Format: 1, Box: s.box.Agent(), Name: "adam", Version: 1, Agent: s.adam.Agent()}, s.box)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(KindBinding), binding.Encode())
	f.Fuzz(func(t *testing.T, kind uint, data []byte) {
		r, err := ParseRecord(RecordKind(kind), data)
		if err != nil {
			return
		}
		if r.Ref.Owner.IsZero() || r.Version.N == 0 || string(r.Signed.Encode()) != string(data) {
			t.Errorf("record %+v", r)
		}
		if err := VerifyRecord(t.Context(), r, s.docs()); err != nil && KindOf(err) != Corrupt && KindOf(err) != NotFound {
			t.Errorf("an error of kind %d: %v", KindOf(err), err)
		}
	})
}
