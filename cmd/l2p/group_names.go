package main

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"l2p/envelope"
	"l2p/netq/wire"
)

const (
	// Of a group with more members the names are those that they claim: to
	// look all of them up takes too long.
	maxLookedUp = 100
	// prefetchers is how many members of a group are asked for at once. A node
	// takes 32 requests of a connection.
	prefetchers = 16
)

// A namer names the agents that have to do with a group, each of them once.
type namer struct {
	dir   *directory
	ctx   context.Context // of the command, which it doesn't outlive
	known map[envelope.AgentID]agentRef
	large bool
}

func (d *directory) namer(ctx context.Context, group *envelope.Document) *namer {
	return &namer{dir: d, ctx: ctx, known: make(map[envelope.AgentID]agentRef), large: len(group.Group.Members) > maxLookedUp}
}

// ref names an agent shortly.
func (n *namer) ref(id envelope.AgentID) agentRef {
	if r, ok := n.known[id]; ok {
		return r
	}
	r := agentRef{ID: id.String(), called: id.Short() + "…"}
	if doc := n.newest(id); doc != nil && doc.Name != "" {
		r.Name = doc.Name
		if n.large {
			r.called = printable(doc.Name)
		} else {
			r.called = n.dir.short(n.ctx, id)
		}
	}
	n.known[id] = r
	return r
}

// member names an agent by name and id.
func (n *namer) member(id envelope.AgentID) agentRef {
	r := n.ref(id)
	switch {
	case !n.large:
		r.called = n.dir.called(n.ctx, id)
	case r.Name != "":
		r.called = r.ID + " (which calls itself " + r.Name + ")"
	default:
		r.called = r.ID
	}
	return r
}

func (n *namer) refs(ids []envelope.AgentID) []agentRef {
	var refs []agentRef
	for _, id := range ids {
		refs = append(refs, n.ref(id))
	}
	return refs
}

// signer names who signed a group's document.
func (n *namer) signer(d *envelope.Document) agentRef {
	for _, sig := range d.Signed().Signatures {
		if sig.Algorithm == envelope.Ed25519 && !sig.Signer.IsZero() && sig.Signer != d.ID() {
			return n.ref(sig.Signer)
		}
	}
	return agentRef{ID: d.ID().String(), called: "its recovery key"}
}

// kind returns what an agent is, or "" if that isn't known.
func (n *namer) kind(id envelope.AgentID) string {
	if doc := n.newest(id); doc != nil {
		return doc.Kind.String()
	}
	return ""
}

// newest returns an agent's newest document, or nil if there is none to have.
func (n *namer) newest(id envelope.AgentID) *envelope.Document {
	newest := n.dir.newest
	if n.large {
		newest = n.dir.store.Newest
	}
	doc, err := newest(n.ctx, id)
	if err != nil {
		return nil
	}
	return doc
}

// prefetch asks the network for newer documents of a group's members, many at
// once, so that nobody has to be asked for later whose documents are known.
func (d *directory) prefetch(ctx context.Context, group *envelope.Document) error {
	if d.client == nil {
		return nil
	}
	var ids []envelope.AgentID
	for _, m := range group.Group.Members {
		if !d.asked[m.ID] {
			ids = append(ids, m.ID)
		}
	}
	isNew := make([]bool, len(ids))
	var workers sync.WaitGroup
	next := make(chan int)
	for range min(prefetchers, len(ids)) {
		workers.Go(func() {
			for i := range next {
				isNew[i] = d.hasNews(ctx, ids[i])
			}
		})
	}
	for i := range ids {
		next <- i
	}
	close(next)
	workers.Wait()
	for i, id := range ids {
		d.asked[id] = !isNew[i] // who has news is asked for again, by refresh
	}
	return ctx.Err()
}

// hasNews reports whether the network has documents of an agent that the
// keystore has not, or can't say. It changes nothing.
func (d *directory) hasNews(ctx context.Context, id envelope.AgentID) bool {
	known, err := d.store.Newest(ctx, id)
	if err != nil {
		return true
	}
	list := wire.ListRecords{Kind: envelope.KindDocument, Owner: id, History: true, Bare: true, AfterN: known.Version - 1}
	page, err := d.client.ListRecords(ctx, list)
	if err != nil || page.More {
		return true
	}
	// As bytes, since parsing takes longer than asking.
	same := known.Bare().Signed().Encode()
	return slices.ContainsFunc(page.Records, func(data []byte) bool { return !bytes.Equal(data, same) })
}
