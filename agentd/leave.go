package agentd

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// tellTimeout bounds how long the others are told that a box goes.
const tellTimeout = 5 * time.Second

// leave takes the box out of its network: its data go to the other nodes, its
// certificate is revoked, and its keys stay for another time.
func (a *Agentd) leave(ctx context.Context) error {
	if err := a.changing.acquire(ctx); err != nil {
		return err
	}
	defer a.changing.release()
	n := a.network()
	if n == nil {
		return errNoNetwork()
	}
	if err := n.mayLeave(); err != nil {
		return err
	}
	return a.quit(ctx, n)
}

// mayLeave refuses where the network would be left without its root key.
func (n *network) mayLeave() error {
	if n.issuer == nil || len(n.roster.Boxes()) == 1 {
		return nil
	}
	return envelope.WithHint(
		envelope.Errorf(envelope.Conflict, "this box holds the root key of %s, which has %d other boxes", n.id, len(n.roster.Boxes())-1),
		"without it nobody could be admitted: let the others leave first")
}

// quit leaves. Whoever calls it has the turn. Where it fails half way it can be
// called again.
func (a *Agentd) quit(ctx context.Context, n *network) error {
	if n.takesPart(a.self) {
		if len(n.others()) > 0 {
			if err := n.replica.Drain(ctx); err != nil {
				return err
			}
		}
		if _, err := n.roster.Leave(a.box.key, time.Now()); err != nil {
			return err
		}
	}
	if others := len(n.others()); others > 0 && n.tellRevocations(ctx, nil) == 0 {
		return envelope.WithHint(
			envelope.Errorf(envelope.Unavailable, "none of the %d other nodes could be told that this box leaves", others),
			"try again when one is up")
	}
	a.pause()
	for _, name := range []string{fileRoster, fileGossipKey, filePeers} {
		if err := a.state.remove(name); err != nil {
			return err
		}
	}
	a.log.Info("left the network", "network", n.id)
	return nil
}

// tellRevocations passes on all revocations, and with them a gossip key unless
// it is nil, and returns how many nodes know of them now. A node that refuses to
// talk to this box knows that this box goes.
func (n *network) tellRevocations(ctx context.Context, key []byte) int {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	revocations := slices.DeleteFunc(n.roster.Statements(), func(s wire.Statement) bool { return s.Kind != wire.StatementRevocation })
	var told atomic.Int64
	var all sync.WaitGroup
	for _, id := range n.others() {
		all.Go(func() {
			err := n.give(ctx, id, revocations, key)
			if err == nil || envelope.KindOf(err) == envelope.Denied {
				told.Add(1)
			} else {
				n.node.log.Debug("a node doesn't know yet who goes", "node", id, "err", err)
			}
		})
	}
	all.Wait()
	return int(told.Load())
}
