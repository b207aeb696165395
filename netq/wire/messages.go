package wire

import "l2p/envelope"

// A Type says what a message is. docs/protocol.md has the table; numbers never
// change meaning.
type Type uint16

// Replies that any request may get.
const (
	TypeError Type = 1 // Error
	TypeOK    Type = 2 // OK
)

// Records. A client's request is coordinated: the node asks the successors. A
// node's request is answered from what the answering node itself keeps.
const (
	TypePutRecord    Type = 20 // PutRecord, data: the record            -> PutReply
	TypePutReply     Type = 21
	TypeGetRecord    Type = 22 // GetRecord                              -> RecordReply, data: the record
	TypeRecordReply  Type = 23
	TypeListRecords  Type = 24 // ListRecords                            -> RecordsReply, data: see there
	TypeRecords      Type = 25
	TypeMemberships  Type = 26 // Memberships                            -> RecordsReply
	TypeHasRecords   Type = 27 // HasRecords                             -> HasReply
	TypeReserve      Type = 28 // Reserve, data: the record, bare         -> ReserveReply
	TypeReserveReply Type = 29
)

// Segments.
const (
	TypePutSegment   Type = 30 // PutSegment, data: the segment's frame -> PutReply
	TypeGetSegment   Type = 31 // GetSegment                            -> SegmentReply, data: the segment's frame
	TypeSegmentReply Type = 32
	TypeHasSegments  Type = 33 // HasSegments                           -> HasReply
	TypeHasReply     Type = 34
	TypeLiveKeys     Type = 35 // LiveKeys                              -> LiveKeysReply
	TypeLiveReply    Type = 36
)

// What a node tells of itself and of the network.
const (
	TypeHello       Type = 10 // Hello, first on a client's connection  -> Welcome
	TypeWelcome     Type = 11
	TypeStatus      Type = 40 // Empty                                  -> StatusReply
	TypeStatusReply Type = 41
	TypeRing        Type = 42 // Ring                                   -> RingReply
	TypeRingReply   Type = 43
	TypeRoster      Type = 44 // RosterRequest                          -> RosterReply
	TypeRosterReply Type = 45
)

// What an operator asks of the own node.
const (
	TypeInit         Type = 50 // Init                                  -> OK
	TypeInvite       Type = 51 // Invite                                -> InviteReply
	TypeInviteReply  Type = 52
	TypeJoin         Type = 53 // Join                                  -> JoinReply
	TypeJoinReply    Type = 54
	TypeLookAt       Type = 55 // LookAt                                -> LookAtReply
	TypeLookAtReply  Type = 56
	TypePending      Type = 57 // Empty                                 -> PendingReply
	TypePendingReply Type = 58
	TypeAdmit        Type = 59 // Admit                                 -> OK
	TypeLeave        Type = 60 // Empty                                 -> OK
	TypeBind         Type = 61 // Bind                                  -> OK
	TypeStop         Type = 62 // Empty                                 -> OK
	TypeExpel        Type = 63 // Expel                                 -> ExpelReply
	TypeExpelReply   Type = 64
)

// Between nodes only.
const (
	TypePing   Type = 70 // Empty                                       -> OK
	TypeGossip Type = 71 // Empty; the stream is memberlist's after that
)

// On the admission protocol only.
const (
	TypeAsk       Type = 80 // Ask                                      -> Admission, or an Error of kind Unavailable while it waits
	TypeAdmission Type = 81
)

// Empty is the body of messages that say nothing beyond their type.
type Empty struct{}

// Error is the reply to a request that failed.
type Error struct {
	Kind envelope.ErrorKind `cbor:"1,keyasint"`
	Text string             `cbor:"2,keyasint"` // one line, at most 1,024 bytes
	Hint string             `cbor:"3,keyasint,omitempty"`
}

// PutRecord stores the record in the data part. It is compare-and-set: the
// record's parent must be the newest version that the replicas have.
type PutRecord struct {
	Kind envelope.RecordKind `cbor:"1,keyasint"`
	// Repair marks a copy that one replica passes to another; the replica
	// checks its signatures, and takes it whatever version it has.
	// Refused from clients.
	Repair bool `cbor:"2,keyasint,omitempty"`
}

