package keystore

import (
	"cmp"
	"slices"

	"l2p/envelope"
)

const (
	seenDir     = "seen"
	maxSeenSize = 16 << 20 // bytes, of one owner: some 100,000 refs
)

// A seenRef is the newest version seen of one of an owner's refs.
type seenRef struct {
	Kind envelope.RecordKind `cbor:"1,keyasint"`
	Name string              `cbor:"2,keyasint,omitempty"`
	N    uint64              `cbor:"3,keyasint"`
	Hash envelope.Hash       `cbor:"4,keyasint"`
}

type seenList struct {
	Format uint      `cbor:"1,keyasint"` // 1
	Refs   []seenRef `cbor:"2,keyasint"` // ascending by kind, then name
}

func compareSeen(a, b seenRef) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

func parseSeen(data []byte) ([]seenRef, error) {
	var list seenList
	if err := envelope.Decode(data, maxSeenSize, &list); err != nil {
		return nil, err
	}
	if list.Format != 1 {
		return nil, envelope.Errorf(envelope.Corrupt, "malformed list of refs")
	}
	for i, r := range list.Refs {
		if r.N == 0 || (i > 0 && compareSeen(list.Refs[i-1], r) >= 0) {
			return nil, envelope.Errorf(envelope.Corrupt, "malformed list of refs")
		}
	}
	return list.Refs, nil
}

func (s *Store) readSeen(owner envelope.AgentID) ([]seenRef, error) {
	data, err := s.readFile(maxSeenSize, seenDir, owner.String())
	if isNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	refs, err := parseSeen(data)
	if err != nil {
		return nil, envelope.Errorf(envelope.Corrupt, "file %+q is damaged: %w", s.path(seenDir, owner.String()), err)
	}
	return refs, nil
}

// Seen returns the newest version of ref that was seen, or the zero Version.
func (s *Store) Seen(ref envelope.Ref) (envelope.Version, error) {
	refs, err := s.readSeen(ref.Owner)
	if err != nil {
		return envelope.Version{}, err
	}
	i, ok := slices.BinarySearchFunc(refs, seenRef{Kind: ref.Kind, Name: ref.Name}, compareSeen)
	if !ok {
		return envelope.Version{}, nil
	}
	return envelope.Version{N: refs[i].N, Hash: refs[i].Hash}, nil
}

// Remember notes that version v of ref was seen. If a newer one was seen
// before, that is [ErrOlder], of kind Conflict: whoever shows v is behind, or
// wants to pass something old for new.
func (s *Store) Remember(ref envelope.Ref, v envelope.Version) error {
	if v.N == 0 {
		return envelope.Errorf(envelope.Usage, "version 0 can't be remembered")
	}
	// Most often it is known already: no need to lock, nor to write.
	if seen, err := s.Seen(ref); err != nil || seen == v {
		return err
	}
	return s.locked(func() error {
		refs, err := s.readSeen(ref.Owner)
		if err != nil {
			return err
		}
		now := seenRef{Kind: ref.Kind, Name: ref.Name, N: v.N, Hash: v.Hash}
		i, ok := slices.BinarySearchFunc(refs, now, compareSeen)
		if !ok {
			refs = slices.Insert(refs, i, now)
		} else {
			seen := envelope.Version{N: refs[i].N, Hash: refs[i].Hash}
			if seen.Newer(v) {
				return envelope.Errorf(envelope.Conflict, "version %d (%s) of %+.64q is offered as the newest, but version %d (%s) is known: %w",
					v.N, v.Hash.Short(), ref.Name, seen.N, seen.Hash.Short(), ErrOlder)
			}
			refs[i] = now
		}
		data, err := envelope.Encode(seenList{Format: 1, Refs: refs})
		if err != nil {
			return envelope.Errorf(envelope.Other, "cannot encode what was seen: %w", err)
		}
		if len(data) > maxSeenSize {
			return envelope.Errorf(envelope.Full, "the keystore has no room to remember more of %s", ref.Owner)
		}
		return s.writeFile(data, seenDir, ref.Owner.String())
	})
}
