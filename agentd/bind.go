package agentd

import (
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// bind gives a name of the box's namespace to an agent, or takes it back, by a
// record that continues the newest on the ring.
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
	if newest != nil {
		meant := newest.Binding.Agent
		switch {
		case meant == b.Agent:
			return nil
		case !meant.IsZero() && !b.Agent.IsZero() && !b.Replace:
			return envelope.WithHint(
				envelope.Errorf(envelope.Conflict, "%+q means agent %s already", b.Name, meant.Short()),
				"choose another name, or replace the binding: whoever knows the name will be warned")
		}
		next.Version, next.Parent = newest.Version.N+1, newest.Version.Hash
	} else if b.Agent.IsZero() {
		return envelope.Errorf(envelope.NotFound, "nobody is called %+q here", b.Name)
	}
	if !b.Agent.IsZero() {
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
