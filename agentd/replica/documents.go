package replica

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// Bounds on the search for documents. Checking a group's document asks for its
// admins' documents, and those need nobody else's: more depth is a trap.
const (
	maxDepth     = 3
	maxDocuments = 20_000 // of one agent: all that ordinary keys can make before a recovery, and after it
	cacheLife    = 30 * time.Second
)

var _ envelope.Documents = (*Replica)(nil)

// Chain returns an agent's documents without attachments, oldest first. It
// implements [envelope.Documents]: from what this node keeps if it is a
// successor of the agent, else from a quorum of those who are. For up to 30
// seconds it may return what it found before.
func (r *Replica) Chain(ctx context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	return r.chain(ctx, id, false)
}

// chain is Chain; fresh asks the quorum whatever is at hand.
func (r *Replica) chain(ctx context.Context, id envelope.AgentID, fresh bool) ([]*envelope.Document, error) {
	t, err := r.tree(ctx, id, fresh)
	if err != nil {
		return nil, err
	}
	return t.newest(), nil
}

// signersDocuments are the documents by which the signatures of one record are
// checked. A signer's document may be one that a recovery left behind: readers
// refuse such a signature, but a replica took the record while the document
// was the newest, and has to be able to pass it on.
type signersDocuments struct {
	r      *Replica
	signed *envelope.Signed
	fresh  bool // as a quorum has them now
}

func (s signersDocuments) Chain(ctx context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	t, err := s.r.tree(ctx, id, s.fresh)
	if err != nil {
		return nil, err
	}
	chain := t.newest()
	for _, sig := range s.signed.Signatures {
		if sig.Signer == id && envelope.RevokedBy(chain, sig.Version) != nil && envelope.FindVersion(chain, sig.Version) == nil {
			if left := t.upTo(t.leftBehind(sig.Version)); left != nil {
				return left, nil
			}
		}
	}
	return chain, nil
}

// A documentTree holds an agent's verified documents: a chain, or several that
// have their first versions in common if there was a fork, or a recovery
// document left some behind.
type documentTree struct {
	byHash  map[envelope.Hash]*envelope.Document
	best    *envelope.Document
	failure error // why a document was left out
}

// newest returns the chain that ends in the winner.
func (t *documentTree) newest() []*envelope.Document { return t.upTo(t.best.Hash()) }

// upTo returns the chain that ends in the document with the given hash, or nil.
func (t *documentTree) upTo(hash envelope.Hash) []*envelope.Document {
	var chain []*envelope.Document
	for d := t.byHash[hash]; d != nil; d = t.byHash[d.Parent] {
		chain = append(chain, d)
	}
	slices.Reverse(chain)
	return chain
}

// leftBehind returns the hash of the document with number n that wins among
// those off the newest chain, or zero.
func (t *documentTree) leftBehind(n uint64) envelope.Hash {
	var best envelope.Version
	for _, d := range t.byHash {
		if v := versionOf(d); v.N == n && (best.N == 0 || v.Newer(best)) {
			best = v
		}
	}
	return best.Hash
}

// grow verifies documents of one agent, from the first one on, and adds them.
// What doesn't verify, and what follows from it, is left out: whoever adds
// forged documents adds nothing.
func (t *documentTree) grow(ctx context.Context, r *Replica, id envelope.AgentID, documents []*envelope.Document) {
	slices.SortStableFunc(documents, func(a, b *envelope.Document) int { return compareN(a.Version, b.Version) })
	for _, d := range documents {
		if d.ID() != id || t.byHash[d.Hash()] != nil {
			continue
		}
		chain := t.upTo(d.Parent)
		if d.Version > 1 && chain == nil {
			continue
		}
		if err := envelope.VerifyDocument(ctx, d, chain, signersDocuments{r: r, signed: d.Signed()}); err != nil {
			t.failure = err
			continue
		}
		t.add(d)
	}
}

func (t *documentTree) add(d *envelope.Document) {
	t.byHash[d.Hash()] = d
	if t.best == nil || versionOf(d).Newer(versionOf(t.best)) {
		t.best = d
	}
}

// check returns an error if t is empty.
func (t *documentTree) check(id envelope.AgentID) error {
	switch {
	case t.best != nil:
		return nil
	case t.failure != nil:
		return t.failure
	}
	return envelope.Errorf(envelope.NotFound, "no documents of %s are known", id)
}

func versionOf(d *envelope.Document) envelope.Version {
	return envelope.Version{N: d.Version, Hash: d.Hash()}
}

