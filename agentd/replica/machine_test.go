package replica

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"l2p/envelope"
)

func testNodes(n int) []envelope.NodeID {
	nodes := make([]envelope.NodeID, n)
	for i := range nodes {
		nodes[i] = envelope.NodeID{byte(i + 1)}
	}
	return nodes
}

var failures = []envelope.ErrorKind{envelope.Conflict, envelope.Full, envelope.Denied, envelope.Unavailable, envelope.Other}

// TestPutMachine plays any conversation: answers in any order, twice, of
// strangers, or never.
func TestPutMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 5).Draw(t, "k")
		w := rapid.IntRange(1, k).Draw(t, "w")
		nodes := testNodes(k)
		m := newPutMachine(nodes, w)
		answered := map[envelope.NodeID]error{}
		stored, conflicts := 0, 0
		for i := range rapid.IntRange(0, 2*k).Draw(t, "events") {
			node := rapid.SampledFrom(append(slices.Clone(nodes), envelope.NodeID{99})).Draw(t, fmt.Sprint("node ", i))
			var err error
			if kind := rapid.IntRange(-3, len(failures)-1).Draw(t, fmt.Sprint("answer ", i)); kind >= 0 {
				err = envelope.Errorf(failures[kind], "no")
			}
			before := m.done
			m.answer(putAnswer{node, err})
			if _, twice := answered[node]; !twice && node != (envelope.NodeID{99}) {
				answered[node] = err
				if err == nil {
					stored++
				} else if envelope.KindOf(err) == envelope.Conflict {
					conflicts++
				}
			}
			if before {
				continue // decided already: nothing may change but the count
			}
			success, hopeless := stored >= w, stored+k-len(answered) < w
			if m.done != (success || hopeless) {
				t.Fatalf("%d of %d stored, %d answered, w=%d: done is %v", stored, k, len(answered), w, m.done)
			}
			if m.done && (m.err == nil) != success {
				t.Fatalf("%d stored of w=%d: error %v", stored, w, m.err)
			}
			if m.done && k-conflicts < w && envelope.KindOf(m.err) != envelope.Conflict {
				t.Fatalf("%d conflicts of %d, w=%d: error %v", conflicts, k, w, m.err)
			}
		}
		if m.stored != stored {
			t.Fatalf("counted %d copies, there are %d", m.stored, stored)
		}
		if !m.done {
			m.deadline()
			if envelope.KindOf(m.err) != envelope.NotDurable || !m.done {
				t.Fatalf("after the deadline: done %v, %v", m.done, m.err)
			}
		}
	})
}

// TestGetMachine plays a get against a model of replicas that hold versions of
// a chain, lose messages, and answer in any order.
func TestGetMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 5).Draw(t, "k")
		r, w := rapid.IntRange(1, k).Draw(t, "r"), rapid.IntRange(1, k).Draw(t, "w")
		nodes := testNodes(k)
		kept := map[envelope.NodeID]envelope.Version{} // what each replica has on disk
		for _, n := range nodes {
			if v := rapid.Uint64Range(0, 3).Draw(t, "kept"); v > 0 {
				kept[n] = envelope.Version{N: v, Hash: envelope.Hash{byte(rapid.IntRange(1, 2).Draw(t, "fork"))}}
			}
		}
		type event struct {
			node  envelope.NodeID
			write envelope.Version // zero: the answer to the question
			twice bool
		}
		var events []event
		for _, n := range nodes {
			events = append(events, event{node: n, twice: rapid.Bool().Draw(t, "twice")})
		}
		m := newGetMachine(nodes, r, w)
		answers := map[envelope.NodeID]bool{}
		var seen []envelope.Version
		for step := 0; len(events) > 0 && !m.done; step++ {
			if step > 10*k*k {
				t.Fatal("the machine doesn't come to an end")
			}
			i := rapid.IntRange(0, len(events)-1).Draw(t, "next")
			e := events[i]
			events = slices.Delete(events, i, i+1)
			works := rapid.IntRange(0, 3).Draw(t, "works") > 0
			var write []envelope.NodeID
			switch {
			case e.write.N != 0:
				if works {
					kept[e.node] = e.write
				}
				write = m.wrote(e.node, e.write, works)
			case works:
				answers[e.node] = true
				seen = append(seen, kept[e.node])
				write = m.answer(e.node, kept[e.node])
				if e.twice {
					write = append(write, m.answer(e.node, envelope.Version{N: 9})...)
				}
			default:
				write = m.fail(e.node)
			}
			for _, n := range write {
				if !answers[n] {
					t.Fatalf("%v is written to and didn't answer", n)
				}
				if kept[n] == m.winner() {
					t.Fatalf("%v is sent what it has", n)
				}
				events = append(events, event{node: n, write: m.winner()})
			}
		}
		if !m.done {
			t.Fatal("everything has happened and the machine isn't done")
		}
		var best envelope.Version
		for _, v := range seen {
			if v.N != 0 && (best.N == 0 || v.Newer(best)) {
				best = v
			}
		}
		if m.winner() != best {
			t.Fatalf("the winner is %v, the newest answer %v", m.winner(), best)
		}
		if m.stale {
			return
		}
		if len(answers) < r {
			t.Fatalf("not stale, with %d answers of %d", len(answers), r)
		}
		copies := 0
		for _, v := range kept {
			if v == best {
				copies++
			}
		}
		if best.N != 0 && copies < w {
			t.Fatalf("not stale, with %d copies of %d", copies, w)
		}
	})
}

func TestGetMachineDeadline(t *testing.T) {
	t.Parallel()
	nodes := testNodes(3)
	m := newGetMachine(nodes, 2, 2)
	v := envelope.Version{N: 1, Hash: envelope.Hash{1}}
	if write := m.answer(nodes[0], v); write != nil || m.done {
		t.Fatalf("after one answer: writes %v, done %v", write, m.done)
	}
	m.deadline()
	if !m.done || !m.stale || m.winner() != v {
		t.Errorf("after the deadline: done %v, stale %v, winner %v", m.done, m.stale, m.winner())
	}
}

// TestReadsSeeAcknowledgedPuts joins both machines: whatever w replicas
// acknowledged, any r answers show, as long as r + w > k.
func TestReadsSeeAcknowledgedPuts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const k, w, r = 3, 2, 2
		nodes := testNodes(k)
		kept := map[envelope.NodeID]envelope.Version{}
		v := envelope.Version{N: 1, Hash: envelope.Hash{1}}
		p := newPutMachine(nodes, w)
		for _, n := range rapid.Permutation(nodes).Draw(t, "put order") {
			if rapid.Bool().Draw(t, "reached") {
				kept[n] = v
				p.answer(putAnswer{n, nil})
			} else {
				p.answer(putAnswer{n, envelope.Errorf(envelope.Unavailable, "lost")})
			}
		}
		g := newGetMachine(nodes, r, w)
		for _, n := range rapid.Permutation(nodes).Draw(t, "get order") {
			if rapid.IntRange(0, 2).Draw(t, "answers") == 0 {
				g.fail(n)
				continue
			}
			for _, n := range g.answer(n, kept[n]) {
				kept[n] = g.winner()
				g.wrote(n, g.winner(), true)
			}
		}
		if p.err == nil && !g.stale && g.winner() != v {
			t.Fatalf("an acknowledged put is not seen, and the get doesn't say that it may be stale")
		}
	})
}
