package store

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
	"l2p/netq/wire"
)

// keys yields the index's keys that begin with prefix, ascending, from the
// first at or after start (nil: all). A key is valid until the next one.
func keys(txn *badger.Txn, prefix, start []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues, opts.Prefix = false, prefix
		it := txn.NewIterator(opts)
		defer it.Close()
		if start == nil {
			start = prefix
		}
		for it.Seek(start); it.Valid(); it.Next() {
			if !yield(it.Item().Key()) {
				return
			}
		}
	}
}

// A RecordInfo names one version that is kept.
type RecordInfo struct {
	Ref     envelope.Ref
	Version envelope.Version
}

// Records returns up to limit of the versions kept, in the order of kind,
// owner, name, number, hash, beginning behind after (nil: with the first). No
// more than limit come back, and fewer only at the end.
func (s *Store) Records(after *RecordInfo, limit int) (page []RecordInfo, err error) {
	start := []byte{tagRecord}
	if after != nil {
		if err := checkRef(after.Ref); err != nil {
			return nil, err
		}
		start = append(recordKey(after.Ref, after.Version), 0)
	}
	err = s.view(func(txn *badger.Txn) error {
		for key := range keys(txn, []byte{tagRecord}, start) {
			if len(page) == limit {
				break
			}
			if ref, v, ok := parseRecordKey(key); ok {
				page = append(page, RecordInfo{ref, v})
			}
		}
		return nil
	})
	return page, err
}

// List returns records as q asks: ascending by name and number, at most limit
// of them and about maxBytes together, but at least one and, up to 16 MiB, never
// a part of a fork. more says that there are others behind them.
func (s *Store) List(q wire.ListRecords, limit, maxBytes int) (records [][]byte, more bool, err error) {
	infos, more, err := s.listInfos(q, limit)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for i, info := range infos {
		data, err := s.Record(info.Ref, info.Version, q.Bare)
		if kind := envelope.KindOf(err); err != nil && (kind == envelope.NotFound || kind == envelope.Corrupt) {
			continue // dropped meanwhile, or damaged; another replica has it
		}
		if err != nil {
			return nil, false, err
		}
		sibling := i > 0 && info.Ref == infos[i-1].Ref && info.Version.N == infos[i-1].Version.N
		if len(records) > 0 && size+len(data) > maxBytes && (!sibling || size+len(data) > maxForkBytes) {
			return records, true, nil
		}
		records = append(records, data)
		size += len(data)
	}
	return records, more, nil
}

// maxForkBytes is how much a page may hold for the sake of keeping a fork
// together; what goes beyond is left out of the listing. Only an owner who
// means harm gets there.
const maxForkBytes = 16 << 20

// listInfos finds what List returns.
func (s *Store) listInfos(q wire.ListRecords, limit int) (infos []RecordInfo, more bool, err error) {
	ref := envelope.Ref{Kind: q.Kind, Owner: q.Owner, Name: q.Name}
	after := envelope.Ref{Kind: q.Kind, Owner: q.Owner, Name: q.AfterName}
	if err := errors.Join(checkRef(ref), checkRef(after)); err != nil {
		return nil, false, err
	}
	err = s.view(func(txn *badger.Txn) error {
		if !q.History {
			infos, more, err = listNewest(txn, q, ref, after, limit)
			return err
		}
		prefix := chainKey(ref)
		if q.AllNames {
			prefix = ownerKey(tagRecord, q.Kind, q.Owner)
		}
		var start []byte
		if q.AfterN != 0 {
			start = bytes.Repeat([]byte{0xff}, idSize+1) // behind every hash
			start = append(numberKey(after, q.AfterN), start...)
			start = maxKey(start, prefix)
		}
		for key := range keys(txn, prefix, start) {
			ref, v, ok := parseRecordKey(key)
			if !ok {
				continue
			}
			if len(infos) >= limit {
				if last := infos[len(infos)-1]; last.Ref != ref || last.Version.N != v.N {
					more = true
					break
				}
			}
			infos = append(infos, RecordInfo{ref, v})
		}
		return nil
	})
	return infos, more, err
}

func maxKey(a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		return a
	}
	return b
}

