package main

import (
	"bytes"
	"slices"
	"time"

	"l2p/envelope"
)

// maxUnlocked is the longest time that keys can stay unlocked.
const maxUnlocked = 7 * 24 * time.Hour

// A vault holds unlocked secrets in memory until they expire. It decides, and
// does no I/O: its clock is given.
type vault struct {
	now  func() instant
	kept map[envelope.AgentID]*keptSecret
	used bool // something has been kept
}

// An instant is a moment by two clocks. Keys expire when either says so: the
// one on the wall may be set back, and the other may stand still while the
// machine sleeps.
type instant struct {
	wall    time.Time     // without Go's monotonic reading
	elapsed time.Duration // since some moment, never less than before
}

type keptSecret struct {
	plain []byte // of newLockedMemory
	stamp envelope.Hash
	until instant
}

func newVault(now func() instant) vault {
	return vault{now: now, kept: make(map[envelope.AgentID]*keptSecret)}
}

// keep takes over an agent's secrets, instead of those that are there, and returns
// until when.
func (v *vault) keep(id envelope.AgentID, stamp envelope.Hash, plain []byte, lasts time.Duration) time.Time {
	v.drop(id)
	at := v.now()
	until := instant{at.wall.Add(lasts), at.elapsed + lasts}
	v.kept[id] = &keptSecret{plain, stamp, until}
	v.used = true
	return until.wall
}

// give returns a copy of an agent's secrets and until when they are kept, or nil
// if there are none that haven't expired. Those with another stamp are out of date
// and forgotten.
func (v *vault) give(id envelope.AgentID, stamp envelope.Hash) ([]byte, time.Time) {
	v.expire()
	k := v.kept[id]
	if k == nil {
		return nil, time.Time{}
	}
	if k.stamp != stamp {
		v.drop(id)
		return nil, time.Time{}
	}
	return bytes.Clone(k.plain), k.until.wall
}

// expire forgets what has expired.
func (v *vault) expire() {
	at := v.now()
	for id, k := range v.kept {
		if !at.wall.Before(k.until.wall) || at.elapsed >= k.until.elapsed {
			v.drop(id)
		}
	}
}

// drop forgets the secrets of some agents, or of all if none is named, and
// returns how many there were.
func (v *vault) drop(ids ...envelope.AgentID) int {
	n := 0
	for id, k := range v.kept {
		if len(ids) == 0 || slices.Contains(ids, id) {
			freeLockedMemory(k.plain)
			delete(v.kept, id)
			n++
		}
	}
	return n
}

// dropIf forgets the secrets of an agent that have this stamp.
func (v *vault) dropIf(id envelope.AgentID, stamp envelope.Hash) {
	if k := v.kept[id]; k != nil && k.stamp == stamp {
		v.drop(id)
	}
}

// stamps returns the stamps of what is kept.
func (v *vault) stamps() map[envelope.AgentID]envelope.Hash {
	stamps := make(map[envelope.AgentID]envelope.Hash)
	for id, k := range v.kept {
		stamps[id] = k.stamp
	}
	return stamps
}

// list returns what is kept, the first to expire first.
func (v *vault) list() []keptAgent {
	v.expire()
	var list []keptAgent
	for id, k := range v.kept {
		list = append(list, keptAgent{id, k.until.wall.UnixMilli()})
	}
	slices.SortFunc(list, func(a, b keptAgent) int {
		if a.Until != b.Until {
			return int(a.Until - b.Until)
		}
		return bytes.Compare(a.Agent[:], b.Agent[:])
	})
	return list
}

// next returns how much is kept and how long to wait before looking again: until
// the next expires, but at most most.
func (v *vault) next(most time.Duration) (int, time.Duration) {
	v.expire()
	at := v.now()
	for _, k := range v.kept {
		most = min(most, k.until.wall.Sub(at.wall), k.until.elapsed-at.elapsed)
	}
	return len(v.kept), most
}
