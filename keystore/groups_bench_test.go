package keystore

import (
	"os"
	"strconv"
	"testing"

	"l2p/envelope"
)

// A crowd is a store that knows very many agents, the first of whom is the
// admin of a group of all but the last.
type crowd struct {
	store  *Store
	agents []*Secrets
	admin  *Secrets
	last   *Secrets // no member
	group  envelope.AgentID
}

// newCrowd makes a group of n members. The agents' files are written without
// the store, which syncs each.
func newCrowd(t testing.TB, n int) *crowd {
	t.Helper()
	c := &crowd{store: testStore(t)}
	w := newWorld()
	for range n + 1 {
		a := w.agent(t, envelope.User, "", false)
		c.agents = append(c.agents, a)
		dir := c.store.path(documentsDir, a.agent.String())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+strconv.Itoa(1), w.newest(t, a.agent).Signed().Encode(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.admin, c.last = c.agents[0], c.agents[n]
	d, err := CreateGroup(t.Context(), c.admin, c.store, GroupOptions{Members: ids(c.agents[:n]...)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store.AddDocuments(t.Context(), []*envelope.Document{d}); err != nil {
		t.Fatal(err)
	}
	c.group = d.ID()
	return c
}

// change makes a change and keeps it, as `l2p group` does.
func (c *crowd) change(t testing.TB, change GroupChange) *envelope.Document {
	t.Helper()
	d, err := ChangeGroup(t.Context(), c.admin, c.admin.Identities(), c.store, c.group, change)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store.AddDocuments(t.Context(), []*envelope.Document{d}); err != nil {
		t.Fatal(err)
	}
	return d
}

// benchmarkChange measures one change, and with b.N of them what the group's
// growing history costs.
func benchmarkChange(b *testing.B, n int, measured, undo func(c *crowd) GroupChange) {
	c := newCrowd(b, n)
	for b.Loop() {
		c.change(b, measured(c))
		b.StopTimer()
		c.change(b, undo(c))
		b.StartTimer()
	}
}

func addLast(c *crowd) GroupChange    { return GroupChange{Add: ids(c.last)} }
func removeLast(c *crowd) GroupChange { return GroupChange{Remove: ids(c.last)} }
func removeOne(c *crowd) GroupChange  { return GroupChange{Remove: ids(c.agents[1])} }
func addOne(c *crowd) GroupChange     { return GroupChange{Add: ids(c.agents[1])} }

func BenchmarkGroupAdd1000(b *testing.B)     { benchmarkChange(b, 1_000, addLast, removeLast) }
func BenchmarkGroupRemove1000(b *testing.B)  { benchmarkChange(b, 1_000, removeOne, addOne) }
func BenchmarkGroupAdd10000(b *testing.B)    { benchmarkChange(b, 9_998, addLast, removeLast) }
func BenchmarkGroupRemove10000(b *testing.B) { benchmarkChange(b, 9_998, removeOne, addOne) }

// BenchmarkGroupOpen10000 opens the keys of a group as its last member.
func BenchmarkGroupOpen10000(b *testing.B) {
	c := newCrowd(b, 10_000)
	chain, err := c.store.Chain(b.Context(), c.group)
	if err != nil {
		b.Fatal(err)
	}
	member := c.agents[9_999]
	for b.Loop() {
		if secrets, err := GroupSecrets(b.Context(), chain, member.Identities()); len(secrets) != 1 {
			b.Fatal(err)
		}
	}
}
