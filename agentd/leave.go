package agentd

import (
	"context"
	"sync"
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

// quit leaves. Whoever calls it has the turn.
func (a *Agentd) quit(ctx context.Context, n *network) error {
	if n.takesPart(a.self) { // else it was expelled, and nobody listens
		if len(n.others()) > 0 {
			if err := n.replica.Drain(ctx); err != nil {
				return err
			}
		}
		revoked, err := n.roster.Leave(a.box.key, time.Now())
		if err != nil {
			return err
		}
		n.tell(ctx, revoked)
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

// tell passes statements on to all other nodes that answer.
func (n *network) tell(ctx context.Context, statements []wire.Statement) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, id := range n.others() {
		all.Go(func() {
			request := wire.RosterRequest{Have: n.roster.Hashes(), Statements: statements}
			if _, err := n.call(ctx, id, wire.TypeRoster, request, nil, nil); err != nil {
				n.node.log.Debug("a node doesn't know yet that this box goes", "node", id, "err", err)
			}
		})
	}
	all.Wait()
}
