package agentd

import (
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// bind gives a name of the box's namespace to an agent, takes it back, or
// revokes whom it means, by a record that continues the newest on the ring.
func (a *Agentd) bind(ctx context.Context, n *network, b *wire.Bind) error {
	if err := envelope.CheckLocalName(b.Name); err != nil {
		return err
	}
	ref := envelope.Ref{Kind: envelope.KindBinding, Owner: a.box.Agent(), Name: b.Name}
	newest, err := n.newest(ctx, ref)
	if err != nil && envelope.KindOf(err) != envelope.NotFound {
		return err
	}
	next := &envelope.Binding{Format: 1, Box: ref.Owner, Name: b.Name, Version: 1, Time: time.Now().UnixMilli(), Agent: b.Agent}
	if newest == nil {
		if b.Agent.IsZero() || b.Revoke {
			return envelope.Errorf(envelope.NotFound, "nobody is called %+q here", b.Name)
		}
	} else if changes, err := follow(newest, next, b); !changes {
		return err
	}
	if !b.Agent.IsZero() && !b.Revoke {
		if _, err := n.document(ctx, b.Agent); err != nil {
			return err
		}
	}
	signed, err := envelope.SignBinding(next, a.box)
	if err != nil {
		return err
	}
	return n.publish(ctx, envelope.KindBinding, signed)
}

// follow makes next the binding after newest that b asks for. It reports false
// where b changes nothing, or may not.
func follow(newest *envelope.Record, next *envelope.Binding, b *wire.Bind) (changes bool, err error) {
	have := newest.Binding
	next.Version, next.Parent = newest.Version.N+1, newest.Version.Hash
	if b.Revoke {
		switch {
		case have.Agent.IsZero():
			return false, envelope.Errorf(envelope.NotFound, "%+q means nobody any more", b.Name)
		case !b.Agent.IsZero() && b.Agent != have.Agent:
			return false, envelope.Errorf(envelope.Conflict, "%+q means agent %s, not the one to revoke", b.Name, have.Agent.Short())
		}
		next.Agent, next.Revoked = have.Agent, true
	}
	if next.Agent == have.Agent {
		return next.Revoked != have.Revoked, nil
	}
	if !have.Agent.IsZero() && !next.Agent.IsZero() && !b.Replace {
		return false, envelope.WithHint(
			envelope.Errorf(envelope.Conflict, "%+q means agent %s already", b.Name, have.Agent.Short()),
			"choose another name, or replace the binding: whoever knows the name will be warned")
	}
	return true, nil
}