// Reserve asks a replica to take no other record at the ref of the one in the
// data part, which comes without attachments, for 11 seconds or until that one
// is put. The replica checks it like a put.
type Reserve struct {
	Kind envelope.RecordKind `cbor:"1,keyasint"`
	// Release gives the reservation back.
	Release bool `cbor:"2,keyasint,omitempty"`
}

// ReserveReply answers Reserve. Not granted means that another record was first.
type ReserveReply struct {
	Granted bool `cbor:"1,keyasint,omitempty"`
}

// PutReply acknowledges a put: the data are on disk on Copies nodes.
type PutReply struct {
	Copies uint `cbor:"1,keyasint"` // nodes that have it on disk
	Want   uint `cbor:"2,keyasint"` // nodes that should have it: k
}

// GetRecord asks for a version of a Ref.
type GetRecord struct {
	Ref envelope.Ref `cbor:"1,keyasint"`
	N   uint64       `cbor:"2,keyasint,omitzero"` // 0: the newest
}

// RecordReply comes with the record in the data part.
type RecordReply struct {
	// Stale is set when fewer than r replicas answered, so that there may be
	// a newer version.
	Stale bool `cbor:"1,keyasint,omitempty"`
	// Forks are the other versions with the same number as the winner.
	Forks []envelope.Version `cbor:"2,keyasint,omitempty"`
}

// ListRecords asks for records of one owner and kind, ascending by name and
// version number.
type ListRecords struct {
	Kind  envelope.RecordKind `cbor:"1,keyasint"`
	Owner envelope.AgentID    `cbor:"2,keyasint"`
	// Name, if set, asks for this name only (with AllNames unset).
	Name     string `cbor:"3,keyasint,omitempty"`
	AllNames bool   `cbor:"4,keyasint,omitempty"`
	// History asks for every version, not just the newest of each name.
	History bool `cbor:"5,keyasint,omitempty"`
	// Bare leaves the attachments out.
	Bare bool `cbor:"6,keyasint,omitempty"`
	// AfterName and AfterN continue a listing behind the last record of the
	// page before.
	AfterName string `cbor:"7,keyasint,omitempty"`
	AfterN    uint64 `cbor:"8,keyasint,omitzero"`
}

// RecordsReply is a page of records. The data part is the CBOR array of their
// encodings as byte strings.
type RecordsReply struct {
	More  bool `cbor:"1,keyasint,omitempty"`
	Stale bool `cbor:"2,keyasint,omitempty"`
}

// Memberships asks for the newest documents of all groups that list an agent
// as a member, ascending by group. Between nodes: of those that the answering
// node keeps. A document of more than MaxListedDocument bytes comes without its
// attachments: ask for it by itself where they are needed.
type Memberships struct {
	Agent envelope.AgentID `cbor:"1,keyasint"`
	// After continues behind the last group of the page before.
	After envelope.AgentID `cbor:"2,keyasint,omitzero"`
}

// MaxListedDocument is the size, in bytes, up to which a reply to Memberships
// has a document's attachments.
const MaxListedDocument = 64 << 10

// HasRecords asks which versions of records a node keeps, at most 256 at a time.
type HasRecords struct {
	Records []RecordID `cbor:"1,keyasint"`
}

// A RecordID names one version of a record.
type RecordID struct {
	Ref     envelope.Ref     `cbor:"1,keyasint"`
	Version envelope.Version `cbor:"2,keyasint"`
}

// PutSegment stores the segment whose frame is the data part.
type PutSegment struct {
	ID envelope.SegmentID `cbor:"1,keyasint"`
	// Owner says under whose records the segment's header will be found. A
	// segment whose owner has no such header for a day is dropped.
	Owner envelope.AgentID `cbor:"2,keyasint"`
	// Age is how long ago, in seconds, a node first received the segment for
	// this owner. Replicas that pass on a copy say so, lest a segment that
	// nothing belongs to stay young for ever. From clients it counts for nothing.
	Age uint64 `cbor:"3,keyasint,omitzero"`
}

