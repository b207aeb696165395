package agentd

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	a, err := New(Config{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.store.Close()
	a.started = time.Unix(1000, 0)
	put := &netq.Request{Proto: netq.ProtoClient, Type: wire.TypePutRecord}
	a.meter.request(put, nil, 3*time.Millisecond)
	a.meter.request(put, envelope.Errorf(envelope.Conflict, "no"), time.Second)
	a.meter.request(put, envelope.Errorf(envelope.Conflict, "no"), time.Second)
	a.rejected.add("handshake", "10.0.0.1")

	l, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- a.meter.serve(ctx, l) }()
	get := func(path string) (int, string) {
		reply, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(text)
	}
	code, text := get("/metrics")
	if code != http.StatusOK {
		t.Errorf("status %d", code)
	}
	for _, line := range []string{
		`l2p_requests_total{from="client",type="PutRecord",result="ok"} 1`,
		`l2p_requests_total{from="client",type="PutRecord",result="conflict"} 2`,
		`l2p_request_seconds_bucket{from="client",type="PutRecord",le="0.005"} 1`,
		`l2p_request_seconds_count{from="client",type="PutRecord"} 3`,
		`l2p_rejected_total{reason="handshake"} 1`,
		`l2p_records 0`,
		`l2p_nodes 0`,
		`l2p_copies_behind 0`,
		`l2p_start_time_seconds 1000`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !strings.Contains(text, "\nprocess_resident_memory_anon_bytes ") {
		t.Error("nothing about the process")
	}
	if code, _ := get("/"); code != http.StatusNotFound {
		t.Errorf("/ answers %d", code)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestMetricsStayHere(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"", ":9012", "0.0.0.0:9012", "192.0.2.1:9012", "localhost:9012", "127.0.0.1", "[::]:1"} {
		if l, err := listenMetrics(addr); err == nil || envelope.KindOf(err) != envelope.Usage {
			t.Errorf("%q: %v, %v", addr, l, err)
		}
	}
}
