package agentdtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq"
)

// A node that is down is waited for once, not by every request, and from the
// moment that it is back nothing is refused because it was down.
func TestNodeThatIsDownIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 2)
		l := newLedger(t, c, 0)
		l.mustPut(0, "course", 1000)
		for _, down := range []func(int){c.Stop, c.Crash} {
			down(1)
			time.Sleep(20 * time.Second) // it has been noticed
			for range 3 {
				c.must(0, "read", func(ctx context.Context, client *netq.Client) error {
					began := time.Now()
					_, reply, err := l.author.Get(ctx, client, "course")
					if took := time.Since(began); took > 200*time.Millisecond || err == nil && !reply.Stale {
						t.Errorf("a get took %v, stale %v", took, reply.Stale)
					}
					return err
				})
				began := time.Now()
				wantKind(t, "put while too few are up", l.put(0, "course", 10), envelope.NotDurable)
				if took := time.Since(began); took > 200*time.Millisecond {
					t.Errorf("a put failed after %v", took)
				}
			}
			c.Restart(1)
			c.Settle()
			l.mustPut(1, "other", 10)
			l.mustPut(0, "third", 10)
			l.check(0)
			l.check(1)
		}
	})
}
