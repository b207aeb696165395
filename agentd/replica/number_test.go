package replica

import (
	"math"
	"testing"
	"testing/synctest"

	"l2p/envelope"
)

// TestLastNumber: nobody takes the last number of a ref, by which all others
// would be kept from writing there ever again.
func TestLastNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		keepers, outside := c.successors(adam.id)
		must(t, outside.putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 10)
		must(t, outside.putCourse(v1))
		for name, parent := range map[string]envelope.Version{"course": v1.rec.Version, "plan": {}} {
			for _, n := range []uint64{math.MaxUint64, maxBehind + parent.N + 1} {
				far := adam.seal(t, name, envelope.Version{N: n - 1, Hash: envelope.Hash{1}}, 10)
				wantKind(t, outside.putHeader(far), envelope.Conflict)
				for _, repair := range []bool{false, true} {
					wantKind(t, keepers[0].receiveRecord(t.Context(), envelope.KindEnvelope, far.rec.Signed.Encode(), repair), envelope.Conflict)
				}
			}
			next := adam.seal(t, name, parent, 10)
			must(t, outside.putCourse(next))
			outside.wantCourse(next)
		}
	})
}