// listNewest finds the winners of each name.
func listNewest(txn *badger.Txn, q wire.ListRecords, ref, after envelope.Ref, limit int) (infos []RecordInfo, more bool, err error) {
	if !q.AllNames {
		newest, err := newestVersions(txn, ref)
		if err != nil || len(newest) == 0 || q.AfterN != 0 && newest[0].N <= q.AfterN {
			return nil, false, err
		}
		return []RecordInfo{{ref, newest[0]}}, false, nil
	}
	var start []byte
	if q.AfterN != 0 {
		start = append(newestKey(after), 0)
	}
	prefix := ownerKey(tagNewest, q.Kind, q.Owner)
	for key := range keys(txn, prefix, start) {
		if len(infos) >= limit {
			return infos, true, nil
		}
		item, err := txn.Get(key)
		if err != nil {
			return nil, false, err
		}
		v, err := versionOf(item)
		if err != nil {
			return nil, false, err
		}
		infos = append(infos, RecordInfo{envelope.Ref{Kind: q.Kind, Owner: q.Owner, Name: string(key[ownerPrefix:])}, v})
	}
	return infos, false, nil
}

// Groups returns the groups whose newest document that is kept lists the agent
// as a member, ascending, beginning behind after (zero: with the first), at
// most limit of them.
func (s *Store) Groups(member, after envelope.AgentID, limit int) ([]envelope.AgentID, error) {
	var groups []envelope.AgentID
	for len(groups) < limit {
		candidates, err := s.groupCandidates(member, after, limit)
		if err != nil || len(candidates) == 0 {
			return groups, err
		}
		for _, group := range candidates {
			after = group
			if ok, err := s.lists(group, member); err != nil {
				return nil, err
			} else if ok && len(groups) < limit {
				groups = append(groups, group)
			}
		}
	}
	return groups, nil
}

func (s *Store) groupCandidates(member, after envelope.AgentID, limit int) (groups []envelope.AgentID, err error) {
	start := memberPrefix(member)
	if !after.IsZero() {
		start = append(memberKey(member, after), 0)
	}
	err = s.view(func(txn *badger.Txn) error {
		for key := range keys(txn, memberPrefix(member), start) {
			if len(groups) == limit {
				break
			}
			groups = append(groups, envelope.AgentID(key[1+idSize:]))
		}
		return nil
	})
	return groups, err
}

// lists reports whether the newest document of group lists member.
func (s *Store) lists(group, member envelope.AgentID) (bool, error) {
	ref := envelope.Ref{Kind: envelope.KindDocument, Owner: group}
	newest, err := s.Newest(ref)
	if err != nil || len(newest) == 0 {
		return false, err
	}
	data, err := s.Record(ref, newest[0], true)
	if kind := envelope.KindOf(err); err != nil && (kind == envelope.NotFound || kind == envelope.Corrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r, err := envelope.ParseRecord(envelope.KindDocument, data)
	if err != nil {
		return false, err
	}
	return r.Document.Group != nil && slices.ContainsFunc(r.Document.Group.Members, func(m envelope.Member) bool { return m.ID == member }), nil
}

// LiveKeys returns the distinct segment keys of all headers of an owner that
// are kept, ascending, beginning behind after (nil: with the first), at most
// limit of them.
func (s *Store) LiveKeys(owner envelope.AgentID, after []byte, limit int) (live [][]byte, err error) {
	var start []byte
	if len(after) > 0 {
		if len(after) != idSize {
			return nil, envelope.Errorf(envelope.Usage, "a segment key has %d bytes, not %d", idSize, len(after))
		}
		start = append(append(livePrefix(owner), after...), bytes.Repeat([]byte{0xff}, idSize+1)...)
	}
	err = s.view(func(txn *badger.Txn) error {
		for key := range keys(txn, livePrefix(owner), start) {
			segment := key[1+idSize : 1+2*idSize]
			if len(live) > 0 && bytes.Equal(live[len(live)-1], segment) {
				continue
			}
			if len(live) == limit {
				break
			}
			live = append(live, bytes.Clone(segment))
		}
		return nil
	})
	return live, err
}
