package keystore

import (
	"context"
	"errors"
	"fmt"

	"l2p/envelope"
)

// maxGroups bounds the groups that are looked through, for one agent or in one
// another: anybody can make any number of groups with anybody in them.
const maxGroups = 1_000

// GroupsOf finds the groups that list an agent among their members: the store's
// own method, a search of the network, or both.
type GroupsOf func(ctx context.Context, member envelope.AgentID) ([]envelope.AgentID, error)

// GroupsOf returns the known groups that list, or once listed, an agent among
// their members: who was removed still reads what was sealed before.
func (s *Store) GroupsOf(ctx context.Context, member envelope.AgentID) ([]envelope.AgentID, error) {
	ids, err := s.Known()
	if err != nil {
		return nil, err
	}
	var groups []envelope.AgentID
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if is, err := s.isGroup(id); err != nil {
			return nil, err
		} else if !is {
			continue
		}
		chain, err := s.readChain(id)
		if err != nil {
			return nil, err
		}
		lost, err := s.Lost(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, d := range append(chain, lost...) {
			if _, ok := d.Member(member); ok {
				groups = append(groups, id)
				break
			}
		}
	}
	return groups, nil
}

// IdentitiesFor returns what opens content sealed for me: my own identities,
// older ones included, and those of all epochs that I can open of the groups
// that I am in, directly or through other groups. docs finds the groups'
// documents, with attachments.
//
// Groups that can't be opened are left out and named in the error, which comes
// beside the identities of the others.
func IdentitiesFor(ctx context.Context, me *Secrets, docs envelope.Documents, groupsOf GroupsOf) ([]envelope.Identity, error) {
	identities := me.Identities()
	var problems []error
	opened := map[string]bool{} // the identities
	queue := []envelope.AgentID{me.agent}
	for looked := 0; len(queue) > 0; {
		member := queue[0]
		queue = queue[1:]
		groups, err := groupsOf(ctx, member)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, group := range groups {
			if looked++; looked > maxGroups {
				problems = append(problems, envelope.Errorf(envelope.Full, "more than %d groups: the rest are passed over", maxGroups))
				return identities, errors.Join(problems...)
			}
			if err := ctx.Err(); err != nil {
				return identities, err
			}
			secrets, err := openGroup(ctx, docs, group, identities)
			if err != nil {
				problems = append(problems, err)
			}
			// A group that is reached again may open further, now that there
			// are more identities.
			before := len(identities)
			for _, s := range secrets {
				for _, id := range s.Identities() {
					if text := identityText(id.Age); !opened[text] {
						opened[text] = true
						identities = append(identities, id)
					}
				}
			}
			if len(identities) > before {
				queue = append(queue, group)
			}
		}
	}
	return identities, errors.Join(problems...)
}

// openGroup returns the secrets of a group's epochs that open, those of versions
// that lost a fork included.
func openGroup(ctx context.Context, docs envelope.Documents, group envelope.AgentID, identities []envelope.Identity) ([]*Secrets, error) {
	chain, err := docs.Chain(ctx, group)
	if err != nil {
		return nil, err
	}
	secrets, err := GroupSecrets(ctx, chain, identities)
	lost, err2 := lostOf(ctx, docs, group)
	if len(lost) == 0 || err2 != nil {
		return secrets, errors.Join(err, err2)
	}
	t := newGroupTree(chain, lost)
	for _, tip := range t.tips() {
		if path := t.path(tip.Hash()); path != nil && tip.Hash() != chain[len(chain)-1].Hash() {
			more, _ := GroupSecrets(ctx, path, identities) // the chain's own are the ones to tell of
			secrets = append(secrets, more...)
		}
	}
	return secrets, err
}

// nested calls f for each group in d, directly or through other groups, once.
// It stops at the first error.
func nested(ctx context.Context, docs envelope.Documents, d *envelope.Document, f func(outer *envelope.Document, m envelope.Member, inner *envelope.Document) error) error {
	seen := map[envelope.AgentID]bool{d.ID(): true}
	queue := []*envelope.Document{d}
	for len(queue) > 0 {
		outer := queue[0]
		queue = queue[1:]
		for _, m := range outer.Group.Members {
			if m.Epoch == 0 {
				continue // not a group
			}
			inner, err := newest(ctx, docs, m.ID)
			if err != nil {
				return err
			}
			if inner.Group == nil {
				return envelope.Errorf(envelope.Corrupt, "group %s lists %s as a group, which it is not", title(outer), title(inner))
			}
			if err := f(outer, m, inner); err != nil {
				return err
			}
			if seen[m.ID] {
				continue // cycles are refused, but two admins can make one together
			}
			if seen[m.ID] = true; len(seen) > maxGroups {
				return envelope.Errorf(envelope.Full, "group %s has more than %d groups in it", title(d), maxGroups)
			}
			queue = append(queue, inner)
		}
	}
	return nil
}

