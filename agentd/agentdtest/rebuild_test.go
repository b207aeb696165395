package agentdtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"l2p/agentd"
	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// TestRebuiltIndex damages the index of one node after the other, in a way of
// its own for each, rebuilds it, and finds all copies where they belong.
func TestRebuiltIndex(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, 4)
		l := newLedger(t, c, 0)
		for _, name := range []string{"first", "second", "third"} {
			l.mustPut(0, name, 3000)
		}
		l.mustPut(1, "large", 3<<20)
		index := func(i int, pattern string) string {
			t.Helper()
			files, err := filepath.Glob(filepath.Join(c.boxes[i].state, "index", pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("files of the index like %q: %q, %v", pattern, files, err)
			}
			return files[0]
		}
		for i, tc := range []struct {
			name   string
			stop   func(int)
			damage func(i int) error
			says   string
		}{
			{"no index", c.Stop, func(i int) error { return os.RemoveAll(index(i, "")) }, "no old index"},
			{"a flipped bit in a table", c.Stop, func(i int) error { return flipBit(index(i, "*.sst")) }, "1 files of the old index"},
			{"a flipped bit in the manifest", c.Stop, func(i int) error { return flipBit(index(i, "MANIFEST")) }, "all of it read"},
			{"half a log, after a power cut", c.Crash, func(i int) error { return halve(index(i, "*.mem")) }, "is kept as"},
		} {
			tc.stop(i)
			if err := tc.damage(i); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			done, err := agentd.RebuildIndex(c.boxes[i].state, nil)
			if err != nil || !strings.Contains(done, tc.says) || strings.Contains(done, "\n") {
				t.Errorf("%s: %q, %v; want %q", tc.name, done, err, tc.says)
			}
			c.Restart(i)
			c.Settle()
			time.Sleep(time.Minute) // reconciling begins at once
			l.check(i)
			l.wantAllCopies(i)
		}
	})
}

// wantAllCopies insists that, as node i sees it, every successor keeps each part
// of what was acknowledged.
func (l *ledger) wantAllCopies(i int) {
	l.c.t.Helper()
	l.c.must(i, "ring", func(ctx context.Context, client *netq.Client) error {
		for name := range l.acked {
			ring, err := client.Ring(ctx, &envelope.Ref{Kind: envelope.KindEnvelope, Owner: l.author.Agent(), Name: name})
			if err != nil {
				return err
			}
			for part, replicas := range append(ring.Segments, ring.Record) {
				if len(replicas) != 3 {
					l.c.t.Errorf("part %d of %s is on %d nodes, want 3", part, name, len(replicas))
				}
				for _, r := range replicas {
					if r.State != wire.Holds {
						l.c.t.Errorf("part %d of %s is in state %d on %s", part, name, r.State, r.Node.Short())
					}
				}
			}
		}
		return nil
	})
}

func flipBit(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(path, data, 0o600)
}

// halve cuts a file in the middle of what isn't zero.
func halve(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, int64(len(bytes.TrimRight(data, "\x00"))/2))
}
