package envelope

import "context"

// A RecordKind says what a record on the ring is.
type RecordKind uint

const (
	// KindDocument records are agents' and groups' documents; their Ref has
	// the agent as owner and no name.
	KindDocument RecordKind = 1
	// KindEnvelope records are the headers of envelopes; their Ref has the
	// envelope's owner and name.
	KindEnvelope RecordKind = 2
	// KindBinding records bind a name to an agent; their Ref has the box's
	// agent as owner and the local part of the name.
	KindBinding RecordKind = 3
)

// A Ref is a place that a chain of records fills, version after version. Only
// its owner may write there.
type Ref struct {
	Kind  RecordKind `cbor:"1,keyasint"`
	Owner AgentID    `cbor:"2,keyasint"`
	Name  string     `cbor:"3,keyasint,omitempty"`
}

// A Version is one link of a Ref's chain: its number, counted from 1, and the
// hash of its record's body. Of two versions with one number, the one with the
// smaller hash wins, everywhere the same.
type Version struct {
	N    uint64 `cbor:"1,keyasint"`
	Hash Hash   `cbor:"2,keyasint"`
}

// Newer reports whether v wins over w: a higher number, then a smaller hash.
func (v Version) Newer(w Version) bool {
	if v.N != w.N {
		return v.N > w.N
	}
	return string(v.Hash[:]) < string(w.Hash[:])
}

// A Record is a signed structure together with what its body says of its place.
// Build one with [ParseRecord]; that proves its form, and [VerifyRecord] proves
// who wrote it.
type Record struct {
	Ref     Ref
	Version Version
	Parent  Hash // hash of the body before, N-1's except in a recovery document; zero for the first
	Signed  *Signed
	// Exactly one of these is set, as Ref.Kind says.
	Document *Document
	Header   *Header
	Binding  *Binding
}

// ParseRecord decodes a record of the given kind and checks its form. It
// checks no signature.
func ParseRecord(kind RecordKind, data []byte) (*Record, error) {
	limit := MaxSignedSize
	if kind != KindDocument {
		limit = MaxHeaderSize
	}
	s, err := ParseSigned(data, limit)
	if err != nil {
		return nil, err
	}
	return NewRecord(kind, s)
}

// NewRecord is ParseRecord for a structure that is decoded already.
func NewRecord(kind RecordKind, s *Signed) (*Record, error) {
	r := &Record{Signed: s, Version: Version{Hash: s.Hash()}}
	switch kind {
	case KindDocument:
		d, err := parseDocument(s)
		if err != nil {
			return nil, err
		}
		r.Document, r.Version.N, r.Parent = d, d.Version, d.Parent
		r.Ref = Ref{Kind: kind, Owner: d.ID()}
	case KindEnvelope:
		h, err := ParseHeader(s)
		if err != nil {
			return nil, err
		}
		r.Header, r.Version.N, r.Parent = h, h.Version, h.Parent
		r.Ref = Ref{Kind: kind, Owner: h.Owner, Name: h.Name}
		if h.Name == "" {
			return nil, Errorf(Corrupt, "an envelope without a name has no place on the ring")
		}
	case KindBinding:
		b, err := parseBinding(s)
		if err != nil {
			return nil, err
		}
		r.Binding, r.Version.N, r.Parent = b, b.Version, b.Parent
		r.Ref = Ref{Kind: kind, Owner: b.Box, Name: b.Name}
	default:
		return nil, Errorf(Corrupt, "unknown kind of record %d", kind)
	}
	return r, nil
}

// Documents finds the documents of agents. It is implemented by the keystore
// (what it has pinned), by a node (what the ring keeps) and by tests.
type Documents interface {
	// Chain returns the verified documents of an agent, oldest first, each the
	// parent of the next. Their numbers ascend, by one except at recovery
	// documents: [FindVersion] finds one. An unknown agent is an error of kind
	// NotFound.
	Chain(ctx context.Context, id AgentID) ([]*Document, error)
}

// VerifyRecord checks that the owner of r's Ref wrote r: the signatures under
// an envelope's header or a binding, or a document's link to its chain. docs
// finds the signers' documents; for a document record it also finds the
// earlier documents of the same agent. Errors are of kind Corrupt, or of the
// kind that docs returned.
func VerifyRecord(ctx context.Context, r *Record, docs Documents) error {
	switch r.Ref.Kind {
	case KindDocument:
		var chain []*Document
		if r.Version.N > 1 {
			var err error
			if chain, err = docs.Chain(ctx, r.Ref.Owner); err != nil {
				return err
			}
		}
		return VerifyDocument(ctx, r.Document, chain, docs)
	case KindEnvelope:
		return r.Header.Verify(ctx, r.Signed, docs)
	default:
		return r.Binding.Verify(ctx, docs)
	}
}
