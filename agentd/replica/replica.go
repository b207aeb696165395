// Package replica keeps k living copies of everything: it is the coordinator
// of what clients put and get, the replica's part in what other coordinators
// ask, the reconciling that brings things back to k copies when nodes come, go
// or lose data, and the scrubbing that finds out that they have. docs/replication.md is its specification.
//
// What is decided is decided by machines (machine_put.go, machine_get.go) that
// take events and return what to do; they open no connection, read no disk and
// no clock. The rest of the package walks for them.
//
// The package must not know how nodes are reached (package agentd hands it
// [Peers]), who may take part (the ring it is given says that), who a client
// is, or how anything that it carries is opened. Liveness is a hint for it: it
// may change in which order nodes are asked, and nothing else.
package replica

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"l2p/agentd/ring"
	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// Peers reaches other nodes. Call sends a request to a node and decodes the
// body of the reply into reply; an Error reply comes back as an error of its
// kind, a node that can't be reached as one of kind Unavailable.
type Peers interface {
	Call(ctx context.Context, node envelope.NodeID, t wire.Type, body any, data []byte, reply any) ([]byte, error)
}

// Defaults of a Config.
const (
	DefaultK     = 3
	DefaultW     = 2
	DefaultR     = 2
	DefaultGrace = 24 * time.Hour
	defaultPause = 10 * time.Minute
)

// A Config says what a Replica works with. Self, Store, Peers and Ring are
// required.
type Config struct {
	Self  envelope.NodeID
	Store *store.Store // the caller closes it, after Close
	Peers Peers
	// Ring returns the ring of the roster as it is now; it isn't nil.
	Ring func() *ring.Ring
	// Alive says whether a node seems alive; nil: all do.
	Alive func(envelope.NodeID) bool
	// K is how many copies there should be, W how many must be on disk before a
	// put is acknowledged, R how many nodes must answer a get; 0: the default.
	K, W, R int
	// Grace is the age above which a segment without a header is dropped.
	Grace time.Duration
	// Pause is the time between two rounds of reconciling when nothing changes.
	Pause time.Duration
	// ScrubPass is how long reading all that is kept takes, and ScrubRate how
	// many bytes a second are read at most; 0: a week, 8 MiB.
	ScrubPass time.Duration
	ScrubRate uint64
	Log       *slog.Logger
}

// Deadlines of requests.
const (
	putTimeout = 10 * time.Second
	getTimeout = 3 * time.Second
)

// Bounds on what is done at once. A call to a peer may hold a segment or a
// large record in memory.
const (
	maxCalls      = 64 // to peers, for clients' requests
	maxStragglers = 16 // of these, for requests that have been answered
	maxCached     = 1024
)

// A Replica does one node's part. Its methods may be called from many
// goroutines, until Close.
type Replica struct {
	Config
	log    *slog.Logger
	kick   chan struct{}
	behind atomic.Uint64

	sent, dropped atomic.Uint64 // by hints and by all rounds of reconciling

	broken       broken
	hints        hints
	reservations reservations

	calls      chan struct{} // a place for each call to a peer
	stragglers chan struct{} // a place for each request whose slower writes go on
	documents  documentCache

	scrubbing scrubbing
	serving   atomic.Int64 // requests of other nodes

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed and the adding to work
	closed bool
	work   sync.WaitGroup // goroutines that outlive the request they were started for
}

// broken says which of its rules a replica doesn't keep. Only tests set it, to
// show that they notice.
type broken struct {
	noReservation, noWriteBack, noSignature bool
}

// New returns a Replica that serves requests at once and reconciles while Run
// runs.
func New(c Config) *Replica {
	setDefault(&c.K, DefaultK)
	setDefault(&c.W, DefaultW)
	setDefault(&c.R, DefaultR)
	setDefault(&c.Grace, DefaultGrace)
	setDefault(&c.Pause, defaultPause)
	setDefault(&c.ScrubPass, defaultScrubPass)
	setDefault(&c.ScrubRate, defaultScrubRate)
	if c.Alive == nil {
		c.Alive = func(envelope.NodeID) bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	r := &Replica{
		Config:     c,
		log:        c.Log,
		kick:       make(chan struct{}, 1),
		calls:      make(chan struct{}, maxCalls),
		stragglers: make(chan struct{}, maxStragglers),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func setDefault[T int | uint64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Close ends what goes on in the background and waits for it.
func (r *Replica) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}

// start runs f in a goroutine that Close waits for. It reports whether it did:
// not after Close.
func (r *Replica) start(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.work.Go(f)
	return true
}

// Kick makes Run reconcile soon: the roster or liveness has changed.
func (r *Replica) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Behind returns the number of copies that the last round of reconciling found
// missing on other nodes and could not pass on, or the number of hints if that
// is higher.
func (r *Replica) Behind() uint64 { return max(r.behind.Load(), uint64(r.hints.len())) }

// Moved returns how many copies were passed on to other nodes since the start,
// by reconciling and by hints, and how many reconciling has dropped here once they were safe elsewhere.
func (r *Replica) Moved() (sent, dropped uint64) { return r.sent.Load(), r.dropped.Load() }

// A quorum is what one position asks for on the ring as it is now.
type quorum struct {
	nodes   []envelope.NodeID // the successors
	k, w, r int
}

// quorumAt returns the successors of a position. With fewer nodes than K, k is
// their number, and w and r are at most k.
func (r *Replica) quorumAt(pos uint64) quorum { return r.quorumOn(r.Ring(), pos) }

func (r *Replica) quorumOn(on *ring.Ring, pos uint64) quorum {
	nodes := on.Successors(pos, r.K)
	k := len(nodes)
	return quorum{nodes: nodes, k: k, w: min(r.W, k), r: min(r.R, k)}
}

// beyond returns the nodes that come next behind the successors of a position,
// at most as many again. When nodes have just joined they push those who still
// keep everything there.
func (r *Replica) beyond(pos uint64, q quorum) []envelope.NodeID {
	return slices.DeleteFunc(r.Ring().Successors(pos, 2*r.K), func(n envelope.NodeID) bool { return slices.Contains(q.nodes, n) })
}

// call asks a peer, in its turn.
func (r *Replica) call(ctx context.Context, node envelope.NodeID, t wire.Type, body any, data []byte, reply any) ([]byte, error) {
	select {
	case r.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, envelope.Errorf(envelope.Unavailable, "too many requests at once: %w", ctx.Err())
	}
	defer func() { <-r.calls }()
	return r.Peers.Call(ctx, node, t, body, data, reply)
}

// errNoNetwork answers requests to a node whose ring is empty.
func errNoNetwork() error {
	return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "this box is in no network"), "run l2p init or l2p join first")
}
