package netq

import (
	"context"
	"net"
	"testing"

	"l2p/envelope"
	"l2p/netq/wire"
)

// loopback returns a connection between two endpoints on the loopback.
func loopback(b *testing.B, h Handler) *Conn {
	b.Helper()
	listen := func() net.PacketConn {
		pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		return pc
	}
	server := start(b, 1, Config{PacketConn: listen(), Handler: h})
	client := start(b, 2, Config{PacketConn: listen()})
	c, err := client.Node(context.Background(), nodeID(1), server.LocalAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkCall measures requests with 1 KiB of data, CBOR bodies both ways,
// one after the other and 16 at a time.
func BenchmarkCall(b *testing.B) {
	data := make([]byte, 1<<10)
	body := wire.PutRecord{Kind: envelope.KindEnvelope}
	call := func(b *testing.B, c *Conn) {
		var reply wire.PutReply
		if _, err := c.Call(context.Background(), wire.TypePutRecord, body, data, &reply); err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		c := loopback(b, echo)
		b.ReportAllocs()
		for b.Loop() {
			call(b, c)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	})
	b.Run("many", func(b *testing.B) {
		c := loopback(b, echo)
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				call(b, c)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	})
}

// BenchmarkPutSegment measures full segments on their way to a node, and
// BenchmarkGetSegment on their way back, four at a time.
func BenchmarkPutSegment(b *testing.B) {
	frame := make([]byte, wire.MaxSegmentData)
	segments(b, func(ctx context.Context, c *Conn) error {
		var reply wire.PutReply
		_, err := c.Call(ctx, wire.TypePutSegment, wire.PutSegment{}, frame, &reply)
		return err
	})
}

func BenchmarkGetSegment(b *testing.B) {
	segments(b, func(ctx context.Context, c *Conn) error {
		_, err := c.Call(ctx, wire.TypeGetSegment, wire.GetSegment{}, nil, nil)
		return err
	})
}

func segments(b *testing.B, call func(context.Context, *Conn) error) {
	c := loopback(b, echo)
	b.SetBytes(wire.MaxSegmentData)
	b.ReportAllocs()
	b.SetParallelism(2)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := call(context.Background(), c); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
