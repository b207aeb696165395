package envelope

import (
	"bytes"
	"testing"
)

func TestBinding(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	good := Binding{Format: 1, Box: s.box.Agent(), Name: "adam", Version: 1, Time: 1, Agent: s.adam.Agent()}
	tests := map[string]struct {
		change func(b *Binding)
		signer Signer
		form   bool // the form is right
		holds  bool // and so is the signature
	}{
		"first":                 {func(*Binding) {}, s.box, true, true},
		"second":                {func(b *Binding) { b.Version, b.Parent = 2, Hash{1} }, s.box, true, true},
		"nobody any more":       {func(b *Binding) { b.Version, b.Parent, b.Agent = 2, Hash{1}, AgentID{} }, s.box, true, true},
		"revoked":               {func(b *Binding) { b.Version, b.Parent, b.Revoked = 2, Hash{1}, true }, s.box, true, true},
		"nobody is revoked":     {func(b *Binding) { b.Agent, b.Revoked = AgentID{}, true }, s.box, false, false},
		"format 2":              {func(b *Binding) { b.Format = 2 }, s.box, false, false},
		"no box":                {func(b *Binding) { b.Box = AgentID{} }, s.box, false, false},
		"no name":               {func(b *Binding) { b.Name = "" }, s.box, false, false},
		"full name":             {func(b *Binding) { b.Name = "adam@a-tech" }, s.box, false, false},
		"version 0":             {func(b *Binding) { b.Version = 0 }, s.box, false, false},
		"first with parent":     {func(b *Binding) { b.Parent = Hash{1} }, s.box, false, false},
		"second of nothing":     {func(b *Binding) { b.Version = 2 }, s.box, false, false},
		"by another":            {func(*Binding) {}, s.adam, true, false},
		"by the box as another": {func(*Binding) {}, claim{s.box, s.adam.Agent(), 1}, true, false},
		"by another as box":     {func(*Binding) {}, claim{s.adam, s.box.Agent(), 1}, true, false},
		"by version 2":          {func(*Binding) {}, claim{s.box, s.box.Agent(), 2}, true, false},
		"by version 0":          {func(*Binding) {}, claim{s.box, s.box.Agent(), 0}, true, false},
		"by a user as a box":    {func(b *Binding) { b.Box = s.adam.Agent() }, s.adam, true, false},
		"by an unknown box":     {func(b *Binding) { b.Box = AgentID{1} }, claim{s.box, AgentID{1}, 1}, true, false},
		"for another's space":   {func(b *Binding) { b.Box = s.eve.Agent() }, s.box, true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := good
			test.change(&b)
			signed, err := SignBinding(&b, test.signer)
			if (err == nil) != test.form {
				t.Fatalf("SignBinding: %v", err)
			}
			if err != nil {
				if KindOf(err) != Corrupt {
					t.Errorf("error %v is not of kind Corrupt", err)
				}
				return
			}
			r, err := ParseRecord(KindBinding, signed.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Binding; got.Name != b.Name || got.Agent != b.Agent || got.Revoked != b.Revoked || !bytes.Equal(got.Signed().Body, signed.Body) {
				t.Errorf("binding %+v comes back as %+v", b, got)
			}
			if err := r.Binding.Verify(t.Context(), s.docs()); (err == nil) != test.holds {
				t.Errorf("Verify: %v, want an error: %v", err, !test.holds)
			}
		})
	}
}

// TestBindingIsNoDocument checks that a signature over one is none over the other.
func TestBindingIsNoDocument(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := &Binding{Format: 1, Box: s.box.Agent(), Name: "adam", Version: 1, Agent: s.adam.Agent()}
	body := mustEncode(b)
	for _, domain := range []string{DomainDocument, DomainHeader, ""} {
		got, err := parseBinding(&Signed{Body: body, Signatures: []Signature{Sign(s.box, domain, body)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(t.Context(), s.docs()); KindOf(err) != Corrupt {
			t.Errorf("signed in domain %q: %v", domain, err)
		}
	}
}

func FuzzParseBinding(f *testing.F) {
	s := newStage(f)
	signed, err := SignBinding(&Binding{Format: 1, Box: s.box.Agent(), Name: "adam", Version: 1, Agent: s.adam.Agent()}, s.box)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed.Encode())
	docs := s.docs()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(KindBinding, data)
		if err != nil {
			if KindOf(err) != Corrupt {
				t.Errorf("error %v is not of kind Corrupt", err)
			}
			return
		}
		if !bytes.Equal(r.Signed.Encode(), data) {
			t.Error("a binding has two encodings")
		}
		VerifyRecord(t.Context(), r, docs)
	})
}