// GetSegment asks for one segment.
type GetSegment struct {
	ID envelope.SegmentID `cbor:"1,keyasint"`
}

// HasSegments asks which segments a node keeps, at most 4,096 at a time.
type HasSegments struct {
	IDs []envelope.SegmentID `cbor:"1,keyasint"`
}

// HasReply answers HasSegments and HasRecords, in their order.
type HasReply struct {
	Have []bool `cbor:"1,keyasint"`
}

// LiveKeys asks for the segment keys of all headers of an owner that the node
// keeps, at most 4,096 at a time.
type LiveKeys struct {
	Owner envelope.AgentID `cbor:"1,keyasint"`
	After []byte           `cbor:"2,keyasint,omitempty"` // the last key of the page before, 32 bytes
}

// LiveKeysReply answers LiveKeys, ascending.
type LiveKeysReply struct {
	Keys [][]byte `cbor:"1,keyasint"`
	More bool     `cbor:"2,keyasint,omitempty"`
}

// Hello is the first message on a client's connection.
type Hello struct {
	// Agent is who calls; zero for the operator. The TLS client key must be
	// the agent's current signing key, or the node's operator key.
	Agent envelope.AgentID `cbor:"1,keyasint,omitzero"`
}

// Welcome answers Hello.
type Welcome struct {
	Network  envelope.NetworkID `cbor:"1,keyasint,omitzero"` // zero while the box is in no network
	Node     envelope.NodeID    `cbor:"2,keyasint"`
	Box      envelope.AgentID   `cbor:"3,keyasint,omitzero"`
	BoxName  string             `cbor:"4,keyasint,omitempty"`
	Software string             `cbor:"5,keyasint"`
	Operator bool               `cbor:"6,keyasint,omitempty"`
}

// StatusReply is what `l2p status` shows.
type StatusReply struct {
	Welcome  Welcome      `cbor:"1,keyasint"`
	Founder  bool         `cbor:"2,keyasint,omitempty"` // this box holds the network's root key
	Nodes    []NodeStatus `cbor:"3,keyasint"`
	Records  uint64       `cbor:"4,keyasint"` // kept here
	Segments uint64       `cbor:"5,keyasint"`
	Bytes    uint64       `cbor:"6,keyasint"` // of segments kept here
	DiskFree uint64       `cbor:"7,keyasint"` // bytes
	K        uint         `cbor:"8,keyasint"`
	W        uint         `cbor:"9,keyasint"`
	R        uint         `cbor:"10,keyasint"`
	Uptime   int64        `cbor:"11,keyasint"` // seconds
	Pending  uint         `cbor:"12,keyasint"` // boxes that wait for admission
	// Behind is the number of copies that this node still has to pass on.
	Behind uint64 `cbor:"13,keyasint"`
	// Requests and Failed count what clients asked since the start, and how much
	// of that the node could not do: Unavailable, NotDurable, Full, Corrupt or Other.
	Requests uint64 `cbor:"14,keyasint"`
	Failed   uint64 `cbor:"15,keyasint"`
	// Sent counts the copies that were passed on to other nodes by reconciling.
	Sent uint64 `cbor:"16,keyasint"`
	// Refused is since when, in Unix seconds, other nodes have refused this one
	// while none has answered it; 0: one has. An expelled box sees that.
	Refused int64 `cbor:"20,keyasint,omitzero"`
	// Scrubbed is when the node had last read all that it keeps, Unix seconds;
	// zero: it hasn't yet.
	Scrubbed int64 `cbor:"17,keyasint,omitempty"`
	// Damaged counts what was found damaged on disk since the start.
	Damaged uint64 `cbor:"18,keyasint,omitempty"`
	// IndexDamaged says that the node's index has to be rebuilt.
	IndexDamaged bool `cbor:"19,keyasint,omitempty"`
	// DiskNeed is below how many free bytes the node takes no writes.
	DiskNeed uint64 `cbor:"21,keyasint,omitempty"`
}

