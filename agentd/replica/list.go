package replica

import (
	"cmp"
	"context"
	"slices"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// A page is what replicas' answers to one listing make together.
type page struct {
	records [][]byte
	last    listKey // of the last of records
	more    bool
	stale   bool // fewer answered than were needed
}

// ListRecords returns a page of an owner's records as a quorum keeps them:
// what any of r replicas has, as far as it verifies.
func (r *Replica) ListRecords(ctx context.Context, q wire.ListRecords) ([][]byte, wire.RecordsReply, error) {
	pos := ring.RecordPosition(q.Owner)
	at := r.quorumAt(pos)
	if at.k == 0 {
		return nil, wire.RecordsReply{}, errNoNetwork()
	}
	check := r.listChecker(ctx, q)
	unsure := false
	verify := func(pages []listed) { unsure = r.dropUnverified(pages, check) || unsure }
	p, err := r.listQuorum(ctx, q, at.nodes, at.r, verify)
	if err != nil {
		return nil, wire.RecordsReply{}, err
	}
	if more := r.beyond(pos, at); len(p.records) == 0 && q.AfterN == 0 && len(more) > 0 {
		// Nobody who should have any has one. Perhaps they have just joined.
		if wider, err := r.listQuorum(ctx, q, more, max(1, len(more)-1), verify); err == nil {
			wider.stale = p.stale
			p = wider
		}
	}
	return p.records, wire.RecordsReply{More: p.more, Stale: p.stale || unsure}, nil
}

// listChecker returns a function that verifies what replicas list. Documents
// are verified as a whole, as the tree that they make.
func (r *Replica) listChecker(ctx context.Context, q wire.ListRecords) func(data []byte) error {
	var tree *documentTree
	fresh := false
	seen := make(map[string]error)
	check := func(data []byte) error {
		rec, err := envelope.ParseRecord(q.Kind, data)
		if err != nil {
			return err
		}
		if rec.Document == nil {
			return r.verify(ctx, rec)
		}
		if tree == nil { // what is remembered will do, if it has all that is listed
			if tree, err = r.tree(ctx, q.Owner, false); err != nil {
				return err
			}
		}
		if tree.byHash[rec.Version.Hash] == nil && !fresh {
			fresh = true
			if tree, err = r.tree(ctx, q.Owner, true); err != nil {
				return err
			}
		}
		if tree.byHash[rec.Version.Hash] == nil {
			return envelope.Errorf(envelope.Corrupt, "it is not in the agent's chain of documents")
		}
		return nil
	}
	return func(data []byte) error {
		err, known := seen[string(data)]
		if !known {
			err = check(data)
			seen[string(data)] = err
		}
		return err
	}
}

// listQuorum asks nodes for a page and merges what need of them answer and
// verify leaves. It checks itself that each record is where it belongs, and no
// signature.
func (r *Replica) listQuorum(ctx context.Context, q wire.ListRecords, nodes []envelope.NodeID, need int, verify func([]listed)) (page, error) {
	pages, stale, err := gather(ctx, r, nodes, need, func(ctx context.Context, node envelope.NodeID) (listed, error) {
		var l listed
		var records [][]byte
		var err error
		if node == r.Self {
			records, l.more, err = r.listHere(q)
		} else {
			records, l.more, err = r.listThere(ctx, node, wire.TypeListRecords, &q)
		}
		if err != nil {
			return l, err
		}
		l.items, err = parseListed(q, records)
		return l, err
	})
	if err != nil {
		return page{}, err
	}
	// Before they are merged, lest a forged version hide a true one, or where a
	// page ends.
	verify(pages)
	for i := range pages {
		pages[i] = pages[i].end()
	}
	p := merge(q, pages)
	p.stale = stale
	return p, nil
}

// dropUnverified leaves what check lets pass. It reports whether it dropped
// something that might have passed if more nodes had answered.
func (r *Replica) dropUnverified(pages []listed, check func([]byte) error) (unsure bool) {
	for i := range pages {
		pages[i].items = slices.DeleteFunc(pages[i].items, func(it item) bool {
			err := check(it.data)
			if err != nil {
				r.log.Warn("a replica listed a record that doesn't verify", "err", err)
			}
			unsure = unsure || mayRecover(err)
			return err != nil
		})
	}
	return unsure
}

func (r *Replica) listThere(ctx context.Context, node envelope.NodeID, t wire.Type, body any) ([][]byte, bool, error) {
	var reply wire.RecordsReply
	data, err := r.call(ctx, node, t, body, nil, &reply)
	if err != nil {
		return nil, false, err
	}
	records, err := wire.DecodeRecords(data)
	return records, reply.More, err
}

// gather asks nodes at once and returns the first need answers, or fewer, with
// stale set, if no more come within 3 seconds. No answer at all is an error.
func gather[T any](ctx context.Context, r *Replica, nodes []envelope.NodeID, need int, ask func(context.Context, envelope.NodeID) (T, error)) (got []T, stale bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	stop := context.AfterFunc(r.ctx, cancel)
	defer func() { stop(); cancel() }()
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, len(nodes))
	for _, node := range nodes {
		if !r.start(func() {
			v, err := ask(ctx, node)
			answers <- answer{v, err}
		}) {
			return nil, false, envelope.Errorf(envelope.Unavailable, "the node is stopping")
		}
	}
	var failure error
	for n := 0; n < len(nodes) && len(got) < need; n++ {
		select {
		case a := <-answers:
			if a.err != nil {
				failure = a.err
			} else {
				got = append(got, a.value)
			}
		case <-ctx.Done():
			n = len(nodes)
		}
	}
	if len(got) == 0 {
		return nil, false, envelope.WithHint(
			envelope.Errorf(envelope.Unavailable, "none of the %d nodes that keep it answers%s", len(nodes), reason(failure)),
			"try again when more nodes are up (l2p status)")
	}
	return got, len(got) < need, nil
}

