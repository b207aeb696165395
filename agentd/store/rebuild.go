package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"l2p/envelope"
)

// Directories of a rebuild. The new index is made as halfIndex and gets the
// name newIndex when it is complete and on disk; then the old one goes aside,
// and the new one takes its name. A process that ends anywhere leaves the old
// index in its place, or a complete new one that the next to open the store
// puts there.
const (
	halfIndex    = "index.half"
	newIndex     = "index.new"
	scratchIndex = "index.scratch" // what salvage needs
	oldIndex     = "index.old-"    // and a number
)

// A Rebuilt says what a new index was made of.
type Rebuilt struct {
	Records, Segments uint64
	Aside             string // where the old index is now; empty: there was none
	Unreadable        int    // files of the old index that couldn't be read, or not all of them
}

// Rebuild makes the index of the store in dir anew: from the files in it, and
// from as much of the old index as can be read, which is where small records
// are. What has been dropped since may come back; who keeps the store drops it
// again. The store must not be open. Segments' files aren't read: whether they
// are whole is found out later, as for those that an index names.
func Rebuild(dir string, opts Options) (_ Rebuilt, err error) {
	if _, err := os.Stat(filepath.Join(dir, segmentDir)); errors.Is(err, os.ErrNotExist) {
		return Rebuilt{}, envelope.Errorf(envelope.NotFound, "there is no store in %+q", dir)
	}
	s, err := lockStore(dir, opts)
	if err != nil {
		return Rebuilt{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.checkRoom(); err != nil {
		return Rebuilt{}, err
	}
	half := filepath.Join(dir, halfIndex)
	// Nothing counts before the end, when all of it is synced.
	db, err := badger.Open(badgerOptions(half, s.log).WithSyncWrites(false))
	if err != nil {
		return Rebuilt{}, ioError(err, "making a new index")
	}
	s.db = db
	var result Rebuilt
	if result.Unreadable, err = s.fillIndex(); err != nil {
		return Rebuilt{}, err
	}
	err = s.db.Close()
	s.db = nil
	if err == nil {
		err = syncTree(half)
	}
	if err == nil {
		err = os.Rename(half, filepath.Join(dir, newIndex))
	}
	if err != nil {
		return Rebuilt{}, ioError(err, "writing the new index")
	}
	if result.Aside, err = moveAside(dir); err != nil {
		return Rebuilt{}, ioError(err, "moving the old index aside")
	}
	stats := s.Stats()
	result.Records, result.Segments = stats.Records, stats.Segments
	return result, finishRebuild(dir)
}

// fillIndex fills the new index.
func (s *Store) fillIndex() (unreadable int, err error) {
	if err := s.eachFile(segmentDir, func(name string) error {
		id, owner, ok := parseSegmentName(name)
		if !ok {
			return nil
		}
		_, err := s.adoptSegment(id, owner, name)
		return err
	}); err != nil {
		return 0, err
	}
	unreadable, err = salvage(filepath.Join(s.dir, indexDir), filepath.Join(s.dir, scratchIndex), s.log, s.salvaged)
	if err != nil {
		return unreadable, err
	}
	return unreadable, s.eachFile(recordDir, func(name string) error {
		_, err := s.mendRecord(name)
		return err
	})
}

// eachFile calls f with the names of all files in the shards of sub.
func (s *Store) eachFile(sub string, f func(name string) error) error {
	for i := range Shards {
		shardOf, dir := shard(i)
		if shardOf != sub {
			continue
		}
		names, err := listDir(filepath.Join(s.dir, sub, dir))
		if err != nil {
			return ioError(err, "looking through the store")
		}
		for _, name := range names {
			if err := f(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// salvaged takes an entry of the old index. What can't be right is passed over.
func (s *Store) salvaged(key, value []byte) error {
	if ref, v, ok := parseRecordKey(key); ok {
		return s.salvagedRecord(ref, v, value)
	}
	id, sub, owner, ok := parseSegmentKey(key)
	if !ok || sub != subClaim || len(owner) != idSize || len(value) != numberSize {
		return nil
	}
	file, err := s.segmentFile(id)
	if err != nil || file == "" {
		return err
	}
	info, err := os.Stat(s.shardPath(segmentDir, file))
	if err != nil {
		return ioError(err, "reading a segment")
	}
	claim := Claim{envelope.AgentID(owner), time.UnixMilli(int64(binary.BigEndian.Uint64(value)))}
	_, added, err := s.indexSegment(id, segmentEntry{}, claim)
	if added {
		s.usage.add(claim.Owner, uint64(info.Size()))
	}
	if envelope.KindOf(err) == envelope.Full { // as many claims as there may be
		return nil
	}
	return err
}

func (s *Store) salvagedRecord(ref envelope.Ref, v envelope.Version, value []byte) error {
	var entry recordEntry
	if len(value) == 0 || envelope.Decode(value, valueThreshold, &entry) != nil {
		return nil
	}
	data := entry.Data
	if entry.File != "" {
		var err error
		if data, err = s.readFile(recordDir, entry.File, envelope.MaxSignedSize, false); err != nil && !errors.Is(err, os.ErrNotExist) {
			return ioError(err, "reading a record")
		}
	}
	r, err := envelope.ParseRecord(ref.Kind, data)
	if err != nil || r.Ref != ref || r.Version != v || recordSum(data) != entry.Sum {
		return nil
	}
	again := entryOf(r, data)
	if entry.File != "" {
		again.File = entry.File
	}
	_, err = s.indexRecord(r, again, func([]envelope.Version) error { return nil })
	return err
}

// moveAside gives the old index, if there is one, a name that nothing has.
func moveAside(dir string) (aside string, err error) {
	old := filepath.Join(dir, indexDir)
	if _, err := os.Stat(old); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	for n := 1; ; n++ {
		aside = filepath.Join(dir, fmt.Sprint(oldIndex, n))
		if _, err := os.Lstat(aside); err == nil {
			continue
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		return aside, errors.Join(os.Rename(old, aside), syncDir(dir))
	}
}

// finishRebuild puts a complete new index in its place, unless there is still
// an old one: then the new one may be behind it, and is removed. So is what
// isn't complete.
func finishRebuild(dir string) error {
	for _, left := range []string{halfIndex, scratchIndex} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			return ioError(err, "removing what an earlier rebuild left")
		}
	}
	fresh, place := filepath.Join(dir, newIndex), filepath.Join(dir, indexDir)
	if _, err := os.Stat(fresh); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var err error
	if _, statErr := os.Stat(place); errors.Is(statErr, os.ErrNotExist) {
		err = os.Rename(fresh, place)
	} else {
		err = os.RemoveAll(fresh)
	}
	if err := errors.Join(err, syncDir(dir)); err != nil {
		return ioError(err, "putting a rebuilt index in its place")
	}
	return nil
}

// syncTree syncs a directory with all files in it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path) // what syncs a directory syncs a file
	})
}
