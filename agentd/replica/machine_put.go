package replica

import (
	"l2p/envelope"
)

// A putMachine decides when a put has succeeded or failed. Its events are the
// replicas' answers, in any order, and the deadline.
type putMachine struct {
	w       int
	waiting map[envelope.NodeID]bool
	stored  int
	failed  map[envelope.ErrorKind]int
	failure map[envelope.ErrorKind]error // one example of each kind
	// unreachable have failed in a way that leaves hope for later.
	unreachable map[envelope.NodeID]bool
	done        bool
	err         error
}

// newPutMachine begins a put to nodes that needs w of them.
func newPutMachine(nodes []envelope.NodeID, w int) *putMachine {
	m := &putMachine{
		w:       w,
		waiting: make(map[envelope.NodeID]bool, len(nodes)),
		failed:  make(map[envelope.ErrorKind]int),
		failure: make(map[envelope.ErrorKind]error),

		unreachable: make(map[envelope.NodeID]bool),
	}
	for _, n := range nodes {
		m.waiting[n] = true
	}
	return m
}

// A putAnswer says that a replica has the data on disk, or why it hasn't.
type putAnswer struct {
	node envelope.NodeID
	err  error
}

// answer takes a replica's answer; a second one of the same replica, and one of
// a node that wasn't asked, counts for nothing.
func (m *putMachine) answer(a putAnswer) {
	if !m.waiting[a.node] {
		return
	}
	delete(m.waiting, a.node)
	if a.err == nil {
		m.stored++
	} else {
		kind := envelope.KindOf(a.err)
		m.failed[kind]++
		if mayRecover(a.err) {
			m.unreachable[a.node] = true
		}
		if m.failure[kind] == nil {
			m.failure[kind] = a.err
		}
	}
	if m.done {
		return
	}
	if m.stored >= m.w {
		m.done = true
		return
	}
	m.checkHopeless()
}

// mayRecover reports whether a node that failed so may take the same later.
func mayRecover(err error) bool {
	kind := envelope.KindOf(err)
	return err != nil && (kind == envelope.Unavailable || kind == envelope.Full || kind == envelope.Other)
}

// checkHopeless fails the put when w can't be reached any more.
func (m *putMachine) checkHopeless() {
	k := len(m.waiting) + m.stored
	for _, n := range m.failed {
		k += n
	}
	for kind, n := range m.failed {
		// All of one mind, and too many: that is the answer. A replica that
		// could not be reached has no mind.
		if kind != envelope.Unavailable && kind != envelope.Other && k-n < m.w {
			m.done, m.err = true, m.failure[kind]
			return
		}
	}
	if m.stored+len(m.waiting) < m.w {
		m.giveUp()
	}
}

// deadline ends a put that isn't done.
func (m *putMachine) deadline() {
	if !m.done {
		m.giveUp()
	}
}

func (m *putMachine) giveUp() {
	m.done = true
	m.err = envelope.WithHint(
		envelope.Errorf(envelope.NotDurable, "not durable: on disk on %d of at least %d nodes%s", m.stored, m.w, m.reasons()),
		"put it again when more nodes are up (l2p status)")
}

// reasons says why replicas refused, if any did.
func (m *putMachine) reasons() string {
	for _, kind := range []envelope.ErrorKind{envelope.Full, envelope.Conflict, envelope.Denied, envelope.Corrupt, envelope.Unavailable} {
		if err := m.failure[kind]; err != nil {
			return " (" + envelope.SafeText(err.Error()) + ")"
		}
	}
	return ""
}