// NodeStatus is one node as the answering node sees it.
type NodeStatus struct {
	Node    envelope.NodeID  `cbor:"1,keyasint"`
	Box     envelope.AgentID `cbor:"2,keyasint"`
	BoxName string           `cbor:"3,keyasint"`
	Addr    string           `cbor:"4,keyasint,omitempty"`
	Alive   bool             `cbor:"5,keyasint"`
	Share   float64          `cbor:"6,keyasint"` // of the ring, first copies, 0 to 1
	Self    bool             `cbor:"7,keyasint,omitempty"`
}

// Ring asks for the nodes and, where Ref is set, for an envelope's replicas.
type Ring struct {
	Ref *envelope.Ref `cbor:"1,keyasint,omitempty"`
}

// RingReply answers Ring.
type RingReply struct {
	Nodes []NodeStatus `cbor:"1,keyasint"`
	// Record says which nodes should keep and do keep the envelope's header.
	Record []Replica `cbor:"2,keyasint,omitempty"`
	// Segments says the same of each segment.
	Segments [][]Replica `cbor:"3,keyasint,omitempty"`
}

// A Replica is one node's part in keeping one record or segment.
type Replica struct {
	Node  envelope.NodeID  `cbor:"1,keyasint"`
	State ReplicaState     `cbor:"2,keyasint"`
	Has   envelope.Version `cbor:"3,keyasint,omitzero"` // records: the newest version there
}

// ReplicaState says whether a successor keeps its copy.
type ReplicaState uint

const (
	Holds   ReplicaState = 1
	Lacks   ReplicaState = 2
	Silent  ReplicaState = 3 // no answer
	Outside ReplicaState = 4 // holds a copy though it is not a successor (any more)
)

// RosterRequest asks for the statements that the caller lacks.
type RosterRequest struct {
	// Have are the hashes of the statements that the caller has, ascending.
	Have []envelope.Hash `cbor:"1,keyasint"`
	// Statements are those that the answering node said it wants, at most
	// MaxStatementsAtOnce. Refused from clients.
	Statements []Statement `cbor:"2,keyasint,omitempty"`
	// GossipSerial is the serial of the caller's gossip key; zero from clients.
	GossipSerial uint64 `cbor:"3,keyasint,omitzero"`
	// GossipKey is the caller's gossip key, the encoding of an
	// envelope.Signed, where the answering node has said that its own is older.
	// Refused from clients.
	GossipKey []byte `cbor:"4,keyasint,omitempty"`
}

// MaxStatementsAtOnce bounds the statements of one RosterRequest, so that they
// and the hashes stay within the limit of its body.
const MaxStatementsAtOnce = 1024

// RosterReply carries signed statements (box and node certificates,
// revocations), each the encoding of an envelope.Signed with its kind.
type RosterReply struct {
	Network    envelope.NetworkID `cbor:"1,keyasint"`
	RootKey    []byte             `cbor:"2,keyasint"`
	Statements []Statement        `cbor:"3,keyasint"`
	// Want are the hashes of the statements that the answering node lacks.
	Want []envelope.Hash `cbor:"4,keyasint,omitempty"`
	// GossipSerial is the serial of the answering node's gossip key, and
	// GossipKey that key where the caller's is older. Clients get neither.
	GossipSerial uint64 `cbor:"5,keyasint,omitzero"`
	GossipKey    []byte `cbor:"6,keyasint,omitempty"`
}

// Init makes a new network with this box as its founder.
type Init struct {
	BoxName string `cbor:"1,keyasint"`
}

// Invite makes a ticket for one box.
type Invite struct {
	BoxName string `cbor:"1,keyasint"`
	TTL     int64  `cbor:"2,keyasint"` // seconds, at most 30 days
}

// InviteReply answers Invite.
type InviteReply struct {
	Ticket  string `cbor:"1,keyasint"`
	Expires int64  `cbor:"2,keyasint"` // Unix seconds
}

