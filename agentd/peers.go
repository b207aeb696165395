package agentd

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"l2p/envelope"
	"l2p/netq/wire"
)

// maxPeers bounds the address book: nodes of the roster are far fewer.
const maxPeers = 4096

// A peerBook remembers where other nodes were last reached, across restarts.
type peerBook struct {
	state *stateDir

	mu    sync.Mutex
	addrs map[envelope.NodeID]string
	dirty bool
}

// openPeers reads the address book. A damaged one is an empty one: it is a
// convenience, and the node must come up without it.
func openPeers(state *stateDir) *peerBook {
	b := &peerBook{state: state, addrs: map[envelope.NodeID]string{}}
	data, err := state.read(filePeers)
	if err != nil || data == nil {
		return b
	}
	var list []wire.Peer
	if envelope.Decode(data, maxStateFile, &list) != nil {
		return b
	}
	for _, p := range list {
		b.add(p.Node, p.Addr)
	}
	b.dirty = false
	return b
}

// add notes where a node was reached.
func (b *peerBook) add(id envelope.NodeID, addr string) {
	if wire.CheckAddr(addr, false) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.addrs[id]; b.addrs[id] == addr || !known && len(b.addrs) >= maxPeers {
		return
	}
	b.addrs[id], b.dirty = addr, true
}

// addr returns where a node was last reached, or "".
func (b *peerBook) addr(id envelope.NodeID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addrs[id]
}

// list returns the book, ascending by node.
func (b *peerBook) list() []wire.Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]wire.Peer, 0, len(b.addrs))
	for id, addr := range b.addrs {
		list = append(list, wire.Peer{Node: id, Addr: addr})
	}
	slices.SortFunc(list, func(x, y wire.Peer) int { return cmp.Compare(string(x.Node[:]), string(y.Node[:])) })
	return list
}

// keep drops the nodes for which wanted is false.
func (b *peerBook) keep(wanted func(envelope.NodeID) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.addrs)
	maps.DeleteFunc(b.addrs, func(id envelope.NodeID, _ string) bool { return !wanted(id) })
	b.dirty = b.dirty || len(b.addrs) != n
}

// save writes the book where it has changed.
func (b *peerBook) save() error {
	b.mu.Lock()
	dirty := b.dirty
	b.dirty = false
	b.mu.Unlock()
	if !dirty {
		return nil
	}
	data, err := envelope.Encode(b.list())
	if err != nil {
		return err
	}
	return b.state.write(filePeers, data)
}
