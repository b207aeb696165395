package keystore

import (
	"testing"

	"l2p/envelope"
)

func FuzzNames(f *testing.F) {
	seed, err := envelope.Encode(namesList{Format: 1, Names: []PinnedName{{Name: "adam@a-tech", Agent: envelope.AgentID{1}}, {Name: "eve@e-build", Agent: envelope.AgentID{2}, Revoked: true}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseNames(data)
		if err != nil {
			wantKind(t, err, envelope.Corrupt)
			return
		}
		for _, n := range names {
			if i, ok := findName(names, n.Name); !ok || names[i] != n {
				t.Errorf("name %q is not found again", n.Name)
			}
		}
	})
}

func FuzzSeen(f *testing.F) {
	seed, err := envelope.Encode(seenList{Format: 1, Refs: []seenRef{
		{envelope.KindEnvelope, "a", 1, envelope.Hash{1}}, {envelope.KindEnvelope, "b", 7, envelope.Hash{2}}, {envelope.KindBinding, "a", 1, envelope.Hash{}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		refs, err := parseSeen(data)
		if err != nil {
			wantKind(t, err, envelope.Corrupt)
			return
		}
		for i, r := range refs[:max(0, len(refs)-1)] {
			if compareSeen(r, refs[i+1]) >= 0 {
				t.Error("refs are not ascending")
			}
		}
	})
}

func FuzzSecrets(f *testing.F) {
	for _, classic := range []bool{true, false} {
		s, err := newSecrets(classic)
		if err != nil {
			f.Fatal(err)
		}
		s.identities = append(s.identities, s.identities...)
		seed, err := s.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
		if s, err = newEpoch(classic); err != nil {
			f.Fatal(err)
		}
		if seed, err = s.encode(); err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSecrets(data)
		if err != nil {
			wantKind(t, err, envelope.Corrupt)
			return
		}
		again, err := s.encode()
		if err != nil || string(again) != string(data) {
			t.Errorf("secrets have a second encoding, %v", err)
		}
	})
}

func FuzzExported(f *testing.F) {
	s := testStore(f)
	a := create(f, s, AgentOptions{Passphrase: []byte("p"), Classic: true})
	for _, armored := range []bool{true, false} {
		data, err := s.Export(f.Context(), a.Agent(), armored)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		run, e, err := parseExported(data)
		if err != nil {
			wantKind(t, err, envelope.Corrupt)
			return
		}
		if len(run) == 0 || uint64(len(run)) != e.Version {
			t.Errorf("%d documents, version %d", len(run), e.Version)
		}
	})
}
