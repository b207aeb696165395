package agentdtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// A node whose disk is lost comes back from a backup of its keys and of what it
// knew of the network, as docs/operations.md says, and gets its copies again.
func TestNodeComesBackFromItsKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 3)
		l := newLedger(t, c, 0)
		for i := range 3 {
			l.mustPut(i, fmt.Sprint("course-", i), 3000)
		}
		time.Sleep(time.Minute)
		kept := c.Status(1)
		c.Stop(1)
		l.mustPut(0, "course-0", 2000)
		fresh := t.TempDir()
		for _, pattern := range []string{"*.key", "box.document", "roster.cbor", "peers.cbor"} {
			files, err := filepath.Glob(filepath.Join(c.boxes[1].state, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s (%v)", pattern, err)
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(fresh, filepath.Base(file)), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.boxes[1].state = fresh
		c.Start(1)
		c.Settle()
		time.Sleep(2 * time.Minute)
		l.check(1)
		if now := c.Status(1); now.Welcome.Node != kept.Welcome.Node || now.Segments < kept.Segments || now.Records <= kept.Records {
			t.Errorf("node %s keeps %d records and %d segments, and kept %d and %d as %s",
				now.Welcome.Node.Short(), now.Records, now.Segments, kept.Records, kept.Segments, kept.Welcome.Node.Short())
		}
	})
}
