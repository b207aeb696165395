// Package admit decides who takes part in a network. A [Roster] is the set of
// signed statements (box certificates, node certificates, revocations) that
// every node keeps, and what they mean; an [Issuer] is what the founder's box
// has on top: the root key, invitations, and the boxes that wait. The formats
// and rules are docs/admission.md.
//
// It decides, and keeps its decisions on disk. It must not know how nodes are
// reached or which of them are alive: it opens no socket, and package agentd
// does the walking.
package admit

import (
	"crypto/ed25519"
	"slices"
	"sync"
	"time"

	"l2p/agentd/ring"
	"l2p/envelope"
	"l2p/netq/wire"
)

// maxRosterFile bounds roster.cbor, in bytes.
const maxRosterFile = MaxStatements*(wire.MaxCertSize+16) + 1<<10

// A Roster is the verified statements of one network: a set that only grows
// in what it knows, so that nodes which tell each other what they have end
// with the same set and the same view, in whatever order they heard. Its
// methods may be called from many goroutines.
//
// The view doesn't depend on the time: an expired certificate gets no
// handshake, but keeps its place in the ring until it is revoked, so that no
// clock moves data.
type Roster struct {
	path string

	mu         sync.RWMutex
	statements *statements
	view       *view
	changes    uint64 // counts changes of statements

	// saving is held while the file is written, and for nothing else; readers
	// and writers of the set above don't wait for the disk.
	saving sync.Mutex
	saved  uint64 // value of changes that the file has
}

// rosterFile is the content of roster.cbor.
type rosterFile struct {
	Format     uint             `cbor:"1,keyasint"` // 1
	RootKey    []byte           `cbor:"2,keyasint"`
	Statements []wire.Statement `cbor:"3,keyasint"`
}

// CreateRoster makes an empty roster for the network with the given root key,
// in place of whatever the file at path had.
func CreateRoster(path string, rootKey ed25519.PublicKey) (*Roster, error) {
	if len(rootKey) != ed25519.PublicKeySize {
		return nil, envelope.Errorf(envelope.Corrupt, "a root key has %d bytes, not %d", ed25519.PublicKeySize, len(rootKey))
	}
	s := newStatements(slices.Clone(rootKey))
	r := &Roster{path: path, statements: s, view: newView(s), changes: 1}
	return r, r.save()
}

// OpenRoster reads the roster at path, checking every signature again. An
// error of kind NotFound says that there is none.
func OpenRoster(path string) (*Roster, error) {
	data, err := readFile(path, maxRosterFile)
	if err != nil {
		return nil, err
	}
	var f rosterFile
	if err := envelope.Decode(data, maxRosterFile, &f); err != nil {
		return nil, damaged(path, err)
	}
	if f.Format != 1 || len(f.RootKey) != ed25519.PublicKeySize {
		return nil, damaged(path, envelope.Errorf(envelope.Corrupt, "unknown format"))
	}
	s := newStatements(f.RootKey)
	if _, err := s.add(f.Statements); err != nil {
		return nil, damaged(path, err)
	}
	return &Roster{path: path, statements: s, view: newView(s)}, nil
}

// Add merges statements in any order. It takes those that hold and returns
// the first error that another had, or that writing the file met; what it took
// then counts all the same, and is written with the next change. A node
// certificate whose box certificate is neither known nor among them is refused
// with an error of kind NotFound. changed reports whether the set is another
// one now.
func (r *Roster) Add(batch []wire.Statement) (changed bool, err error) {
	r.mu.Lock()
	changed, err = r.statements.add(batch)
	if changed {
		r.view = newView(r.statements)
		r.changes++
	}
	r.mu.Unlock()
	if saveErr := r.save(); err == nil {
		err = saveErr
	}
	return changed, err
}

// save writes the file where the set has changed since it was last written.
func (r *Roster) save() error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.RLock()
	changes, v, root := r.changes, r.view, r.statements.root
	r.mu.RUnlock()
	if changes == r.saved {
		return nil
	}
	data, err := envelope.Encode(rosterFile{Format: 1, RootKey: root, Statements: v.wire(nil)})
	if err != nil {
		return err
	}
	if err := writeFile(r.path, data); err != nil {
		return err
	}
	r.saved = changes
	return nil
}

func (r *Roster) current() *view {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.view
}

// RootKey returns the network's public root key.
func (r *Roster) RootKey() ed25519.PublicKey { return slices.Clone(r.statements.root) }

// Network returns the network's id.
func (r *Roster) Network() envelope.NetworkID { return r.statements.network }

// Digest returns a hash of the set. Two rosters with one digest are the same.
func (r *Roster) Digest() envelope.Hash { return r.current().digest }

