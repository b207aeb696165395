package agentdtest

import (
	"bytes"
	"context"
	"time"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// A Put is a version of a public envelope that was written, or may have been.
type Put struct {
	Owner   envelope.AgentID
	Name    string
	Version envelope.Version
	Data    []byte
}

// Publish writes the author's document, which must come before all else.
func (a *Author) Publish(ctx context.Context, c *netq.Client) error {
	_, err := c.PutRecord(ctx, envelope.KindDocument, a.Doc.Signed().Encode())
	return err
}

// Put writes a public envelope: its segments, then its header. The parent of a
// first version is zero. It returns what it tried to write also where err is
// set: then nobody knows whether it is there.
func (a *Author) Put(ctx context.Context, c *netq.Client, name string, parent envelope.Version, data []byte) (Put, error) {
	put, header, segments, err := a.seal(ctx, name, parent, data)
	if err != nil {
		return put, err
	}
	for _, s := range segments {
		if _, err := c.PutSegment(ctx, s.ID, put.Owner, s.AppendFrame(nil)); err != nil {
			return put, err
		}
	}
	_, err = c.PutRecord(ctx, envelope.KindEnvelope, header.Encode())
	return put, err
}

// PutHeader writes the header of a first version alone, so that one position on
// the ring decides what becomes of it.
func (a *Author) PutHeader(ctx context.Context, c *netq.Client, name string) (Put, error) {
	put, header, _, err := a.seal(ctx, name, envelope.Version{}, nil)
	if err == nil {
		_, err = c.PutRecord(ctx, envelope.KindEnvelope, header.Encode())
	}
	return put, err
}

func (a *Author) seal(ctx context.Context, name string, parent envelope.Version, data []byte) (put Put, header *envelope.Signed, segments []envelope.Segment, err error) {
	put = Put{Owner: a.Agent(), Name: name, Data: data}
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: a, Name: name, Parent: parent, Public: true, Time: time.Now()})
	if err != nil {
		return put, nil, nil, err
	}
	size, err := sealer.Segments(ctx, bytes.NewReader(data), func(s *envelope.Segment) error {
		kept := *s
		kept.Data = bytes.Clone(s.Data)
		segments = append(segments, kept)
		return nil
	})
	if err != nil {
		return put, nil, nil, err
	}
	if header, err = sealer.Header(&size); err == nil {
		put.Version = envelope.Version{N: parent.N + 1, Hash: header.Hash()}
	}
	return put, header, segments, err
}

// Get reads the newest version of an envelope of the author, and checks it as
// a reader does.
func (a *Author) Get(ctx context.Context, c *netq.Client, name string) (Put, wire.RecordReply, error) {
	put := Put{Owner: a.Agent(), Name: name}
	data, reply, err := c.GetRecord(ctx, envelope.Ref{Kind: envelope.KindEnvelope, Owner: put.Owner, Name: name}, 0)
	if err != nil {
		return put, reply, err
	}
	record, err := envelope.ParseRecord(envelope.KindEnvelope, data)
	if err != nil {
		return put, reply, err
	}
	put.Version = record.Version
	opener, err := envelope.NewOpener(ctx, record.Signed, envelope.OpenOptions{Documents: a})
	if err != nil {
		return put, reply, err
	}
	for index, final := uint64(0), false; !final; index++ {
		id := envelope.SegmentID{Key: [32]byte(record.Header.SegmentKey), Index: index}
		frame, err := c.GetSegment(ctx, id)
		if err != nil {
			return put, reply, err
		}
		s, err := envelope.ParseSegment(id, frame)
		if err != nil {
			return put, reply, err
		}
		plain, err := opener.Segment(nil, s)
		if err != nil {
			return put, reply, err
		}
		put.Data, final = append(put.Data, plain...), s.Final
	}
	return put, reply, nil
}

// Chain returns the author's documents, for it implements envelope.Documents.
func (a *Author) Chain(_ context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	if id != a.Agent() {
		return nil, envelope.Errorf(envelope.NotFound, "a stranger")
	}
	return []*envelope.Document{a.Doc}, nil
}
