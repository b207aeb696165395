package netq

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"l2p/envelope"
)

// Memory that requests and large replies may hold at one time, in bytes. A
// node's requests and a client's draw on different budgets: a client's request
// waits for other nodes, so it must not be able to keep theirs waiting.
const (
	nodeBudget     = 32 << 20
	clientBudget   = 32 << 20
	strangerBudget = 4 << 20
	connShare      = 26 << 20 // of which one connection may hold: one greatest record
	requestCost    = 4 << 10  // of a request without its parts
)

// budgets are an endpoint's.
type budgets struct {
	node, client, stranger *semaphore.Weighted
}

func newBudgets() budgets {
	return budgets{
		node:     semaphore.NewWeighted(nodeBudget),
		client:   semaphore.NewWeighted(clientBudget),
		stranger: semaphore.NewWeighted(strangerBudget),
	}
}

// A share is what one request holds of its connection's share and of a budget.
type share struct {
	conn  *semaphore.Weighted
	total *semaphore.Weighted
	limit int64 // of total
	n     int64
}

func (b *budgets) share(c *Conn) share {
	switch c.proto {
	case ProtoNode:
		return share{conn: c.share, total: b.node, limit: nodeBudget}
	case ProtoClient:
		return share{conn: c.share, total: b.client, limit: clientBudget}
	}
	return share{conn: c.share, total: b.stranger, limit: strangerBudget}
}

// take makes the share hold at least n bytes, or the most that one request may,
// and waits for them until ctx ends, at most requestTimeout. To get more it
// gives back first what it holds, so that two who want more never wait for
// each other.
func (s *share) take(ctx context.Context, n int64) error {
	n = min(n, connShare, s.limit)
	if n <= s.n {
		return nil
	}
	s.release()
	if s.conn.TryAcquire(n) {
		if s.total.TryAcquire(n) {
			s.n = n
			return nil
		}
		s.conn.Release(n)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if s.conn.Acquire(ctx, n) != nil {
		return errNoMemory
	}
	if s.total.Acquire(ctx, n) != nil {
		s.conn.Release(n)
		return errNoMemory
	}
	s.n = n
	return nil
}

// release gives everything back.
func (s *share) release() {
	if s.n > 0 { // also in a share that never held anything
		s.total.Release(s.n)
		s.conn.Release(s.n)
		s.n = 0
	}
}

var errNoMemory = &envelope.Error{
	Kind: envelope.Unavailable,
	Text: "the node has too many requests under way",
	Hint: "try again later",
}

// within returns the time by which n bytes must have moved.
func within(base time.Duration, n int) time.Time {
	return time.Now().Add(base + time.Duration(n)*time.Second/slowestRate)
}
