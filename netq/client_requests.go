package netq

import (
	"bytes"
	"context"
	"iter"

	"l2p/envelope"
	"l2p/netq/wire"
)

// PutRecord stores the encoding of a record. A record whose parent is not the
// newest version is refused with an error of kind Conflict; one that reaches
// too few nodes with NotDurable.
func (c *Client) PutRecord(ctx context.Context, kind envelope.RecordKind, record []byte) (wire.PutReply, error) {
	var reply wire.PutReply
	_, err := c.ask(ctx, wire.TypePutRecord, wire.PutRecord{Kind: kind}, record, &reply)
	return reply, err
}

// GetRecord returns the encoding of version n of a ref, or of the newest if n
// is 0. What it says is not checked. An unknown one is an error of kind NotFound.
func (c *Client) GetRecord(ctx context.Context, ref envelope.Ref, n uint64) ([]byte, wire.RecordReply, error) {
	var reply wire.RecordReply
	record, err := c.ask(ctx, wire.TypeGetRecord, wire.GetRecord{Ref: ref, N: n}, nil, &reply)
	return record, reply, err
}

// A RecordPage is a part of a list of records.
type RecordPage struct {
	Records [][]byte // encodings; what they say is not checked
	More    bool     // there are more behind them
	Stale   bool     // some may be missing, since too few nodes answered
}

// ListRecords returns one page of a list. [Client.Records] returns all.
func (c *Client) ListRecords(ctx context.Context, list wire.ListRecords) (RecordPage, error) {
	return c.page(ctx, wire.TypeListRecords, list)
}

// Memberships returns the newest documents of the groups that list an agent as
// a member, page after page, ascending by group. They are decoded, and their
// signatures are not checked. The sequence ends with the first error.
func (c *Client) Memberships(ctx context.Context, agent envelope.AgentID) iter.Seq2[*envelope.Document, error] {
	return func(yield func(*envelope.Document, error) bool) {
		ask := wire.Memberships{Agent: agent}
		for {
			page, err := c.page(ctx, wire.TypeMemberships, ask)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, data := range page.Records {
				d, err := envelope.ParseDocument(data)
				if err == nil {
					// Ascending, so that no node can keep a client busy for ever.
					if id := d.ID(); bytes.Compare(ask.After[:], id[:]) >= 0 {
						err = envelope.Errorf(envelope.Corrupt, "the node's list of groups is not in order")
					} else {
						ask.After = id
					}
				}
				if !yield(d, err) || err != nil {
					return
				}
			}
			if !page.More {
				return
			}
			if len(page.Records) == 0 {
				yield(nil, envelope.Errorf(envelope.Corrupt, "the node's list of groups has no end"))
				return
			}
		}
	}
}

func (c *Client) page(ctx context.Context, t wire.Type, body any) (RecordPage, error) {
	var reply wire.RecordsReply
	data, err := c.ask(ctx, t, body, nil, &reply)
	if err != nil {
		return RecordPage{}, err
	}
	if reply.Stale && c.incomplete != nil {
		c.incomplete()
	}
	records, err := wire.DecodeRecords(data)
	return RecordPage{Records: records, More: reply.More, Stale: reply.Stale}, err
}

// Records returns all records of a list, page after page. They are decoded, and
// belong to the list that was asked for; their signatures are not checked. The
// sequence ends with the first error.
func (c *Client) Records(ctx context.Context, list wire.ListRecords) iter.Seq2[*envelope.Record, error] {
	return func(yield func(*envelope.Record, error) bool) {
		for {
			name, n := list.AfterName, list.AfterN
			page, err := c.ListRecords(ctx, list)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, data := range page.Records {
				r, err := nextRecord(&list, data)
				if !yield(r, err) || err != nil {
					return
				}
			}
			if !page.More {
				return
			}
			if list.AfterName == name && list.AfterN == n {
				yield(nil, envelope.Errorf(envelope.Corrupt, "the node's list of records has no end"))
				return
			}
		}
	}
}

// nextRecord decodes a record of a list and moves the list behind it.
func nextRecord(list *wire.ListRecords, data []byte) (*envelope.Record, error) {
	r, err := envelope.ParseRecord(list.Kind, data)
	if err != nil {
		return nil, err
	}
	name, n := r.Ref.Name, r.Version.N
	if r.Ref.Owner != list.Owner || !list.AllNames && name != list.Name ||
		name < list.AfterName || name == list.AfterName && n < list.AfterN {
		return nil, envelope.Errorf(envelope.Corrupt, "the node sent a record that doesn't belong where it stands in the list")
	}
	list.AfterName, list.AfterN = name, n
	return r, nil
}

