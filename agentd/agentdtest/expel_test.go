package agentdtest

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

func (c *Cluster) expel(i int) (reply wire.ExpelReply, err error) {
	box := c.Status(i).Welcome.Box
	err = c.Do(0, func(ctx context.Context, client *netq.Client) (err error) {
		reply, err = client.Expel(ctx, box)
		return err
	})
	return reply, err
}

// An expelled box is out everywhere within seconds, also with a node that
// was down meanwhile; those who stay keep everything, and gossip under a new key.
func TestExpel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 5)
		l := newLedger(t, c, 1)
		for i := range 5 {
			l.mustPut(i, c.Name(i), 3000)
		}
		_, err := c.expel(0)
		wantKind(t, "the founder expels itself", err, envelope.Denied)
		wantKind(t, "another box expels", c.Do(1, func(ctx context.Context, client *netq.Client) error {
			_, err := client.Expel(ctx, c.Status(4).Welcome.Box)
			return err
		}), envelope.Denied)

		c.Crash(2) // it will learn of it when it is back
		time.Sleep(20 * time.Second)
		reply, err := c.expel(4)
		if err != nil || reply.Told != 2 || reply.Others != 3 {
			t.Errorf("told %d of %d: %v", reply.Told, reply.Others, err)
		}
		_, err = c.expel(4)
		wantKind(t, "expelled twice", err, envelope.NotFound)
		time.Sleep(3 * time.Second)
		for _, i := range []int{0, 1, 3} {
			if got := len(c.Status(i).Nodes); got != 4 {
				t.Errorf("box %d knows %d nodes, want 4", i, got)
			}
		}
		if err := l.put(4, c.Name(4), 10); err == nil {
			t.Error("the expelled box puts")
		}

		c.Restart(2)
		c.Settle(0, 1, 2, 3)
		time.Sleep(2 * time.Minute) // and stays so, when the old gossip key is long gone
		c.Settle(0, 1, 2, 3)
		for i := range 4 {
			if got := len(c.Status(i).Nodes); got != 4 {
				t.Errorf("box %d knows %d nodes, want 4", i, got)
			}
			l.check(i)
		}
		if c.Status(4).Refused == 0 || c.Status(0).Refused != 0 {
			t.Error("it isn't the expelled box that says that others refuse it")
		}
		if err := l.put(4, c.Name(4), 10); err == nil || !strings.Contains(err.Error(), "expelled") {
			t.Errorf("the expelled box puts, and hears: %v", err)
		}
		for _, n := range c.Status(4).Nodes {
			if n.Alive && !n.Self {
				t.Errorf("the expelled box sees %s alive", n.BoxName)
			}
		}
	})
}

// A network lives on when its certificates are about to expire, and a box that
// was away until its own had expired comes back by asking once.
func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 3)
		l := newLedger(t, c, 0)
		l.mustPut(1, "course", 3000)
		for i := range 3 {
			c.Stop(i)
		}
		time.Sleep(9*365*24*time.Hour + 200*24*time.Hour)
		c.Start(0)
		c.Start(1)
		c.Settle(0, 1)
		l.mustPut(1, "course", 2000)
		c.Stop(1) // at its next start, or a day later, it has a node's certificate under its new one
		c.Start(1)
		c.Settle(0, 1)
		c.Stop(0)
		c.Stop(1)
		time.Sleep(365 * 24 * time.Hour) // now the first certificates have expired
		for i := range 3 {
			c.Start(i)
		}
		c.Settle(0, 1)
		l.mustPut(0, "course", 1000)
		c.must(2, "join again", func(ctx context.Context, client *netq.Client) error {
			network := c.Status(0).Welcome.Network
			_, err := client.Join(ctx, wire.Join{Addr: c.Addr(0), Network: network, BoxName: c.Name(2)})
			return err
		})
		c.Settle()
		for i := range 3 {
			l.check(i)
		}
	})
}
