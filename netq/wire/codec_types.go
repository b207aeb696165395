package wire

import (
	"fmt"

	"l2p/envelope"
)

// Limits of a message's parts, in bytes.
const (
	MaxBody          = 64 << 10                                                    // of most types
	MaxRecordData    = 25 << 20                                                    // one record, or a page of them
	MaxSegmentData   = 4 + envelope.SegmentSignatureSize + envelope.MaxSegmentSize // a segment's frame
	maxBatchBody     = 256 << 10                                                   // 4,096 segment ids
	maxHashesBody    = 4 << 20                                                     // a hash for each statement of a roster of 60,000 nodes
	maxStatementBody = 16 << 20                                                    // as many statements at a time as fit
	maxOverviewBody  = 4 << 20                                                     // a line for each node
	maxReplicasBody  = 16 << 20                                                    // a line for each replica of each segment
)

// A Role says on which protocol a request may come.
type Role uint8

const (
	FromNode     Role = 1 << iota // an admitted node, on l2p-node/1
	FromClient                    // an agent or the operator, on l2p-client/1
	FromStranger                  // a box that asks for admission, on l2p-join/1
)

// kind is what the protocol says of one message type.
type kind struct {
	name  string
	from  Role // who may send it as a request; none for replies
	reply Type // to a request
	body  int  // limit in bytes; 0 stands for MaxBody
	data  int  // limit in bytes
	// answer is about how many bytes the reply will hold, for types whose
	// reply is large; a server sets memory aside for it.
	answer int
}

const both = FromNode | FromClient

var kinds = map[Type]kind{
	TypeError: {name: "Error"},
	TypeOK:    {name: "OK"},

	TypeHello:   {name: "Hello", from: FromClient, reply: TypeWelcome},
	TypeWelcome: {name: "Welcome"},

	TypePutRecord:   {name: "PutRecord", from: both, reply: TypePutReply, data: MaxRecordData},
	TypePutReply:    {name: "PutReply"},
	TypeGetRecord:   {name: "GetRecord", from: both, reply: TypeRecordReply, answer: 64 << 10},
	TypeRecordReply: {name: "RecordReply", data: MaxRecordData},
	TypeListRecords: {name: "ListRecords", from: both, reply: TypeRecords, answer: 256 << 10},
	TypeRecords:     {name: "Records", data: MaxRecordData},
	TypeMemberships: {name: "Memberships", from: both, reply: TypeRecords, answer: 256 << 10},
	TypeHasRecords:  {name: "HasRecords", from: FromNode, reply: TypeHasReply, body: maxBatchBody},

	TypeReserve:      {name: "Reserve", from: FromNode, reply: TypeReserveReply, data: MaxRecordData},
	TypeReserveReply: {name: "ReserveReply"},
	TypePutSegment:   {name: "PutSegment", from: both, reply: TypePutReply, data: MaxSegmentData},
	TypeGetSegment:   {name: "GetSegment", from: both, reply: TypeSegmentReply, answer: MaxSegmentData},
	TypeSegmentReply: {name: "SegmentReply", data: MaxSegmentData},
	TypeHasSegments:  {name: "HasSegments", from: both, reply: TypeHasReply, body: maxBatchBody},
	TypeHasReply:     {name: "HasReply"},
	TypeLiveKeys:     {name: "LiveKeys", from: FromNode, reply: TypeLiveReply, answer: 64 << 10},
	TypeLiveReply:    {name: "LiveReply", body: maxHashesBody},

	TypeStatus:      {name: "Status", from: both, reply: TypeStatusReply},
	TypeStatusReply: {name: "StatusReply", body: maxOverviewBody},
	TypeRing:        {name: "Ring", from: both, reply: TypeRingReply, answer: 64 << 10},
	TypeRingReply:   {name: "RingReply", body: maxReplicasBody},
	TypeRoster:      {name: "Roster", from: both, reply: TypeRosterReply, body: maxHashesBody, answer: 256 << 10},
	TypeRosterReply: {name: "RosterReply", body: maxStatementBody},

	TypeInit:         {name: "Init", from: FromClient, reply: TypeOK},
	TypeInvite:       {name: "Invite", from: FromClient, reply: TypeInviteReply},
	TypeInviteReply:  {name: "InviteReply"},
	TypeJoin:         {name: "Join", from: FromClient, reply: TypeJoinReply},
	TypeJoinReply:    {name: "JoinReply"},
	TypeLookAt:       {name: "LookAt", from: FromClient, reply: TypeLookAtReply},
	TypeLookAtReply:  {name: "LookAtReply"},
	TypePending:      {name: "Pending", from: FromClient, reply: TypePendingReply},
	TypePendingReply: {name: "PendingReply", body: maxOverviewBody},
	TypeAdmit:        {name: "Admit", from: FromClient, reply: TypeOK},
	TypeLeave:        {name: "Leave", from: FromClient, reply: TypeOK},
	TypeBind:         {name: "Bind", from: FromClient, reply: TypeOK},
	TypeStop:         {name: "Stop", from: FromClient, reply: TypeOK},
	TypeExpel:        {name: "Expel", from: FromClient, reply: TypeExpelReply},
	TypeExpelReply:   {name: "ExpelReply"},

	TypePing:   {name: "Ping", from: FromNode, reply: TypeOK},
	TypeGossip: {name: "Gossip", from: FromNode},

	TypeAsk:       {name: "Ask", from: FromStranger, reply: TypeAdmission},
	TypeAdmission: {name: "Admission", body: maxStatementBody},
}

// String returns the name of t, such as "GetRecord".
func (t Type) String() string {
	if k, ok := kinds[t]; ok {
		return k.name
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// Known reports whether t is a type of this version of the protocol.
func (t Type) Known() bool {
	_, ok := kinds[t]
	return ok
}

// From returns who may send t as a request: nobody if t is a reply.
func (t Type) From() Role { return kinds[t].from }

// Reply returns the type that answers a request of type t: 0 if t is a reply or
// [TypeGossip], which has none.
func (t Type) Reply() Type { return kinds[t].reply }

// Limits returns the limits of messages of type t. An unknown type has none of
// either.
func (t Type) Limits() Limits {
	k, ok := kinds[t]
	if !ok {
		return Limits{}
	}
	if k.body == 0 {
		k.body = MaxBody
	}
	return Limits{Body: k.body, Data: k.data}
}

// Answer returns about how many bytes the reply to a request of type t may
// hold; 0 where replies are small.
func (t Type) Answer() int { return kinds[t].answer }