// PutSegment stores a segment's frame under an owner.
func (c *Client) PutSegment(ctx context.Context, id envelope.SegmentID, owner envelope.AgentID, frame []byte) (wire.PutReply, error) {
	var reply wire.PutReply
	_, err := c.conn.Call(ctx, wire.TypePutSegment, wire.PutSegment{ID: id, Owner: owner}, frame, &reply)
	return reply, err
}

// GetSegment returns a segment's frame. What it says is not checked.
func (c *Client) GetSegment(ctx context.Context, id envelope.SegmentID) ([]byte, error) {
	return c.conn.Call(ctx, wire.TypeGetSegment, wire.GetSegment{ID: id}, nil, nil)
}

// HasSegments says of each of at most 4,096 segments whether the network has it.
func (c *Client) HasSegments(ctx context.Context, ids []envelope.SegmentID) ([]bool, error) {
	var reply wire.HasReply
	if err := c.call(ctx, wire.TypeHasSegments, wire.HasSegments{IDs: ids}, &reply); err != nil {
		return nil, err
	}
	if len(reply.Have) != len(ids) {
		return nil, envelope.Errorf(envelope.Corrupt, "the node answers for %d segments, not %d", len(reply.Have), len(ids))
	}
	return reply.Have, nil
}

// Status returns what the node tells of itself and of the network.
func (c *Client) Status(ctx context.Context) (*wire.StatusReply, error) {
	var reply wire.StatusReply
	return &reply, c.call(ctx, wire.TypeStatus, wire.Empty{}, &reply)
}

// Ring returns the nodes and, for a ref that is not nil, who keeps it.
func (c *Client) Ring(ctx context.Context, ref *envelope.Ref) (*wire.RingReply, error) {
	var reply wire.RingReply
	return &reply, c.call(ctx, wire.TypeRing, wire.Ring{Ref: ref}, &reply)
}

// What follows is for the operator only: the node refuses others with an error
// of kind Denied.

// Init makes a new network with the node's box as its founder.
func (c *Client) Init(ctx context.Context, boxName string) error {
	return c.call(ctx, wire.TypeInit, wire.Init{BoxName: boxName}, nil)
}

// Invite returns a ticket for one box.
func (c *Client) Invite(ctx context.Context, invite wire.Invite) (wire.InviteReply, error) {
	var reply wire.InviteReply
	err := c.call(ctx, wire.TypeInvite, invite, &reply)
	return reply, err
}

// Join takes the node's box into a network.
func (c *Client) Join(ctx context.Context, join wire.Join) (wire.JoinReply, error) {
	var reply wire.JoinReply
	err := c.call(ctx, wire.TypeJoin, join, &reply)
	return reply, err
}

// LookAt returns which network is at an address.
func (c *Client) LookAt(ctx context.Context, addr string) (wire.LookAtReply, error) {
	var reply wire.LookAtReply
	err := c.call(ctx, wire.TypeLookAt, wire.LookAt{Addr: addr}, &reply)
	return reply, err
}

// Pending returns the boxes that wait for admission.
func (c *Client) Pending(ctx context.Context) ([]wire.PendingRequest, error) {
	var reply wire.PendingReply
	err := c.call(ctx, wire.TypePending, wire.Empty{}, &reply)
	return reply.Requests, err
}

// Admit lets in, or refuses, a box that waits.
func (c *Client) Admit(ctx context.Context, admit wire.Admit) error {
	return c.call(ctx, wire.TypeAdmit, admit, nil)
}

// Leave takes the node's box out of its network, once its data are elsewhere.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, wire.TypeLeave, wire.Empty{}, nil)
}

// Bind gives a name of the box's namespace to an agent, or takes it back.
func (c *Client) Bind(ctx context.Context, bind wire.Bind) error {
	return c.call(ctx, wire.TypeBind, bind, nil)
}

// Expel takes a box out of the network for good. Its nodes get no handshake any
// more as soon as others know.
func (c *Client) Expel(ctx context.Context, box envelope.AgentID) (wire.ExpelReply, error) {
	var reply wire.ExpelReply
	err := c.call(ctx, wire.TypeExpel, wire.Expel{Box: box}, &reply)
	return reply, err
}

// Stop ends the node.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, wire.TypeStop, wire.Empty{}, nil)
}

// Roster returns the signed statements about who belongs to the network, those
// with the hashes in have (ascending) left out. There may be more: ask again
// with all that came until none comes. What they say is not checked.
func (c *Client) Roster(ctx context.Context, have []envelope.Hash) (wire.RosterReply, error) {
	var reply wire.RosterReply
	err := c.call(ctx, wire.TypeRoster, wire.RosterRequest{Have: have}, &reply)
	return reply, err
}
