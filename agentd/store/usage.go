package store

import (
	"sync"

	"l2p/envelope"
)

// A usage says how many bytes of segments are kept under each owner's claims.
// It is counted when the store is opened, and not written down: a counter on
// disk would make all puts of one owner wait for each other, and could be wrong.
type usage struct {
	mu    sync.Mutex
	bytes map[envelope.AgentID]uint64
}

// reserve counts n more bytes of owner, unless they would then be more than
// quota; 0: no quota.
func (u *usage) reserve(owner envelope.AgentID, n, quota uint64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	used := u.bytes[owner]
	if quota > 0 && used+n > quota {
		return envelope.WithHint(
			envelope.Errorf(envelope.Full, "%s has %d MiB of segments on this node, which keeps at most %d MiB for one agent", owner, used>>20, quota>>20),
			"ask its operator for a higher --quota-agent, or put less")
	}
	if u.bytes == nil {
		u.bytes = make(map[envelope.AgentID]uint64)
	}
	u.bytes[owner] = used + n
	return nil
}

func (u *usage) add(owner envelope.AgentID, n uint64) { u.reserve(owner, n, 0) }

// free counts n bytes of owner less.
func (u *usage) free(owner envelope.AgentID, n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if left := u.bytes[owner]; left > n {
		u.bytes[owner] = left - n
	} else {
		delete(u.bytes, owner)
	}
}

// Usage returns how many bytes of segments are kept under an owner's claims.
func (s *Store) Usage(owner envelope.AgentID) uint64 {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	return s.usage.bytes[owner]
}
