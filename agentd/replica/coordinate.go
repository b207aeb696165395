package replica

import (
	"context"
	"slices"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// PutRecord stores a client's record on the successors of its owner and
// returns when w of them have it on disk. Errors are of kind Corrupt or Denied
// if the record doesn't verify, Conflict if it doesn't follow from what is
// there, NotDurable if fewer than w could be reached within 10 seconds.
func (r *Replica) PutRecord(ctx context.Context, kind envelope.RecordKind, data []byte) (wire.PutReply, error) {
	rec, err := envelope.ParseRecord(kind, data)
	if err != nil {
		return wire.PutReply{}, err
	}
	if err := checkComplete(rec); err != nil {
		return wire.PutReply{}, err
	}
	if err := r.verifyPut(ctx, rec); err != nil {
		return wire.PutReply{}, err
	}
	q := r.quorumAt(ring.RecordPosition(rec.Ref.Owner))
	if err := r.reserve(ctx, q, rec); err != nil {
		return wire.PutReply{}, err
	}
	reply, err := r.write(ctx, q, copyID{ref: rec.Ref, version: rec.Version}, func(ctx context.Context, node envelope.NodeID) error {
		return r.sendRecord(ctx, node, rec, data, false)
	})
	if err == nil && rec.Document != nil {
		r.documents.extend(rec.Document)
	}
	return reply, err
}

// sendRecord passes a record that has been verified to a node, which may be
// this one.
func (r *Replica) sendRecord(ctx context.Context, node envelope.NodeID, rec *envelope.Record, data []byte, repair bool) error {
	if node == r.Self {
		return r.putHere(rec, repair)
	}
	_, err := r.call(ctx, node, wire.TypePutRecord, &wire.PutRecord{Kind: rec.Ref.Kind, Repair: repair}, data, &wire.PutReply{})
	return err
}

// write sends a copy to all nodes of q at once and returns when w of them have
// it. The slower ones are given the rest of the deadline to get it too, if not
// too many are being waited for already. For those that don't get it there is
// a hint.
func (r *Replica) write(ctx context.Context, q quorum, id copyID, send func(context.Context, envelope.NodeID) error) (wire.PutReply, error) {
	if q.k == 0 {
		return wire.PutReply{}, errNoNetwork()
	}
	m := newPutMachine(q.nodes, q.w)
	calls, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
	stop := context.AfterFunc(r.ctx, cancel)
	end := func() { stop(); cancel() }
	answers := make(chan putAnswer, q.k)
	for _, node := range q.nodes {
		if !r.start(func() { answers <- putAnswer{node, send(calls, node)} }) {
			end()
			return wire.PutReply{}, envelope.Errorf(envelope.Unavailable, "the node is stopping")
		}
	}
	for !m.done {
		select {
		case a := <-answers:
			m.answer(a)
		case <-calls.Done():
			m.deadline()
		case <-ctx.Done():
			end()
			return wire.PutReply{}, envelope.Errorf(envelope.Unavailable, "the put was abandoned: %w", ctx.Err())
		}
	}
	for drained := false; !drained; { // what has arrived meanwhile counts as well
		select {
		case a := <-answers:
			m.answer(a)
		default:
			drained = true
		}
	}
	if m.err == nil {
		for node := range m.unreachable {
			r.hints.add(node, id)
		}
	}
	if m.err != nil || len(m.waiting) == 0 {
		end()
	} else if !r.followStragglers(len(m.waiting), id, answers, end) {
		end()
		for node := range m.waiting {
			r.hints.add(node, id)
		}
	}
	return wire.PutReply{Copies: uint(m.stored), Want: uint(q.k)}, m.err
}

// followStragglers lets n more answers come before it calls end. It reports
// false, and does nothing, if too many requests have stragglers.
func (r *Replica) followStragglers(n int, id copyID, answers <-chan putAnswer, end func()) bool {
	select {
	case r.stragglers <- struct{}{}:
	default:
		return false
	}
	started := r.start(func() {
		defer func() { end(); <-r.stragglers }()
		for range n {
			a := <-answers // every call ends by its deadline
			if mayRecover(a.err) {
				r.hints.add(a.node, id)
			}
		}
	})
	if !started {
		<-r.stragglers
	}
	return started
}

// A recordAnswer is what a replica answers to a get: a record that has been
// verified, or that it has none (rec is nil), or a failure.
type recordAnswer struct {
	node  envelope.NodeID
	rec   *envelope.Record
	data  []byte
	forks []envelope.Version
	err   error
}

// A writeAnswer is the result of a write-back.
type writeAnswer struct {
	node envelope.NodeID
	v    envelope.Version
	err  error
}

// GetRecord returns version n of a ref, 0 for the newest, as a quorum has it.
// Before it returns, w replicas have it. If fewer than r answered in 3 seconds,
// the reply is marked stale; that there is nothing can't be told then, which is
// an error of kind Unavailable and not NotFound.
func (r *Replica) GetRecord(ctx context.Context, ref envelope.Ref, n uint64) ([]byte, wire.RecordReply, error) {
	pos := ring.RecordPosition(ref.Owner)
	q := r.quorumAt(pos)
	if q.k == 0 {
		return nil, wire.RecordReply{}, errNoNetwork()
	}
	g := &get{r: r, ref: ref, n: n, found: make(map[envelope.Version]recordAnswer), claimed: make(map[envelope.Version]int)}
	data, reply, err := g.run(ctx, q.nodes, q.r, q.w)
	if !isKind(err, envelope.NotFound) {
		return data, reply, err
	}
	// Nobody who should have it has it. Perhaps they have just joined.
	if reply.Stale {
		err = errUnknown()
	}
	more := r.beyond(pos, q)
	if len(more) == 0 {
		return nil, reply, err
	}
	data, wider, err2 := g.run(ctx, more, max(1, len(more)-1), 0)
	if data == nil {
		if isKind(err2, envelope.NotFound) && !reply.Stale {
			err = err2
		}
		return nil, reply, err
	}
	wider.Stale = reply.Stale
	rec := g.found[g.m.winner()].rec
	if _, err := r.write(ctx, q, copyID{ref: rec.Ref, version: rec.Version}, func(ctx context.Context, node envelope.NodeID) error {
		return r.sendRecord(ctx, node, rec, data, true)
	}); err != nil {
		wider.Stale = true
	}
	return data, wider, nil
}

// A get is one GetRecord under way.
type get struct {
	r       *Replica
	ref     envelope.Ref
	n       uint64
	m       *getMachine
	found   map[envelope.Version]recordAnswer
	claimed map[envelope.Version]int // forks that replicas told of without showing them
}

// run asks nodes, needs need answers, and sees to it that copies of them have
// the winner.
func (g *get) run(ctx context.Context, nodes []envelope.NodeID, need, copies int) ([]byte, wire.RecordReply, error) {
	calls, cancel := context.WithTimeout(ctx, getTimeout)
	stop := context.AfterFunc(g.r.ctx, cancel)
	defer func() { stop(); cancel() }()
	if g.r.broken.noWriteBack {
		copies = 0
	}
	g.m = newGetMachine(nodes, need, copies)
	answers := make(chan recordAnswer, len(nodes))
	for _, node := range nodes {
		if !g.r.start(func() { answers <- g.ask(calls, node) }) {
			return nil, wire.RecordReply{}, envelope.Errorf(envelope.Unavailable, "the node is stopping")
		}
	}
	// Each node is written to at most once for each answer.
	written := make(chan writeAnswer, len(nodes)*(len(nodes)+1))
	var failure error
	for !g.m.done {
		var write []envelope.NodeID
		select {
		case a := <-answers:
			if a.err != nil {
				failure = a.err
				write = g.m.fail(a.node)
				break
			}
			write = g.take(a)
		case w := <-written:
			write = g.m.wrote(w.node, w.v, w.err == nil)
		case <-calls.Done():
			g.m.deadline()
		}
		g.writeBack(ctx, write, written)
	}
	if err := ctx.Err(); err != nil {
		return nil, wire.RecordReply{}, envelope.Errorf(envelope.Unavailable, "the get was abandoned: %w", err)
	}
	return g.result(len(nodes), failure)
}

// take hands a replica's verified answer to the machine.
func (g *get) take(a recordAnswer) (write []envelope.NodeID) {
	for _, f := range a.forks {
		g.claimed[f]++
		if a.node == g.r.Self {
			g.claimed[f]++ // this node knows what it keeps
		}
	}
	if a.rec == nil {
		return g.m.answer(a.node, envelope.Version{})
	}
	if _, known := g.found[a.rec.Version]; !known {
		g.found[a.rec.Version] = a
	}
	return g.m.answer(a.node, a.rec.Version)
}

// writeBack sends the winner to replicas that have an older version.
func (g *get) writeBack(ctx context.Context, nodes []envelope.NodeID, written chan<- writeAnswer) {
	winner := g.found[g.m.winner()]
	for _, node := range nodes {
		g.r.start(func() {
			// Its own deadline: a copy that was begun is worth finishing.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
			defer cancel()
			defer context.AfterFunc(g.r.ctx, cancel)()
			err := g.r.sendRecord(ctx, node, winner.rec, winner.data, true)
			written <- writeAnswer{node, winner.rec.Version, err}
		})
	}
}

// result turns what the machine has decided into a reply.
func (g *get) result(asked int, failure error) ([]byte, wire.RecordReply, error) {
	reply := wire.RecordReply{Stale: g.m.stale}
	v := g.m.winner()
	if v.N == 0 {
		if len(g.m.has) == 0 {
			return nil, reply, envelope.WithHint(
				envelope.Errorf(envelope.Unavailable, "none of the %d nodes that keep it answers%s", asked, reason(failure)),
				"try again when more nodes are up (l2p status)")
		}
		return nil, reply, envelope.Errorf(envelope.NotFound, "not found")
	}
	for f := range g.found {
		if f.N == v.N && f != v {
			g.claimed[f] += 2
		}
	}
	for f, n := range g.claimed {
		// A fork that only one other node tells of may be a lie.
		if f.N == v.N && f != v && n > 1 {
			reply.Forks = append(reply.Forks, f)
		}
	}
	slices.SortFunc(reply.Forks, func(a, b envelope.Version) int {
		if a.Newer(b) {
			return -1
		}
		return 1
	})
	return g.found[v].data, reply, nil
}

// errUnknown says that nobody who answered has something, and that too few did.
func errUnknown() error {
	return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "too few nodes answer to know whether there is such a thing"),
		"try again when more nodes are up (l2p status)")
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return " (" + envelope.SafeText(err.Error()) + ")"
}

