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
	"l2p/netq/wire"
)

// wantKind fails the test unless err is of the given kind.
func wantKind(t *testing.T, what string, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil || envelope.KindOf(err) != kind {
		t.Errorf("%s: error %v, want kind %d", what, err, kind)
	}
}

func TestRestartWithoutTheBootstrap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 4)
		l := newLedger(t, c, 0)
		for i := range 4 {
			l.mustPut(i, fmt.Sprintf("course-%d", i), 2000)
		}
		// Everybody goes down; the founder, by whom all others joined, stays so.
		for i := range 4 {
			c.Crash(i)
		}
		for i := 1; i < 4; i++ {
			c.Restart(i)
		}
		c.Settle()
		l.mustPut(2, "course-9", 100)
		for i := 1; i < 4; i++ {
			if got := len(c.Status(i).Nodes); got != 4 {
				t.Errorf("box %d knows %d nodes, want 4", i, got)
			}
		}
		c.Restart(0)
		c.Settle()
		for i := range 4 {
			l.check(i)
		}
	})
}

func TestJoiningWithDataMerges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewBoxes(t, 4)
		for i := range 2 {
			c.Init(i)
		}
		for i := 2; i < 4; i++ {
			c.Join(i, 0)
		}
		c.Settle(0, 2, 3)
		ours, theirs := newLedger(t, c, 0), newLedger(t, c, 1)
		ours.mustPut(0, "course", 3000)
		theirs.mustPut(1, "course", 4000)
		theirs.mustPut(1, "large", 2<<20)
		id := c.Status(1).Welcome.Box

		c.Join(1, 0)
		c.Settle()
		if got := c.Status(1).Welcome; got.Box != id || got.Network != c.Status(0).Welcome.Network {
			t.Errorf("box 1 is %s of %s after joining", got.Box, got.Network)
		}
		time.Sleep(time.Minute) // reconciling
		for i := range 4 {
			ours.check(i)
			theirs.check(i)
		}
		c.Crash(1) // who brought the data is gone: the others have it
		theirs.check(3)
	})
}

func TestWhoMayJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewBoxes(t, 4)
		c.Init(0)
		ticket := c.Ticket(1, 0)
		join := func(i int, j wire.Join) (r wire.JoinReply, err error) {
			err = c.Do(i, func(ctx context.Context, client *netq.Client) error {
				r, err = client.Join(ctx, j)
				return err
			})
			return r, err
		}
		_, err := join(2, wire.Join{Ticket: ticket, BoxName: c.Name(2)})
		wantKind(t, "another's ticket under one's own name", err, envelope.Usage)
		_, err = join(1, wire.Join{Ticket: ticket})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := join(1, wire.Join{Ticket: ticket}); err != nil || r.Boxes != 2 {
			t.Errorf("joining again: %+v, %v", r, err)
		}
		_, err = join(2, wire.Join{Ticket: ticket})
		wantKind(t, "a ticket that was used", err, envelope.Conflict) // its name is taken now
		wantKind(t, "a box's second init", c.Do(1, func(ctx context.Context, client *netq.Client) error {
			return client.Init(ctx, "other")
		}), envelope.Conflict)
		wantKind(t, "an invitation of a box that isn't the founder", c.Do(1, func(ctx context.Context, client *netq.Client) error {
			_, err := client.Invite(ctx, wire.Invite{BoxName: "x", TTL: 60})
			return err
		}), envelope.Denied)

		// By address: look, ask, wait, be admitted.
		var at wire.LookAtReply
		c.must(2, "look at", func(ctx context.Context, client *netq.Client) (err error) {
			at, err = client.LookAt(ctx, c.Addr(0))
			return err
		})
		if at.BoxName != c.Name(0) || at.Network != c.Status(0).Welcome.Network {
			t.Errorf("looked at %+v", at)
		}
		ask := wire.Join{Addr: c.Addr(0), Network: at.Network, BoxName: c.Name(2)}
		wrong := ask
		wrong.Network[0] ^= 1
		_, err = join(2, wrong)
		wantKind(t, "another network than expected", err, envelope.WrongNetwork)
		taken := ask
		taken.BoxName = c.Name(1)
		_, err = join(2, taken)
		wantKind(t, "a name that is taken", err, envelope.Conflict)
		first, err := join(2, ask)
		if err != nil || !first.Waiting {
			t.Fatalf("asked: %+v, %v", first, err)
		}
		if again, err := join(2, ask); err != nil || again != first {
			t.Errorf("asked again: %+v, %v, want %+v", again, err, first)
		}
		c.must(0, "admit", func(ctx context.Context, client *netq.Client) error {
			pending, err := client.Pending(ctx)
			if err != nil || len(pending) != 1 || pending[0].Request != first.Request {
				return fmt.Errorf("pending %+v, %v", pending, err)
			}
			return client.Admit(ctx, wire.Admit{Request: first.Request})
		})
		if r, err := join(2, ask); err != nil || r.Waiting || r.Boxes != 3 {
			t.Errorf("asked after being admitted: %+v, %v", r, err)
		}
		c.Settle(0, 1, 2)
		// One who asks elsewhere is told where.
		_, err = join(3, wire.Join{Addr: c.Addr(1), Network: at.Network, BoxName: c.Name(3)})
		wantKind(t, "asking a box that isn't the founder", err, envelope.Denied)
		if err != nil && !bytes.Contains([]byte(err.Error()), []byte(c.Addr(0))) {
			t.Errorf("the error %q doesn't name the founder's address %s", err, c.Addr(0))
		}
	})
}

func TestWhoHasLeftGetsNoHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 4)
		l := newLedger(t, c, 3)
		for i := range 4 {
			l.mustPut(i, fmt.Sprintf("course-%d", i), 3000)
		}
		wantKind(t, "the founder goes first", c.Do(0, func(ctx context.Context, client *netq.Client) error {
			return client.Leave(ctx)
		}), envelope.Conflict)

		// Box 3 leaves, and a copy of it comes back that doesn't know.
		before := c.snapshot(3)
		c.must(3, "leave", func(ctx context.Context, client *netq.Client) error { return client.Leave(ctx) })
		if s := c.Status(3); !s.Welcome.Network.IsZero() || len(s.Nodes) != 0 {
			t.Errorf("box 3 is in %s after leaving", s.Welcome.Network)
		}
		c.Settle(0, 1, 2)
		for i := range 3 {
			if got := len(c.Status(i).Nodes); got != 3 {
				t.Errorf("box %d knows %d nodes, want 3", i, got)
			}
			l.check(i)
		}
		c.Stop(3)
		c.boxes[3].state = before
		c.Start(3)
		time.Sleep(2 * time.Minute)
		for _, n := range c.Status(3).Nodes {
			if n.Alive && !n.Self {
				t.Errorf("the box that left sees %s alive", n.BoxName)
			}
		}
		wantKind(t, "a put of a box that left", l.put(3, "course-3", 10), envelope.Denied)
		c.Settle(0, 1, 2)
		l.check(1)
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 3)
		adam, eve := NewAuthor(t), NewAuthor(t)
		c.must(0, "publish", adam.Publish)
		c.must(1, "publish", eve.Publish)
		for _, b := range []struct {
			what string
			bind wire.Bind
			kind envelope.ErrorKind // 0: no error
		}{
			{"malformed", wire.Bind{Name: "Adam!", Agent: adam.Agent()}, envelope.Usage},
			{"nobody's", wire.Bind{Name: "adam"}, envelope.NotFound},
			{"nobody is revoked", wire.Bind{Name: "adam", Revoke: true}, envelope.NotFound},
			{"an agent that nobody knows", wire.Bind{Name: "adam", Agent: envelope.AgentID{1}}, envelope.NotFound},
			{"first", wire.Bind{Name: "adam", Agent: adam.Agent()}, 0}, // version 1
			{"again", wire.Bind{Name: "adam", Agent: adam.Agent()}, 0},
			{"another's", wire.Bind{Name: "adam", Agent: eve.Agent()}, envelope.Conflict},
			{"replaced", wire.Bind{Name: "adam", Agent: eve.Agent(), Replace: true}, 0}, // 2
			{"taken back", wire.Bind{Name: "adam"}, 0},                                  // 3
			{"nobody any more is revoked", wire.Bind{Name: "adam", Revoke: true}, envelope.NotFound},
			{"given anew", wire.Bind{Name: "adam", Agent: adam.Agent()}, 0}, // 4
			{"another is revoked", wire.Bind{Name: "adam", Agent: eve.Agent(), Revoke: true}, envelope.Conflict},
			{"revoked", wire.Bind{Name: "adam", Revoke: true}, 0}, // 5
			{"revoked again", wire.Bind{Name: "adam", Agent: adam.Agent(), Revoke: true}, 0},
			{"revoked, another's", wire.Bind{Name: "adam", Agent: eve.Agent()}, envelope.Conflict},
			{"lifted", wire.Bind{Name: "adam", Agent: adam.Agent()}, 0},                                // 6
			{"revoked once more", wire.Bind{Name: "adam", Agent: adam.Agent(), Revoke: true}, 0},       // 7
			{"revoked and replaced", wire.Bind{Name: "adam", Agent: eve.Agent(), Replace: true}, 0},    // 8
			{"revoked, then taken back", wire.Bind{Name: "adam", Agent: eve.Agent(), Revoke: true}, 0}, // 9
			{"taken back from a revoked", wire.Bind{Name: "adam"}, 0},                                  // 10
		} {
			err := c.Do(1, func(ctx context.Context, client *netq.Client) error { return client.Bind(ctx, b.bind) })
			if (err != nil) != (b.kind != 0) || b.kind != 0 && envelope.KindOf(err) != b.kind {
				t.Errorf("%s: %v, want kind %d", b.what, err, b.kind)
			}
		}
		ref := envelope.Ref{Kind: envelope.KindBinding, Owner: c.Status(1).Welcome.Box, Name: "adam"}
		c.must(2, "resolve", func(ctx context.Context, client *netq.Client) error {
			data, _, err := client.GetRecord(ctx, ref, 0)
			if err != nil {
				return err
			}
			r, err := envelope.ParseRecord(ref.Kind, data)
			if err != nil || !r.Binding.Agent.IsZero() || r.Version.N != 10 {
				return fmt.Errorf("adam is %+v, %v", r.Binding, err)
			}
			return nil
		})
		for n, revoked := range map[uint64]bool{1: false, 5: true, 6: false, 7: true, 8: false, 9: true} {
			c.must(2, "history", func(ctx context.Context, client *netq.Client) error {
				data, _, err := client.GetRecord(ctx, ref, n)
				if err != nil {
					return err
				}
				if r, err := envelope.ParseRecord(ref.Kind, data); err != nil || r.Binding.Revoked != revoked {
					return fmt.Errorf("version %d is %+v, %v", n, r.Binding, err)
				}
				return nil
			})
		}
	})
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 1)
		adam, stranger := NewAuthor(t), NewAuthor(t)
		c.must(0, "publish", adam.Publish)
		_, err := c.DialAs(0, stranger.Key, stranger.Agent())
		wantKind(t, "an agent that the network doesn't know", err, envelope.Denied)
		_, err = c.DialAs(0, stranger.Key, adam.Agent())
		wantKind(t, "another's key", err, envelope.Denied)
		_, err = c.DialAs(0, adam.Key, envelope.AgentID{})
		wantKind(t, "an agent as operator", err, envelope.Denied)
		client, err := c.DialAs(0, adam.Key, adam.Agent())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx := t.Context()
		if _, err := adam.Put(ctx, client, "course", envelope.Version{}, []byte("text")); err != nil {
			t.Error(err)
		}
		if s, err := client.Status(ctx); err != nil || s.Welcome.BoxName != c.Name(0) || !s.Founder || s.K != 1 {
			t.Errorf("status %+v, %v", s, err)
		}
		wantKind(t, "stop", client.Stop(ctx), envelope.Denied)
		wantKind(t, "leave", client.Leave(ctx), envelope.Denied)
		wantKind(t, "bind", client.Bind(ctx, wire.Bind{Name: "adam", Agent: adam.Agent()}), envelope.Denied)
		r, err := client.Ring(ctx, &envelope.Ref{Kind: envelope.KindEnvelope, Owner: adam.Agent(), Name: "course"})
		if err != nil || len(r.Nodes) != 1 || len(r.Record) != 1 || r.Record[0].State != wire.Holds || len(r.Segments) != 1 {
			t.Errorf("ring %+v, %v", r, err)
		}
	})
}