// A listed is one replica's page, parsed.
type listed struct {
	items []item
	more  bool
	last  listKey // of the last item, if there are more
}

// end notes where the page ends: with the last record that is one. A page
// without any has nothing behind it, whatever its node says.
func (l listed) end() listed {
	l.more = l.more && len(l.items) > 0
	if l.more {
		l.last = l.items[len(l.items)-1].key()
	}
	return l
}

type item struct {
	name     string
	version  envelope.Version
	data     []byte
	document *envelope.Document // nil where it is none, or that doesn't matter
}

func (i item) key() listKey { return listKey{i.name, i.version.N} }

// A listKey is a record's place in a listing.
type listKey struct {
	name string
	n    uint64
}

func (k listKey) compare(l listKey) int {
	return cmp.Or(cmp.Compare(k.name, l.name), cmp.Compare(k.n, l.n))
}

// parseListed checks that a replica's page is what was asked for.
func parseListed(q wire.ListRecords, records [][]byte) ([]item, error) {
	items := make([]item, 0, len(records))
	for _, data := range records {
		rec, err := envelope.ParseRecord(q.Kind, data)
		if err != nil {
			return nil, err
		}
		if rec.Ref.Owner != q.Owner || !q.AllNames && rec.Ref.Name != q.Name {
			return nil, envelope.Errorf(envelope.Corrupt, "a replica listed a record that was not asked for")
		}
		items = append(items, item{rec.Ref.Name, rec.Version, data, rec.Document})
	}
	return items, nil
}

