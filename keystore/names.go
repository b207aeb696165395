package keystore

import (
	"cmp"
	"slices"

	"l2p/envelope"
)

const (
	namesFile    = "names.cbor"
	maxNamesSize = 8 << 20 // bytes: about 80,000 names
)

// A PinnedName is a name and the agent that it meant when it was first used.
type PinnedName struct {
	Name  string           `cbor:"1,keyasint"`
	Agent envelope.AgentID `cbor:"2,keyasint"`
	// Revoked says that the name's box didn't vouch for the agent any more,
	// when that was last heard of.
	Revoked bool `cbor:"3,keyasint,omitempty"`
}

type namesList struct {
	Format uint         `cbor:"1,keyasint"` // 1
	Names  []PinnedName `cbor:"2,keyasint"` // ascending by name
}

// Names returns the pinned names, ascending.
func (s *Store) Names() ([]PinnedName, error) {
	data, err := s.readFile(maxNamesSize, namesFile)
	if isNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	names, err := parseNames(data)
	if err != nil {
		return nil, envelope.Errorf(envelope.Corrupt, "file %+q is damaged: %w", s.path(namesFile), err)
	}
	return names, nil
}

func parseNames(data []byte) ([]PinnedName, error) {
	var list namesList
	if err := envelope.Decode(data, maxNamesSize, &list); err != nil {
		return nil, err
	}
	if list.Format != 1 {
		return nil, envelope.Errorf(envelope.Corrupt, "malformed list of names")
	}
	last := ""
	for _, n := range list.Names {
		if _, err := envelope.ParseName(n.Name); err != nil || n.Name <= last || n.Agent.IsZero() {
			return nil, envelope.Errorf(envelope.Corrupt, "malformed list of names")
		}
		last = n.Name
	}
	return list.Names, nil
}

// Pinned returns the agent that a name is pinned to. A name never used before
// is an error of kind NotFound.
func (s *Store) Pinned(name string) (envelope.AgentID, error) {
	names, err := s.Names()
	if err != nil {
		return envelope.AgentID{}, err
	}
	if i, ok := findName(names, name); ok {
		return names[i].Agent, nil
	}
	return envelope.AgentID{}, envelope.Errorf(envelope.NotFound, "the name %+.130q has not been used here before", name)
}

func findName(names []PinnedName, name string) (int, bool) {
	return slices.BinarySearchFunc(names, name, func(n PinnedName, name string) int { return cmp.Compare(n.Name, name) })
}

// Pin says that a name means an agent now, and remembers it when the name is
// used for the first time. If it meant another agent before, that is an error
// of kind Conflict, which nobody should pass over: [Store.AcceptName] does.
func (s *Store) Pin(name string, id envelope.AgentID) error {
	return s.pin(name, id, false)
}

// AcceptName pins a name to an agent, whatever it meant before.
func (s *Store) AcceptName(name string, id envelope.AgentID) error {
	return s.pin(name, id, true)
}

func (s *Store) pin(name string, id envelope.AgentID, replace bool) error {
	if _, err := envelope.ParseName(name); err != nil {
		return err
	}
	if id.IsZero() {
		return envelope.Errorf(envelope.NotFound, "the name %s means nobody", name)
	}
	return s.changeNames(func(names []PinnedName) ([]PinnedName, error) {
		i, ok := findName(names, name)
		switch {
		case !ok:
			return slices.Insert(names, i, PinnedName{Name: name, Agent: id}), nil
		case names[i].Agent == id:
			return nil, nil
		case !replace:
			return nil, envelope.WithHint(
				envelope.Errorf(envelope.Conflict, "WARNING: %s is another agent than before: it was %s and now is %s", name, names[i].Agent, id),
				"if that is right, run l2p agent pin %s --accept", name)
		}
		names[i] = PinnedName{Name: name, Agent: id}
		return names, nil
	})
}

// MarkName remembers whether the box of a pinned name has revoked the agent
// that the name means. A name that isn't pinned is none of the store's.
func (s *Store) MarkName(name string, revoked bool) error {
	names, err := s.Names() // most often there is nothing to write
	if err != nil {
		return err
	}
	if i, ok := findName(names, name); !ok || names[i].Revoked == revoked {
		return nil
	}
	return s.changeNames(func(names []PinnedName) ([]PinnedName, error) {
		i, ok := findName(names, name)
		if !ok {
			return nil, nil
		}
		names[i].Revoked = revoked
		return names, nil
	})
}

// changeNames writes what change makes of the pinned names; nil: nothing.
func (s *Store) changeNames(change func([]PinnedName) ([]PinnedName, error)) error {
	return s.locked(func() error {
		names, err := s.Names()
		if err != nil {
			return err
		}
		if names, err = change(names); err != nil || names == nil {
			return err
		}
		data, err := envelope.Encode(namesList{Format: 1, Names: names})
		if err != nil {
			return envelope.Errorf(envelope.Other, "cannot encode the names: %w", err)
		}
		if len(data) > maxNamesSize {
			return envelope.Errorf(envelope.Full, "the keystore has no room for more names")
		}
		return s.writeFile(data, namesFile)
	})
}