// ask gets a node's answer and verifies it.
func (g *get) ask(ctx context.Context, node envelope.NodeID) recordAnswer {
	a := recordAnswer{node: node}
	if node == g.r.Self {
		var data []byte
		data, _, a.forks, a.err = g.r.getHere(g.ref, g.n)
		if a.err == nil && data != nil { // verified when it was stored
			a.data = data
			a.rec, a.err = envelope.ParseRecord(g.ref.Kind, data)
		}
		return a
	}
	var reply wire.RecordReply
	data, err := g.r.call(ctx, node, wire.TypeGetRecord, &wire.GetRecord{Ref: g.ref, N: g.n}, nil, &reply)
	if isKind(err, envelope.NotFound) {
		return a
	}
	if err != nil {
		a.err = err
		return a
	}
	a.data = data
	a.forks = reply.Forks[:min(len(reply.Forks), maxForks)]
	a.rec, a.err = g.check(ctx, data)
	return a
}

// check verifies a record that another node sent.
func (g *get) check(ctx context.Context, data []byte) (*envelope.Record, error) {
	rec, err := envelope.ParseRecord(g.ref.Kind, data)
	if err != nil {
		return nil, err
	}
	if rec.Ref != g.ref || g.n != 0 && rec.Version.N != g.n {
		return nil, envelope.Errorf(envelope.Corrupt, "a replica answered with another record than was asked for")
	}
	if err := checkComplete(rec); err != nil {
		return nil, err
	}
	return rec, g.r.verify(ctx, rec)
}