// Join takes this box into a network, by a ticket or by asking at an address.
type Join struct {
	Ticket  string             `cbor:"1,keyasint,omitempty"`
	Addr    string             `cbor:"2,keyasint,omitempty"`
	Network envelope.NetworkID `cbor:"3,keyasint,omitzero"` // with Addr: the fingerprint that the operator has confirmed
	BoxName string             `cbor:"4,keyasint,omitempty"`
}

// JoinReply answers Join. While Waiting, ask again with the same Join.
type JoinReply struct {
	Waiting bool               `cbor:"1,keyasint,omitempty"`
	Request envelope.Hash      `cbor:"2,keyasint,omitzero"` // what the other operator admits
	Network envelope.NetworkID `cbor:"3,keyasint"`
	BoxName string             `cbor:"4,keyasint"`
	Boxes   uint               `cbor:"5,keyasint,omitzero"` // in the network now
	// Already says that the box was in the network before, so nothing was done.
	Already bool `cbor:"6,keyasint,omitempty"`
}

// LookAt asks which network is at an address, before joining it.
type LookAt struct {
	Addr string `cbor:"1,keyasint"`
}

// LookAtReply answers LookAt.
type LookAtReply struct {
	Network envelope.NetworkID `cbor:"1,keyasint"`
	BoxName string             `cbor:"2,keyasint"` // of the node at the address
}

// PendingReply lists the boxes that have asked for admission.
type PendingReply struct {
	Requests []PendingRequest `cbor:"1,keyasint"`
}

// PendingRequest is one box that waits.
type PendingRequest struct {
	Request envelope.Hash    `cbor:"1,keyasint"`
	BoxName string           `cbor:"2,keyasint"`
	Box     envelope.AgentID `cbor:"3,keyasint"`
	Addr    string           `cbor:"4,keyasint"` // where it asked from
	Time    int64            `cbor:"5,keyasint"` // Unix seconds, by this node's clock
}

// Admit answers a box that waits.
type Admit struct {
	Request envelope.Hash `cbor:"1,keyasint"`
	Refuse  bool          `cbor:"2,keyasint,omitempty"`
}

// Bind gives a name of this box's namespace to an agent, or takes it back
// (zero Agent).
type Bind struct {
	Name  string           `cbor:"1,keyasint"` // the local part
	Agent envelope.AgentID `cbor:"2,keyasint,omitzero"`
	// Replace allows a name that means another agent already to change hands.
	Replace bool `cbor:"3,keyasint,omitempty"`
	// Revoke says that the box doesn't vouch any more for the agent that the
	// name means, who keeps it. Then Agent is zero, or that agent.
	Revoke bool `cbor:"4,keyasint,omitempty"`
}

// Expel takes a box out of the network for good.
type Expel struct {
	Box envelope.AgentID `cbor:"1,keyasint"`
}

// ExpelReply says how many of the other nodes know of it already.
type ExpelReply struct {
	Told   uint `cbor:"1,keyasint"`
	Others uint `cbor:"2,keyasint"`
}

// Ask asks for admission: with the secret of a ticket, or to wait for the
// operator.
type Ask struct {
	// Request is the encoding of an envelope.Signed JoinRequest.
	Request []byte `cbor:"1,keyasint"`
	Secret  []byte `cbor:"2,keyasint,omitempty"` // of the ticket, 16 bytes
}

// Admission is the answer to a box that has been admitted.
type Admission struct {
	RootKey    []byte      `cbor:"1,keyasint"`
	Statements []Statement `cbor:"2,keyasint"` // the roster, the new box's certificate included
	GossipKey  []byte      `cbor:"3,keyasint"` // encoding of an envelope.Signed GossipKey
	Peers      []Peer      `cbor:"4,keyasint"`
}

// A Peer is where a node was last reached.
type Peer struct {
	Node envelope.NodeID `cbor:"1,keyasint"`
	Addr string          `cbor:"2,keyasint"` // host:port
}