// Nodes returns the nodes that take part, ascending by id.
func (r *Roster) Nodes() []ring.Node { return slices.Clone(r.current().nodes) }

// Boxes returns the boxes that take part, ascending by name. They must not be
// changed.
func (r *Roster) Boxes() []*Box { return slices.Clone(r.current().boxes) }

// BoxByName returns the box that has a name.
func (r *Roster) BoxByName(name string) (*Box, bool) {
	b, ok := r.current().byName[name]
	return b, ok
}

// BoxByAgent returns the box that is an agent.
func (r *Roster) BoxByAgent(id envelope.AgentID) (*Box, bool) {
	b, ok := r.current().byAgent[id]
	return b, ok
}

// NodeBox returns the box that a node belongs to. It reports false for nodes
// that don't take part.
func (r *Roster) NodeBox(id envelope.NodeID) (*Box, bool) {
	b, ok := r.current().boxOf[id]
	return b, ok
}

// Credentials returns what the node proves its membership with.
func (r *Roster) Credentials(id envelope.NodeID) (*wire.Credentials, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	node, ok := r.view.certOf[id]
	if !ok {
		return nil, false
	}
	return &wire.Credentials{
		RootKey: slices.Clone(r.statements.root),
		Box:     r.statements.boxes[node.cert.BoxCert].Data,
		Node:    node.Data,
	}, true
}

// wire returns the statements that skip doesn't have, each after what it
// depends on.
func (v *view) wire(skip map[envelope.Hash]bool) []wire.Statement {
	out := make([]wire.Statement, 0, len(v.lines))
	for _, line := range v.lines {
		if !skip[line.hash] {
			out = append(out, line.Statement)
		}
	}
	return out
}

// Statements returns the whole set, each statement after what it depends on.
func (r *Roster) Statements() []wire.Statement { return r.current().wire(nil) }

// Hashes returns the hashes of all statements, ascending.
func (r *Roster) Hashes() []envelope.Hash {
	v := r.current()
	hashes := make([]envelope.Hash, len(v.lines))
	for i, line := range v.lines {
		hashes[i] = line.hash
	}
	slices.SortFunc(hashes, compareHash)
	return hashes
}

// Missing compares the set with the hashes of another's: missing are the
// statements that the other lacks, each after what it depends on, so that any
// first part of them can be merged by itself; want are the hashes that this
// set lacks, ascending.
func (r *Roster) Missing(have []envelope.Hash) (missing []wire.Statement, want []envelope.Hash) {
	v := r.current()
	other := make(map[envelope.Hash]bool, len(have))
	for _, h := range have {
		other[h] = true
	}
	missing = v.wire(other)
	for _, line := range v.lines {
		delete(other, line.hash)
	}
	for h := range other {
		want = append(want, h)
	}
	slices.SortFunc(want, compareHash)
	return missing, want
}

// Authorize decides whether a node with the given TLS key may connect: its
// credentials must be of this network and not expired, neither certificate
// revoked, and the node must have its place in the roster with them. The
// roster need not have them yet: they are returned then, for the caller to
// merge with [Roster.Add] when the handshake is over. Errors are of kind
// WrongNetwork, Denied or Corrupt.
func (r *Roster) Authorize(creds *wire.Credentials, key ed25519.PublicKey, now time.Time) ([]wire.Statement, error) {
	if creds == nil {
		return nil, envelope.Errorf(envelope.Denied, "the node belongs to no network")
	}
	if creds.Network() != r.Network() {
		err := envelope.Errorf(envelope.WrongNetwork, "the node belongs to another network, %s", creds.Network())
		return nil, envelope.WithHint(err, "this one is %s", r.Network())
	}
	box, node, err := wire.VerifyCredentials(creds, key, now)
	if err != nil {
		return nil, err
	}
	signed, err := envelope.ParseSigned(creds.Node, wire.MaxCertSize)
	if err != nil {
		return nil, err
	}
	nodeHash := signed.Hash()
	id := envelope.NodeIDOf(key)

	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.statements.revoked(node.BoxCert) {
		return nil, envelope.Errorf(envelope.Denied, "box %s has left the network or was expelled", box.Name)
	}
	if r.statements.revoked(nodeHash) {
		return nil, envelope.Errorf(envelope.Denied, "the node was taken out of box %s", box.Name)
	}
	if r.view.certOf[id].hash == nodeHash {
		return nil, nil
	}
	// What would the roster be with these statements in it?
	with := r.statements.clone()
	if _, err := with.add(creds.Statements()); err != nil {
		return nil, err
	}
	v := newView(with)
	if b := v.boxOf[id]; b == nil || b.Agent != box.Agent {
		return nil, envelope.Errorf(envelope.Denied, "the node's place in box %s has been given to another", box.Name)
	}
	return creds.Statements(), nil
}
