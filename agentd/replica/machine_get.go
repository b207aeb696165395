package replica

import (
	"l2p/envelope"
)

// A getMachine decides which version a get returns, and which replicas must be
// sent it first. Its events are the replicas' answers, which the caller has
// verified, the results of the writes that it asked for, and the deadline.
type getMachine struct {
	r, w    int
	asked   map[envelope.NodeID]bool             // no answer yet
	has     map[envelope.NodeID]envelope.Version // what those who answered have; zero: nothing
	writing map[envelope.NodeID]bool
	tried   map[envelope.NodeID]envelope.Version // the last version written, or tried to
	order   []envelope.NodeID                    // in which replicas answered
	done    bool
	stale   bool // the answer may be old: fewer than r answers, or fewer than w copies
}

// newGetMachine begins a get from nodes that needs r answers and w copies; if w
// is 0 nothing is written.
func newGetMachine(nodes []envelope.NodeID, r, w int) *getMachine {
	m := &getMachine{
		r: r, w: w,
		asked:   make(map[envelope.NodeID]bool, len(nodes)),
		has:     make(map[envelope.NodeID]envelope.Version, len(nodes)),
		writing: make(map[envelope.NodeID]bool),
		tried:   make(map[envelope.NodeID]envelope.Version),
	}
	for _, n := range nodes {
		m.asked[n] = true
	}
	return m
}

// winner returns the newest version among the answers; zero: nobody has any.
func (m *getMachine) winner() envelope.Version {
	var best envelope.Version
	for _, v := range m.has {
		if v.N != 0 && (best.N == 0 || v.Newer(best)) {
			best = v
		}
	}
	return best
}

// answer takes a replica's answer: the version that it has, zero for none. It
// returns the replicas that must be sent the winner now. Of two answers of one
// replica the first counts.
func (m *getMachine) answer(node envelope.NodeID, v envelope.Version) (write []envelope.NodeID) {
	if !m.asked[node] {
		return nil
	}
	delete(m.asked, node)
	m.has[node] = v
	m.order = append(m.order, node)
	return m.step()
}

// fail says that a replica didn't answer, or that its answer didn't verify.
func (m *getMachine) fail(node envelope.NodeID) (write []envelope.NodeID) {
	if !m.asked[node] {
		return nil
	}
	delete(m.asked, node)
	return m.step()
}

// wrote takes the result of a write that was asked for.
func (m *getMachine) wrote(node envelope.NodeID, v envelope.Version, ok bool) (write []envelope.NodeID) {
	if !m.writing[node] || m.tried[node] != v {
		return nil
	}
	delete(m.writing, node)
	if ok {
		m.has[node] = v
	}
	return m.step()
}

// deadline ends a get that isn't done.
func (m *getMachine) deadline() {
	if !m.done {
		m.done, m.stale = true, true
	}
}

// step decides after each event.
func (m *getMachine) step() (write []envelope.NodeID) {
	if m.done {
		return nil
	}
	if len(m.has) < m.r {
		if len(m.asked) == 0 {
			m.done, m.stale = true, true
		}
		return nil
	}
	winner := m.winner()
	if winner.N == 0 || m.w == 0 {
		m.done = true
		return nil
	}
	copies := 0
	for _, node := range m.order {
		switch {
		case m.has[node] == winner:
			copies++
		case !m.writing[node] && m.tried[node] != winner:
			m.writing[node], m.tried[node] = true, winner
			write = append(write, node)
		}
	}
	if copies >= m.w {
		m.done = true
	} else if len(m.asked) == 0 && len(m.writing) == 0 {
		m.done, m.stale = true, true
	}
	return write
}
