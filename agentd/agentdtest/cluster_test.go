package agentdtest

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq"
)

// A ledger knows what was acknowledged.
type ledger struct {
	c      *Cluster
	author *Author
	acked  map[string]Put
	// headers were acknowledged without their segments.
	headers []Put
}

func newLedger(t *testing.T, c *Cluster, at int) *ledger {
	t.Helper()
	l := &ledger{c: c, author: NewAuthor(t), acked: map[string]Put{}}
	c.must(at, "publish the author", l.author.Publish)
	return l
}

// put writes the next version of an envelope at node i.
func (l *ledger) put(i int, name string, size int) error {
	data := bytes.Repeat([]byte(name+" "), size/(len(name)+1)+1)[:size]
	data = append(data, fmt.Sprint(l.acked[name].Version.N+1)...)
	return l.c.Do(i, func(ctx context.Context, client *netq.Client) error {
		put, err := l.author.Put(ctx, client, name, l.acked[name].Version, data)
		if err == nil {
			l.acked[name] = put
		}
		return err
	})
}

func (l *ledger) mustPut(i int, name string, size int) {
	l.c.t.Helper()
	if err := l.put(i, name, size); err != nil {
		l.c.t.Fatalf("put of %s at box %d: %v", name, i, err)
	}
}

// check reads everything that was acknowledged at node i.
func (l *ledger) check(i int) {
	l.c.t.Helper()
	l.c.must(i, "read back", func(ctx context.Context, client *netq.Client) error {
		for name, want := range l.acked {
			got, reply, err := l.author.Get(ctx, client, name)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", name, err)
			case got.Version != want.Version || !bytes.Equal(got.Data, want.Data):
				return fmt.Errorf("%s: version %d came back, %d was acknowledged", name, got.Version.N, want.Version.N)
			case reply.Stale:
				return fmt.Errorf("%s: said to be stale, though the nodes are up", name)
			}
		}
		for _, want := range l.headers {
			ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: want.Owner, Name: want.Name}
			data, _, err := client.GetRecord(ctx, ref, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", want.Name, err)
			}
			if r, err := envelope.ParseRecord(ref.Kind, data); err != nil || r.Version != want.Version {
				return fmt.Errorf("%s: another version came back (%v)", want.Name, err)
			}
		}
		return nil
	})
}

func TestFiveBoxes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := New(t, 5)
		l := newLedger(t, c, 0)
		for i := range 5 {
			l.mustPut(i, fmt.Sprintf("course-%d", i), 1000*i)
		}
		l.mustPut(1, "large", 3<<20)
		l.check(4)

		c.Crash(1)
		for i := range 3 {
			l.mustPut(2, fmt.Sprintf("while-1-is-down-%d", i), 100)
		}
		l.mustPut(3, "course-0", 5000)
		l.check(0)
		c.Restart(1)
		c.Settle()
		l.check(1)

		c.Partition([]int{0, 1}, []int{2, 3, 4})
		l.putOnBothSides(0, 4)
		c.Heal()
		c.Settle()
		l.mustPut(0, "course-1", 77)
		for i := range 5 {
			l.check(i)
		}
		t.Logf("%v of cluster life", time.Since(began))
	})
}

// putOnBothSides puts at nodes of two parts of a cut network. An author's
// records have three successors: where there are two of them a put is
// acknowledged and a read is sure, and on the other side neither is.
func (l *ledger) putOnBothSides(a, b int) {
	l.c.t.Helper()
	acknowledged := 0
	for _, i := range []int{a, b} {
		began := time.Now()
		err := l.c.Do(i, func(ctx context.Context, client *netq.Client) error {
			put, err := l.author.PutHeader(ctx, client, fmt.Sprintf("during-the-cut-%d", i))
			if err == nil {
				l.headers = append(l.headers, put)
			}
			return err
		})
		if took := time.Since(began); took > 20*time.Second {
			l.c.t.Errorf("the put at box %d took %v", i, took)
		}
		if err == nil {
			acknowledged++
			l.readDuringCut(i, false)
		} else {
			if k := envelope.KindOf(err); k != envelope.NotDurable && k != envelope.Unavailable {
				l.c.t.Errorf("put at box %d in the minority: %v, want kind %d", i, err, envelope.NotDurable)
			}
			l.c.t.Logf("the put at box %d, after %v: %v", i, time.Since(began), err)
			l.readDuringCut(i, true)
		}
	}
	if acknowledged != 1 {
		l.c.t.Errorf("puts were acknowledged on %d sides of a cut, want 1", acknowledged)
	}
}

// readDuringCut reads "course-0" at node i.
func (l *ledger) readDuringCut(i int, minority bool) {
	l.c.t.Helper()
	ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: l.author.Agent(), Name: "course-0"}
	l.c.must(i, "read during the cut", func(ctx context.Context, client *netq.Client) error {
		began := time.Now()
		data, reply, err := client.GetRecord(ctx, ref, 0)
		if took := time.Since(began); took > 10*time.Second {
			return fmt.Errorf("it took %v", took)
		}
		if minority && err != nil {
			if k := envelope.KindOf(err); k == envelope.NotFound || k == envelope.Unavailable {
				return nil // no replica on this side
			}
			return err
		}
		if err != nil {
			return err
		}
		if reply.Stale == minority {
			return nil
		}
		return fmt.Errorf("stale is %t of %d bytes, minority %t", reply.Stale, len(data), minority)
	})
}