// Contains reports whether an agent is a member of a group, directly or through
// groups in it.
func Contains(ctx context.Context, docs envelope.Documents, group *envelope.Document, agent envelope.AgentID) (bool, error) {
	if group.Group == nil {
		return false, nil
	}
	_, found := group.Member(agent)
	err := nested(ctx, docs, group, func(_ *envelope.Document, _ envelope.Member, inner *envelope.Document) error {
		_, in := inner.Member(agent)
		found = found || in
		return nil
	})
	return found, err
}

// lagsBehind reports whether a group among d's own members has newer keys than
// those that d's are sealed to.
func lagsBehind(ctx context.Context, docs envelope.Documents, d *envelope.Document) (bool, error) {
	for _, m := range d.Group.Members {
		if m.Epoch == 0 {
			continue
		}
		inner, err := newest(ctx, docs, m.ID)
		if err != nil {
			return false, err
		}
		if inner.Group != nil && inner.Group.Epoch > m.Epoch {
			return true, nil
		}
	}
	return false, nil
}

// A Lag is a group that is sealed to an epoch of a group in it which has newer
// keys: whoever was removed from the inner one since still opens the outer one's,
// and who has come to it from now on doesn't open them.
type Lag struct {
	Outer, Inner *envelope.Document
	SealedTo     uint64 // epoch of Inner
}

// Lags returns the lags in d's group and in the groups in it. It looks into each
// group once.
func Lags(ctx context.Context, docs envelope.Documents, d *envelope.Document) ([]Lag, error) {
	var lags []Lag
	err := nested(ctx, docs, d, func(outer *envelope.Document, m envelope.Member, inner *envelope.Document) error {
		if inner.Group.Epoch > m.Epoch {
			lags = append(lags, Lag{outer, inner, m.Epoch})
		}
		return nil
	})
	return lags, err
}

// CheckReader refuses, with an error of kind Conflict, a document that must
// not be sealed for: one older than the newest that docs knows ([ErrOlder]),
// or a group's that has a former member of a nested group among those who open
// its keys. docs finds the newest documents of nested groups.
func CheckReader(ctx context.Context, docs envelope.Documents, d *envelope.Document) error {
	known, err := newest(ctx, docs, d.ID())
	if err != nil && !isNotFound(err) {
		return err
	}
	if err == nil && known.Version > d.Version {
		return envelope.Errorf(envelope.Conflict, "version %d of %s is to be sealed for, but version %d is known: %w",
			d.Version, title(d), known.Version, ErrOlder)
	}
	if d.Group == nil {
		return nil
	}
	lags, err := Lags(ctx, docs, d)
	if err != nil || len(lags) == 0 {
		return err
	}
	lag := &LagError{Lag: lags[0]}
	if lag.left, err = lag.hasLost(ctx, docs); err != nil {
		return err
	}
	return envelope.Errorf(envelope.Conflict, "%w", lag)
}

// A LagError says which group lags behind: an admin of Outer has to make a new
// epoch of it.
type LagError struct {
	Lag
	left bool // somebody has left Inner since
}

func (e *LagError) Error() string {
	text := fmt.Sprintf("group %s is sealed to former keys of %s in it, which has new ones since", title(e.Outer), title(e.Inner))
	if e.left {
		text += ", and who has left it still has those"
	}
	return text
}

// hasLost reports whether somebody who isn't in the inner group any more has the
// keys that the outer one is sealed to.
func (l *Lag) hasLost(ctx context.Context, docs envelope.Documents) (bool, error) {
	chain, err := docs.Chain(ctx, l.Inner.ID())
	if err != nil {
		return false, err
	}
	for _, d := range chain {
		if d.Group == nil || d.Group.Epoch < l.SealedTo {
			continue
		}
		for _, m := range d.Group.Members {
			if _, still := l.Inner.Member(m.ID); !still && m.From <= l.SealedTo {
				return true, nil
			}
		}
	}
	return false, nil
}
