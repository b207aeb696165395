package replica

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// TestQuota: a put that too few nodes have room for fails with their reason,
// and what was acknowledged comes to all its copies whatever the quota.
func TestQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam, eve := newWriter(t), newWriter(t)
		must(t, c.order[0].putDocument(adam))
		must(t, c.order[0].putDocument(eve))
		for i, n := range c.order { // one node has no quota
			n.stop()
			c.quota = 5 << 19
			if i == 3 {
				c.quota = 0
			}
			n.restart()
		}
		var put []course
		var err error
		for i := 0; err == nil && i < 20; i++ {
			v := adam.seal(t, fmt.Sprint("course ", i), envelope.Version{}, envelope.SegmentPlainSize)
			if _, err = c.order[3].PutSegment(t.Context(), wire.PutSegment{ID: v.ids[0], Owner: adam.id}, v.frames[0]); err == nil {
				must(t, c.order[3].putHeader(v))
				put = append(put, v)
			}
		}
		wantKind(t, err, envelope.Full)
		if !strings.HasPrefix(err.Error(), "node ") || !strings.Contains(err.Error(), adam.id.String()) || !strings.Contains(err.Error(), "--quota-agent") {
			t.Errorf("the error doesn't say who and what to do: %v", err)
		}
		if len(put) < 2 {
			t.Errorf("%d segments were taken before", len(put))
		}
		must(t, c.order[3].putCourse(eve.seal(t, "course", envelope.Version{}, 10)))
		time.Sleep(time.Minute)
		c.set(func() {})
		settled()
		for _, v := range put {
			c.wantCopies(v)
		}
	})
}