// merge makes one page of several replicas'. It ends where the first of the
// pages ends that has others behind it, since beyond that it wouldn't be whole.
func merge(q wire.ListRecords, pages []listed) page {
	var all []item
	var end *listKey
	for _, p := range pages {
		all = append(all, p.items...)
		if p.more && (end == nil || end.compare(p.last) > 0) {
			end = &p.last
		}
	}
	slices.SortFunc(all, func(a, b item) int {
		if c := a.key().compare(b.key()); c != 0 {
			return c
		}
		return slices.Compare(a.version.Hash[:], b.version.Hash[:])
	})
	var out page
	size := 0
	for i, it := range all {
		if i > 0 && it.name == all[i-1].name && it.version == all[i-1].version {
			continue
		}
		if !q.History && i+1 < len(all) && newerFollows(all[i:]) {
			continue
		}
		beyondEnd := end != nil && (it.name > end.name || q.History && it.key().compare(*end) > 0)
		// Replicas bound their pages; together they could still be too much.
		if beyondEnd || len(out.records) > 0 && size+len(it.data) > wire.MaxRecordData/2 {
			out.more = true
			break
		}
		if !q.History && i > 0 && it.name == all[i-1].name && it.version.N == all[i-1].version.N {
			continue // the losing side of a fork
		}
		out.records, out.last = append(out.records, it.data), it.key()
		size += len(it.data)
	}
	out.more = out.more || end != nil
	return out
}

// newerFollows reports whether a higher number of the same name follows the first item.
func newerFollows(items []item) bool {
	for _, it := range items[1:] {
		if it.name != items[0].name {
			return false
		}
		if it.version.N > items[0].version.N {
			return true
		}
	}
	return false
}

// Memberships returns a page of the newest documents of all groups that list
// an agent as a member, ascending by group. Groups are spread over the ring, so
// every node is asked; stale is set if not all that are needed answered.
func (r *Replica) Memberships(ctx context.Context, q wire.Memberships) ([][]byte, wire.RecordsReply, error) {
	var nodes []envelope.NodeID
	for _, n := range r.Ring().Nodes() {
		nodes = append(nodes, n.ID)
	}
	if len(nodes) == 0 {
		return nil, wire.RecordsReply{}, errNoNetwork()
	}
	// A newest version is on w nodes at least: if all but w-1 answer, none is missed.
	need := max(1, len(nodes)-r.W+1)
	pages, stale, err := gather(ctx, r, nodes, need, func(ctx context.Context, node envelope.NodeID) (listed, error) {
		var l listed
		var records [][]byte
		var err error
		if node == r.Self {
			records, l.more, err = r.membershipsHere(q)
		} else {
			records, l.more, err = r.listThere(ctx, node, wire.TypeMemberships, &q)
		}
		for _, data := range records {
			d, err := envelope.ParseDocument(data)
			if err != nil || d.Group == nil {
				return l, envelope.Errorf(envelope.Corrupt, "a node listed a group that is none")
			}
			id := d.ID()
			l.items = append(l.items, item{string(id[:]), versionOf(d), data, nil})
		}
		return l, err
	})
	if err != nil {
		return nil, wire.RecordsReply{}, err
	}
	seen := make(map[string]error)
	r.dropUnverified(pages, func(data []byte) error {
		err, known := seen[string(data)]
		if !known {
			err = r.checkGroup(ctx, data)
			seen[string(data)] = err
		}
		return err
	})
	for i := range pages {
		pages[i] = pages[i].end()
	}
	merged := merge(wire.ListRecords{}, pages)
	// One replica may not know yet that the agent is no member any more.
	merged.records = slices.DeleteFunc(merged.records, func(data []byte) bool {
		d, err := envelope.ParseDocument(data)
		if err != nil {
			return true
		}
		_, lists := d.Member(q.Agent)
		return !lists
	})
	return merged.records, wire.RecordsReply{More: merged.more, Stale: stale}, nil
}

// checkGroup verifies a group's document.
func (r *Replica) checkGroup(ctx context.Context, data []byte) error {
	rec, err := envelope.ParseRecord(envelope.KindDocument, data)
	if err != nil {
		return err
	}
	return r.verify(ctx, rec)
}
