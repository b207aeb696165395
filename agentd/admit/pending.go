package admit

import (
	"cmp"
	"net"
	"slices"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

const (
	// pendingTTL is how long a box waits without asking again.
	pendingTTL = 24 * time.Hour
	// maxPending bounds the boxes that wait, and maxPendingFrom those of one
	// host, so that one stranger doesn't keep everyone else from asking.
	maxPending     = 64
	maxPendingFrom = 4
)

// A waiter is one box that waits for the operator.
type waiter struct {
	hash    envelope.Hash
	request *wire.JoinRequest
	from    string // host:port it asked from
	since   time.Time
	last    time.Time
	refused bool
}

// pending is the boxes that wait, by box key. It is in memory only: a box asks
// again until it is answered.
type pending struct {
	waiters map[string]*waiter
}

func newPending() *pending { return &pending{waiters: map[string]*waiter{}} }

// ask notes that a box waits, and returns what to tell it, always an error. A
// newer request of the same box takes the place of the older one.
func (p *pending) ask(hash envelope.Hash, r *wire.JoinRequest, from string, now time.Time) error {
	p.expire(now)
	w := p.waiters[string(r.Key)]
	if w != nil && w.refused {
		return envelope.Errorf(envelope.Denied, "the network's operator has refused the request")
	}
	if w == nil {
		if err := p.room(from); err != nil {
			return err
		}
		w = &waiter{since: now}
		p.waiters[string(r.Key)] = w
	}
	w.hash, w.request, w.from, w.last = hash, r, from, now
	err := envelope.Errorf(envelope.Unavailable, "the request %s waits for the network's operator", hash.Short())
	return envelope.WithHint(err, "there, run l2p admit %s", hash.Short())
}

func (p *pending) room(from string) error {
	same := 0
	for _, w := range p.waiters {
		if hostOf(w.from) == hostOf(from) {
			same++
		}
	}
	if len(p.waiters) >= maxPending || same >= maxPendingFrom {
		return envelope.WithHint(envelope.Errorf(envelope.Full, "too many boxes wait for admission"), "ask the network's operator for a ticket")
	}
	return nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func (p *pending) find(hash envelope.Hash, now time.Time) (*waiter, error) {
	p.expire(now)
	for _, w := range p.waiters {
		if w.hash == hash && !w.refused {
			return w, nil
		}
	}
	return nil, envelope.WithHint(envelope.Errorf(envelope.NotFound, "no request %s waits", hash.Short()), "l2p admit without arguments lists those that do")
}

func (p *pending) forget(boxKey []byte) { delete(p.waiters, string(boxKey)) }

func (p *pending) expire(now time.Time) {
	for key, w := range p.waiters {
		if now.Sub(w.last) > pendingTTL {
			delete(p.waiters, key)
		}
	}
}

func (p *pending) list(now time.Time) []wire.PendingRequest {
	p.expire(now)
	var list []wire.PendingRequest
	for _, w := range p.waiters {
		if !w.refused {
			list = append(list, wire.PendingRequest{Request: w.hash, BoxName: w.request.Name, Box: w.request.Agent, Addr: w.from, Time: w.since.Unix()})
		}
	}
	slices.SortFunc(list, func(a, b wire.PendingRequest) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), compareHash(a.Request, b.Request))
	})
	return list
}
