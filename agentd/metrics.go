package agentd

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A meter measures what a node does, for Prometheus. docs/operations.md says
// what each metric means. Labels take values of this program only, so that
// nobody outside can make a node remember more.
type meter struct {
	set              *metrics.Set
	requests, failed atomic.Uint64 // of clients
}

// latencies are the upper bounds of buckets for the time that requests take, in
// seconds.
var latencies = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMeter(a *Agentd) *meter {
	m := &meter{set: metrics.NewSet()}
	gauge := func(name string, f func() float64) { m.set.NewGauge(name, f) }
	gauge("l2p_records", func() float64 { return float64(a.store.Stats().Records) })
	gauge("l2p_segments", func() float64 { return float64(a.store.Stats().Segments) })
	gauge("l2p_segment_bytes", func() float64 { return float64(a.store.Stats().Bytes) })
	gauge("l2p_disk_free_bytes", func() float64 { return float64(a.store.Stats().Free) })
	gauge("l2p_damaged_total", func() float64 { return float64(a.store.Stats().Damaged) })
	gauge("l2p_start_time_seconds", func() float64 { return float64(a.started.Unix()) })
	ofNetwork := func(name string, f func(*network) float64) {
		gauge(name, func() float64 {
			if n := a.network(); n != nil {
				return f(n)
			}
			return 0
		})
	}
	ofNetwork("l2p_nodes", func(n *network) float64 { return float64(n.currentRing().Len()) })
	ofNetwork("l2p_nodes_alive", func(n *network) float64 {
		alive := 0.0
		for _, node := range n.roster.Nodes() {
			if n.alive(node.ID) {
				alive++
			}
		}
		return alive
	})
	ofNetwork("l2p_copies_behind", func(n *network) float64 { return float64(n.replica.Behind()) })
	ofNetwork("l2p_copies_sent_total", func(n *network) float64 { sent, _ := n.replica.Moved(); return float64(sent) })
	ofNetwork("l2p_copies_dropped_total", func(n *network) float64 { _, dropped := n.replica.Moved(); return float64(dropped) })
	ofNetwork("l2p_scrub_end_time_seconds", func(n *network) float64 {
		if done := n.replica.Scrubbed().Done; !done.IsZero() {
			return float64(done.Unix())
		}
		return 0
	})
	ofNetwork("l2p_index_damaged", func(n *network) float64 {
		if n.replica.Scrubbed().IndexDamaged {
			return 1
		}
		return 0
	})
	ofNetwork("l2p_boxes_waiting", func(n *network) float64 { return float64(n.waiting()) })
	ofNetwork("l2p_certificate_expiry_seconds", func(n *network) float64 { return float64(n.certificateExpiry()) })
	return m
}

// request counts a request that has been answered.
func (m *meter) request(req *netq.Request, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = kindLabel(envelope.KindOf(err))
	}
	if req.Proto == netq.ProtoClient {
		m.requests.Add(1)
		switch result {
		case "unavailable", "not_durable", "full", "corrupt", "other":
			m.failed.Add(1)
		}
	}
	labels := fmt.Sprintf(`{from=%q,type=%q`, callerLabel(req.Proto), req.Type)
	m.set.GetOrCreateCounter("l2p_requests_total" + labels + fmt.Sprintf(`,result=%q}`, result)).Inc()
	m.set.GetOrCreatePrometheusHistogramExt("l2p_request_seconds"+labels+"}", latencies).Update(took.Seconds())
}

// rejected counts what was turned away.
func (m *meter) rejected(reason string) {
	m.set.GetOrCreateCounter(fmt.Sprintf(`l2p_rejected_total{reason=%q}`, reason)).Inc()
}

func callerLabel(proto string) string {
	switch proto {
	case netq.ProtoNode:
		return "node"
	case netq.ProtoClient:
		return "client"
	}
	return "stranger"
}

func kindLabel(k envelope.ErrorKind) string {
	switch k {
	case envelope.Usage:
		return "usage"
	case envelope.NotFound:
		return "not_found"
	case envelope.Denied:
		return "denied"
	case envelope.Corrupt:
		return "corrupt"
	case envelope.Unavailable:
		return "unavailable"
	case envelope.NotDurable:
		return "not_durable"
	case envelope.Conflict:
		return "conflict"
	case envelope.Full:
		return "full"
	case envelope.WrongNetwork:
		return "wrong_network"
	}
	return "other"
}

// waiting returns how many boxes wait for admission here.
func (n *network) waiting() int {
	if n.issuer == nil {
		return 0
	}
	return len(n.issuer.Pending(time.Now()))
}

// certificateExpiry returns when the first of this node's certificates ends, in
// Unix seconds; 0 where the box has been expelled.
func (n *network) certificateExpiry() int64 {
	creds, ok := n.roster.Credentials(n.node.self)
	if !ok {
		return 0
	}
	box, node, err := wire.VerifyCredentials(creds, n.node.nodeKey.Public().(ed25519.PublicKey), time.Unix(0, 0))
	if err != nil {
		return 0
	}
	return min(box.NotAfter, node.NotAfter)
}

// listenMetrics opens the socket for metrics. They say what the node does
// and for whom, and nobody is asked for a key: so it must be on this machine.
func listenMetrics(addr string) (net.Listener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().IsLoopback() {
		return nil, envelope.WithHint(UsageError("--metrics %+q is not an address of this machine's loopback with a port", addr), "such as 127.0.0.1:9012")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "cannot serve metrics on %+q: %w", addr, err), "choose another address with --metrics")
	}
	return l, nil
}

// serve answers GET /metrics until ctx ends.
func (m *meter) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		m.set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
