package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"l2p/agentd/store"
	"l2p/envelope"
	"l2p/netq/wire"
)

// This file is the replica's own part: what this node keeps, put and got
// without asking others.

// Sizes of pages, and of batches in questions.
const (
	pageRecords  = 256
	pageBytes    = 1 << 20
	batchRecords = 256
	batchKeys    = 4096
	batchIDs     = 1024
	maxBatchIDs  = 4096 // that others may ask for at a time
)

// putHere keeps a record that has been verified.
func (r *Replica) putHere(rec *envelope.Record, repair bool) error {
	accept := func(newest []envelope.Version) error { return acceptPut(rec, newest) }
	if repair {
		kept, err := r.Store.VersionsAt(rec.Ref, rec.Version.N)
		if err != nil {
			return err
		}
		if slices.Contains(kept, rec.Version) {
			return nil
		}
		accept = func(newest []envelope.Version) error { return acceptRepair(rec, newest, kept) }
	} else if !r.reservations.free(rec.Ref, rec.Version.Hash) {
		return envelope.Errorf(envelope.Unavailable, "another version is being written")
	}
	added, err := r.Store.PutRecord(rec, accept)
	r.reservations.drop(rec.Ref, rec.Version.Hash)
	if added && rec.Document != nil {
		r.documents.extend(rec.Document)
	}
	return err
}

