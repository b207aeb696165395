package replica

import (
	"bytes"
	"context"
	"slices"
	"time"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// maxLiveKeys bounds the segment keys of one owner that a sweep holds in
// memory. Of an owner with more headers nothing is swept.
const maxLiveKeys = 1 << 20

// sweep drops segments whose owner has no header with their segment key on any
// successor: a put that never came to its end, or a header that is gone.
func (r *Replica) sweep(ctx context.Context) error {
	var after *envelope.SegmentID
	owners := make(map[envelope.AgentID]map[[32]byte]bool) // nil: unknown, so all count as live
	for {
		page, err := r.Store.Segments(after, batchIDs)
		if err != nil {
			return err
		}
		for _, info := range page {
			if err := r.sweepSegment(ctx, info, owners); err != nil {
				return err
			}
		}
		if len(page) < batchIDs {
			return nil
		}
		after = &page[len(page)-1].ID
	}
}

func (r *Replica) sweepSegment(ctx context.Context, info store.SegmentInfo, owners map[envelope.AgentID]map[[32]byte]bool) error {
	left := len(info.Claims)
	for _, c := range info.Claims {
		if time.Since(c.Arrived) <= r.Grace {
			continue
		}
		live, known := owners[c.Owner]
		if !known {
			if len(owners) >= 16 { // segments of one owner come in runs
				clear(owners)
			}
			live = r.liveKeys(ctx, c.Owner)
			owners[c.Owner] = live
		}
		if live == nil || live[info.ID.Key] {
			continue
		}
		if err := r.Store.DeleteClaim(info.ID, c.Owner); err != nil {
			return err
		}
		left--
	}
	if left > 0 {
		return nil
	}
	r.log.Info("a segment without an envelope is dropped", "index", info.ID.Index)
	return r.Store.DeleteSegment(info.ID)
}

// liveKeys returns the segment keys of all headers of an owner that its
// successors, the nodes behind them and this node keep, or nil if not all of
// them answer. The nodes behind count since successors that have just joined
// may have nothing yet.
func (r *Replica) liveKeys(ctx context.Context, owner envelope.AgentID) map[[32]byte]bool {
	pos := ring.RecordPosition(owner)
	q := r.quorumAt(pos)
	if q.k == 0 {
		return nil
	}
	nodes := append(slices.Clone(q.nodes), r.beyond(pos, q)...)
	if !slices.Contains(nodes, r.Self) {
		nodes = append(nodes, r.Self)
	}
	live := make(map[[32]byte]bool)
	for _, node := range nodes {
		q := wire.LiveKeys{Owner: owner}
		for {
			reply, err := r.askLiveKeys(ctx, node, q)
			if err != nil {
				return nil
			}
			for _, key := range reply.Keys {
				// Ascending, so that no node can keep another busy for ever.
				if len(key) != 32 || len(live) >= maxLiveKeys || bytes.Compare(key, q.After) <= 0 {
					return nil
				}
				live[[32]byte(key)] = true
				q.After = key
			}
			if !reply.More || len(reply.Keys) == 0 {
				break
			}
		}
	}
	return live
}

func (r *Replica) askLiveKeys(ctx context.Context, node envelope.NodeID, q wire.LiveKeys) (reply wire.LiveKeysReply, err error) {
	if node == r.Self {
		return r.liveKeysHere(q)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err = r.call(ctx, node, wire.TypeLiveKeys, &q, nil, &reply)
	return reply, err
}
