package envelope

import (
	"crypto/ed25519"
	"fmt"
	"sync"

	"filippo.io/age"
)

// An AgentKind says what an agent is.
type AgentKind uint

const (
	User    AgentKind = 1 // a person
	Service AgentKind = 2 // a program
	Group   AgentKind = 3 // agents who share keys
	Box     AgentKind = 4 // a company's node or nodes; signs, and reads nothing
)

// String returns the kind's name in lower case.
func (k AgentKind) String() string {
	switch k {
	case User:
		return "user"
	case Service:
		return "service"
	case Group:
		return "group"
	case Box:
		return "box"
	}
	return fmt.Sprintf("kind %d", uint(k))
}

// A Document is one version of what an agent publishes about itself: its keys
// and, for a group, its members. An agent's documents form a chain, each
// signed by the key before it, or by the recovery key; the hash of the first is
// the agent's id.
// The format is docs/keys.md.
type Document struct {
	Format  uint      `cbor:"1,keyasint"` // 1
	Kind    AgentKind `cbor:"2,keyasint"`
	Version uint64    `cbor:"3,keyasint"` // 1 for the first; ascends, by one except at a recovery
	// Agent is the id; zero in the first document, whose hash it is.
	Agent  AgentID `cbor:"4,keyasint,omitzero"`
	Parent Hash    `cbor:"5,keyasint,omitzero"` // hash of the document before; zero in the first
	Time   int64   `cbor:"6,keyasint"`          // Unix milliseconds, by the author's clock; never used to order
	// Name is the full name that the agent goes by, such as "adam@a-tech". It
	// is a claim: only the box's binding makes the name the agent's.
	Name string       `cbor:"7,keyasint,omitempty"`
	Keys []SigningKey `cbor:"8,keyasint"` // public signing keys; one of each algorithm
	// Recipient is the age recipient, age1pq1… or age1…; empty for a box.
	Recipient string `cbor:"9,keyasint,omitempty"`
	// Locked is the hash of the attachment with the agent's secrets, locked by
	// a passphrase; zero where they are kept elsewhere.
	Locked Hash       `cbor:"10,keyasint,omitzero"`
	Group  *GroupPart `cbor:"11,keyasint,omitempty"` // for groups only
	// Recovery is the Ed25519 public key, 32 bytes, that may recover the agent
	// when its other keys are stolen or lost; empty: none. See [Document.IsRecovery].
	Recovery []byte `cbor:"12,keyasint,omitempty"`

	signed *Signed
	later  *laterAttachments // nil: they are in signed, if anywhere
	age    age.Recipient     // what Recipient says, nil for a box
}

// ID returns the agent's id.
func (d *Document) ID() AgentID {
	if d.Version == 1 {
		return AgentID(d.Hash())
	}
	return d.Agent
}

// Hash returns the hash that names this version of the document. Like ID,
// Signed, Attachment and Bare it is for documents that were parsed or signed.
func (d *Document) Hash() Hash { return d.signed.Hash() }

// Signed returns the document's outer form. It must not be changed.
func (d *Document) Signed() *Signed {
	if d.later != nil {
		return d.later.get(d)
	}
	return d.signed
}

// HasAttachments reports whether d came with the attachments that it names, or
// will get them.
func (d *Document) HasAttachments() bool { return d.later != nil || len(d.signed.Attachments) > 0 }

// Later returns d with attachments that load returns when they are first asked
// for: those of a large group are not for every day. What isn't what d names
// counts as missing.
func (d *Document) Later(load func() [][]byte) *Document {
	later := *d
	later.later = &laterAttachments{load: load}
	return &later
}

type laterAttachments struct {
	load   func() [][]byte
	once   sync.Once
	signed *Signed
}

func (l *laterAttachments) get(d *Document) *Signed {
	l.once.Do(func() {
		whole := *d.Bare()
		whole.signed.Attachments = l.load()
		if whole.checkAttachments() != nil {
			whole.signed.Attachments = nil
		}
		l.signed = whole.signed
	})
	return l.signed
}

// SigningKey returns the agent's Ed25519 public key.
func (d *Document) SigningKey() ed25519.PublicKey { return ed25519.PublicKey(d.Keys[0].Key) }

// Attachment returns the attachment with the given hash, or nil if d came
// without it.
func (d *Document) Attachment(name Hash) []byte {
	if !d.HasAttachments() {
		return nil
	}
	attachments := d.Signed().Attachments
	for i, n := range d.attachmentNames() {
		if n == name && i < len(attachments) {
			return attachments[i]
		}
	}
	return nil
}

// Bare returns d without attachments: enough to verify signatures with and to
// seal for, and much smaller where the group is large.
func (d *Document) Bare() *Document {
	bare := *d
	bare.later = nil
	bare.signed = &Signed{Body: d.signed.Body, Signatures: d.signed.Signatures}
	return &bare
}

// A GroupPart is what the document of a group says beyond an agent's.
type GroupPart struct {
	Epoch   uint64    `cbor:"1,keyasint"` // 1 for the first; each removal of a member makes a new one, with new keys
	Admins  []AgentID `cbor:"2,keyasint"` // users and services who may change the group, ascending
	Members []Member  `cbor:"3,keyasint"` // ascending by ID
	// Boxes are the hashes of the attachments with the epoch's secrets, each
	// an age file for at most 500 members whose recipients are of one type,
	// and who all have a From or all have none.
	Boxes []Hash `cbor:"4,keyasint"`
	// Previous is the hash of the attachment with the secrets of the epoch
	// before, an age file for this epoch's history identity, which the boxes
	// of members without From hold; zero in the first epoch.
	Previous Hash `cbor:"5,keyasint,omitzero"`
	// Resolves are the hashes of other documents of the group whose changes
	// this version has taken in: they lost a fork. Ascending, at most 16.
	Resolves []Hash `cbor:"6,keyasint,omitempty"`
}

// A Member is one member of a group.
type Member struct {
	ID      AgentID `cbor:"1,keyasint"`
	Version uint64  `cbor:"2,keyasint"` // of the member's document whose recipient the box is sealed to
	Box     uint    `cbor:"3,keyasint"` // index into GroupPart.Boxes
	// Epoch is the epoch of that version where the member is itself a group,
	// and zero otherwise. Where the nested group has a newer epoch, its former
	// members can still open this box: see docs/keys.md.
	Epoch uint64 `cbor:"4,keyasint,omitzero"`
	// From is the first epoch that the member opens, at least 2; zero for one
	// who opens all, back to the first.
	From uint64 `cbor:"5,keyasint,omitzero"`
}