// receiveRecord checks and keeps a record that came from another node.
func (r *Replica) receiveRecord(ctx context.Context, kind envelope.RecordKind, data []byte, repair bool) error {
	rec, err := envelope.ParseRecord(kind, data)
	if err != nil {
		return err
	}
	if err := checkComplete(rec); err != nil {
		return err
	}
	verify := r.verifyPut
	if repair {
		verify = r.verify
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := verify(ctx, rec); err != nil {
		return err
	}
	return r.putHere(rec, repair)
}

// getHere returns the winner of the versions with number n (0: the newest) that
// this node keeps, and the others with its number. Nothing is no error: then
// data is nil.
func (r *Replica) getHere(ref envelope.Ref, n uint64) (data []byte, v envelope.Version, forks []envelope.Version, err error) {
	for {
		versions, err := r.Store.Newest(ref)
		if n != 0 && err == nil {
			versions, err = r.Store.VersionsAt(ref, n)
		}
		if err != nil || len(versions) == 0 {
			return nil, v, nil, err
		}
		data, err := r.Store.Record(ref, versions[0], false)
		if k := envelope.KindOf(err); err != nil && (k == envelope.Corrupt || k == envelope.NotFound) {
			if has, hasErr := r.Store.HasRecord(ref, versions[0]); !has && hasErr == nil {
				continue // dropped: what is left counts
			}
		}
		return data, versions[0], versions[1:], err
	}
}

func (r *Replica) listHere(q wire.ListRecords) ([][]byte, bool, error) {
	return r.Store.List(q, pageRecords, pageBytes)
}

// membershipsHere returns a page of the newest documents of groups that list
// the agent, as far as this node keeps them.
func (r *Replica) membershipsHere(q wire.Memberships) (records [][]byte, more bool, err error) {
	groups, err := r.Store.Groups(q.Agent, q.After, pageRecords+1)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for i, group := range groups {
		if i == pageRecords || size > pageBytes {
			return records, true, nil
		}
		data, _, _, err := r.getHere(envelope.Ref{Kind: envelope.KindDocument, Owner: group}, 0)
		if err != nil {
			return nil, false, err
		}
		if data == nil {
			continue
		}
		if len(data) > wire.MaxListedDocument {
			if data, err = bare(data); err != nil {
				return nil, false, err
			}
		}
		records = append(records, data)
		size += len(data)
	}
	return records, false, nil
}

// bare returns a record's encoding without attachments.
func bare(data []byte) ([]byte, error) {
	s, err := envelope.ParseSigned(data, envelope.MaxSignedSize)
	if err != nil {
		return nil, err
	}
	s.Attachments = nil
	return s.Encode(), nil
}

// segmentHere returns a segment that this node keeps. If the disk has damaged
// it that counts as not being kept, and others are asked for it.
func (r *Replica) segmentHere(id envelope.SegmentID) ([]byte, error) {
	claims, err := r.Store.Claims(id) // dropped together with a damaged segment
	if err != nil {
		return nil, err
	}
	frame, err := r.Store.Segment(id)
	if isKind(err, envelope.Corrupt) {
		r.healSegment(id, claims)
	}
	return frame, err
}

// maxAge bounds the age that another node gives a segment.
const maxAge = 10 * 365 * 24 * time.Hour

// putSegmentHere keeps a segment.
func (r *Replica) putSegmentHere(p wire.PutSegment, frame []byte) error {
	age := time.Duration(min(p.Age, uint64(maxAge/time.Second))) * time.Second
	_, err := r.Store.PutSegment(p.ID, p.Owner, frame, age)
	if isKind(err, envelope.Full) { // a client has to know whose disk it is
		err = envelope.Errorf(envelope.Full, "node %s: %w", r.Self.Short(), err)
	}
	return err
}

// healSegment fetches a segment again that this node has lost.
func (r *Replica) healSegment(id envelope.SegmentID, claims []store.Claim) {
	r.start(func() {
		ctx, cancel := context.WithTimeout(r.ctx, putTimeout)
		defer cancel()
		frame, err := r.segmentThere(ctx, id)
		if err != nil {
			r.log.Warn("cannot fetch a damaged segment from others yet", "err", err)
			return
		}
		for _, c := range claims {
			if _, err := r.Store.PutSegment(id, c.Owner, frame, time.Since(c.Arrived)); err != nil {
				r.log.Warn("cannot keep a segment that was fetched again", "err", err)
				return
			}
		}
		r.log.Info("a damaged segment has been fetched from another replica", "index", id.Index)
	})
}

// HandleNode answers a request of another node about records and segments from
// what this node keeps. from must be an admitted node.
func (r *Replica) HandleNode(ctx context.Context, from envelope.NodeID, t wire.Type, body, data []byte) (wire.Type, any, []byte, error) {
	r.serving.Add(1)
	defer r.serving.Add(-1)
	switch t {
	case wire.TypePutRecord:
		var q wire.PutRecord
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		if err := r.receiveRecord(ctx, q.Kind, data, q.Repair); err != nil {
			return 0, nil, nil, err
		}
		return wire.TypePutReply, &wire.PutReply{Copies: 1, Want: 1}, nil, nil
	case wire.TypeReserve:
		var q wire.Reserve
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		reply, err := r.receiveReserve(ctx, q, data)
		return wire.TypeReserveReply, reply, nil, err
	case wire.TypeGetRecord:
		var q wire.GetRecord
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		data, _, forks, err := r.getHere(q.Ref, q.N)
		if err == nil && data == nil {
			err = errNotKept()
		}
		return wire.TypeRecordReply, &wire.RecordReply{Forks: forks}, data, err
	case wire.TypeListRecords:
		var q wire.ListRecords
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		return recordsReply(r.listHere(q))
	case wire.TypeMemberships:
		var q wire.Memberships
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		return recordsReply(r.membershipsHere(q))
	case wire.TypeHasRecords:
		var q wire.HasRecords
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		return r.hasRecords(q)
	case wire.TypePutSegment:
		var q wire.PutSegment
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		err := r.putSegmentHere(q, data)
		return wire.TypePutReply, &wire.PutReply{Copies: 1, Want: 1}, nil, err
	case wire.TypeGetSegment:
		var q wire.GetSegment
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		frame, err := r.segmentHere(q.ID)
		if isKind(err, envelope.Corrupt) {
			err = errNotKept()
		}
		return wire.TypeSegmentReply, nil, frame, err
	case wire.TypeHasSegments:
		var q wire.HasSegments
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		if len(q.IDs) > maxBatchIDs {
			return 0, nil, nil, errBatch(len(q.IDs), maxBatchIDs)
		}
		have, err := r.Store.HasSegments(q.IDs)
		return wire.TypeHasReply, &wire.HasReply{Have: have}, nil, err
	case wire.TypeLiveKeys:
		var q wire.LiveKeys
		if err := wire.DecodeBody(t, body, &q); err != nil {
			return 0, nil, nil, err
		}
		keys, err := r.liveKeysHere(q)
		return wire.TypeLiveReply, &keys, nil, err
	}
	return 0, nil, nil, envelope.Errorf(envelope.Usage, "a node can't ask for %s here", t)
}

func errNotKept() error { return envelope.Errorf(envelope.NotFound, "not kept here") }

func errBatch(n, limit int) error {
	return envelope.Errorf(envelope.Usage, "%d asked for at a time, more than %d", n, limit)
}

func recordsReply(records [][]byte, more bool, err error) (wire.Type, any, []byte, error) {
	if err != nil {
		return 0, nil, nil, err
	}
	data, err := wire.EncodeRecords(records)
	return wire.TypeRecords, &wire.RecordsReply{More: more}, data, err
}

func (r *Replica) hasRecords(q wire.HasRecords) (wire.Type, any, []byte, error) {
	if len(q.Records) > batchRecords {
		return 0, nil, nil, errBatch(len(q.Records), batchRecords)
	}
	have := make([]bool, len(q.Records))
	for i, id := range q.Records {
		var err error
		if have[i], err = r.Store.HasRecord(id.Ref, id.Version); err != nil {
			return 0, nil, nil, err
		}
	}
	return wire.TypeHasReply, &wire.HasReply{Have: have}, nil, nil
}

func (r *Replica) liveKeysHere(q wire.LiveKeys) (wire.LiveKeysReply, error) {
	keys, err := r.Store.LiveKeys(q.Owner, q.After, batchKeys+1)
	more := len(keys) > batchKeys
	if more {
		keys = keys[:batchKeys]
	}
	if keys == nil {
		keys = [][]byte{}
	}
	return wire.LiveKeysReply{Keys: keys, More: more}, err
}

// checkSegment checks a frame that another node sent as the segment id.
func checkSegment(id envelope.SegmentID, frame []byte) error {
	s, err := envelope.ParseSegment(id, frame)
	if err != nil {
		return err
	}
	return s.Verify()
}

// isKind reports whether err is an error of the given kind.
func isKind(err error, kind envelope.ErrorKind) bool {
	var e *envelope.Error
	return errors.As(err, &e) && envelope.KindOf(err) == kind
}