func compareN(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type depthKey struct{}

// tree finds an agent's documents.
func (r *Replica) tree(ctx context.Context, id envelope.AgentID, fresh bool) (*documentTree, error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	if depth >= maxDepth {
		return nil, envelope.Errorf(envelope.Corrupt, "documents of %s depend on others without end", id)
	}
	ctx = context.WithValue(ctx, depthKey{}, depth+1)
	if !fresh {
		if t := r.documents.get(id); t != nil {
			return t, nil
		}
	}
	began := r.documents.generation()
	pos := ring.RecordPosition(id)
	q := r.quorumAt(pos)
	if !fresh && slices.Contains(q.nodes, r.Self) {
		t, err := r.readTree(ctx, id, r.documentsHere)
		if err != nil {
			return nil, err
		}
		if t.check(id) == nil {
			r.documents.put(id, t, began)
			return t, nil
		}
	}
	t, err := r.treeThere(ctx, id, pos, q)
	if err == nil {
		err = t.check(id)
	}
	if err != nil {
		return nil, err
	}
	r.documents.put(id, t, began)
	return t, nil
}

// A documentLister returns a page of an agent's documents. It has verify drop
// those that are forged before it looks where the page ends.
type documentLister func(ctx context.Context, q wire.ListRecords, verify func([]listed)) (page, error)

// documentsHere lists the documents that this node keeps. Should it not be able to
// read some of them, others are.
func (r *Replica) documentsHere(_ context.Context, q wire.ListRecords, verify func([]listed)) (page, error) {
	records, more, err := r.listHere(q)
	if err != nil {
		return page{}, err
	}
	items, _ := parseListed(q, records)
	pages := []listed{{items: items, more: more}}
	verify(pages)
	return merge(q, []listed{pages[0].end()}), nil
}

// treeThere returns the documents that a quorum keeps.
func (r *Replica) treeThere(ctx context.Context, id envelope.AgentID, pos uint64, q quorum) (*documentTree, error) {
	stale := false
	of := func(nodes []envelope.NodeID, need int) documentLister {
		return func(ctx context.Context, q wire.ListRecords, verify func([]listed)) (page, error) {
			p, err := r.listQuorum(ctx, q, nodes, need, verify)
			stale = stale || p.stale
			return p, err
		}
	}
	t, err := r.readTree(ctx, id, of(q.nodes, q.r))
	if err != nil || t.best != nil {
		return t, err
	}
	if more := r.beyond(pos, q); len(more) > 0 {
		t, err = r.readTree(ctx, id, of(more, max(1, len(more)-1)))
	}
	if err == nil && t.best == nil && stale {
		return nil, errUnknown()
	}
	return t, err
}

// readTree reads an agent's documents, bare and page after page, and verifies
// them as they come: what is forged takes no room, and moves no page's end.
// Thieves and dishonest nodes together can make very many that do verify, below
// the next recovery document, so that those are passed over at last.
func (r *Replica) readTree(ctx context.Context, id envelope.AgentID, list documentLister) (*documentTree, error) {
	t := &documentTree{byHash: make(map[envelope.Hash]*envelope.Document)}
	verify := func(pages []listed) {
		var documents []*envelope.Document
		for _, p := range pages {
			for _, it := range p.items {
				documents = append(documents, it.document)
			}
		}
		t.grow(ctx, r, id, documents)
		for i := range pages {
			pages[i].items = slices.DeleteFunc(pages[i].items, func(it item) bool { return t.byHash[it.version.Hash] == nil })
		}
	}
	q := wire.ListRecords{Kind: envelope.KindDocument, Owner: id, History: true, Bare: true}
	for before := 0; ; {
		p, err := list(ctx, q, verify)
		if err != nil {
			return nil, err
		}
		if !p.more || p.last.n <= q.AfterN || len(t.byHash) > maxDocuments {
			return t, nil
		}
		next := envelope.RecoveryVersion(q.AfterN)
		switch q.AfterN = p.last.n; {
		case q.AfterN >= next:
			before = len(t.byHash)
		case len(t.byHash)-before > maxDocuments/2:
			q.AfterN, before = next-1, len(t.byHash)
		}
	}
}

// A documentCache remembers verified documents for a short while, so that a
// thousand puts of one author don't ask for the author's documents a thousand
// times.
type documentCache struct {
	mu      sync.Mutex
	entries map[envelope.AgentID]cachedTree
	gen     uint64 // counts what was forgotten
}

type cachedTree struct {
	tree  *documentTree
	until time.Time
}

func (c *documentCache) get(id envelope.AgentID) *documentTree {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok || time.Now().After(e.until) {
		delete(c.entries, id)
		return nil
	}
	return e.tree
}

func (c *documentCache) generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gen
}

// put remembers t, which was looked for when the generation was began. If
// anything was forgotten since, t may be older than that and isn't remembered.
func (c *documentCache) put(id envelope.AgentID, t *documentTree, began uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != began {
		return
	}
	if c.entries == nil {
		c.entries = make(map[envelope.AgentID]cachedTree)
	}
	for other := range c.entries { // some entry makes room: they don't live long
		if len(c.entries) < maxCached {
			break
		}
		delete(c.entries, other)
	}
	c.entries[id] = cachedTree{t, time.Now().Add(cacheLife)}
}

// extend is called when a document has been verified and stored. Where the
// documents before it are remembered they need not be read again.
func (c *documentCache) extend(d *envelope.Document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	e, ok := c.entries[d.ID()]
	if !ok {
		return
	}
	if _, follows := e.tree.byHash[d.Parent]; !follows {
		delete(c.entries, d.ID())
		return
	}
	e.tree = e.tree.with(d.Bare())
	c.entries[d.ID()] = e
}

// with returns t and one document more. Others go on to use t as it is.
func (t *documentTree) with(d *envelope.Document) *documentTree {
	t = &documentTree{byHash: maps.Clone(t.byHash), best: t.best, failure: t.failure}
	t.add(d)
	return t
}
