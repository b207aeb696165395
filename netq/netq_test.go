package netq

import (
	"context"
	"testing"
	"testing/synctest"

	"l2p/netq/wire"
)

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns := simulate(t, 2)
		start(t, 1, Config{PacketConn: conns[0]})
		e := start(t, 2, Config{PacketConn: conns[1]})
		c, err := e.Node(t.Context(), nodeID(1), simAddr(1).String())
		if err != nil {
			t.Fatal(err)
		}
		var reply wire.PutReply
		if _, err := c.Call(context.Background(), wire.TypePutSegment, wire.PutSegment{}, make([]byte, wire.MaxSegmentData), &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Copies != uint(wire.MaxSegmentData) {
			t.Fatalf("the other side got %d bytes", reply.Copies)
		}
	})
}
