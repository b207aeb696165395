package store

import (
	"os"
	"testing"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"

	"l2p/envelope"
)

// FuzzTable: whatever is in a table's file is read or refused.
func FuzzTable(f *testing.F) {
	dir, _ := newLibrary(f, false)
	data, err := os.ReadFile(indexFile(f, dir, tableSuffix))
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []int{0, 3, len(data) / 2, len(data) - 1, len(data)} {
		f.Add(data[:n])
		f.Add(data[len(data)-n:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := withTable(data, options.NoVerification, (*table.Table).VerifyChecksum)
		read := withTable(data, options.OnBlockRead, func(t *table.Table) error {
			return readTable(t, func(key, value []byte) error { return nil })
		})
		if (whole == nil) != (read == nil) {
			t.Errorf("checked: %v, read: %v", whole, read)
		}
	})
}

// FuzzSegmentName: a name says one thing, and nothing else has a name.
func FuzzSegmentName(f *testing.F) {
	f.Add(segmentName(envelope.SegmentID{Key: [32]byte{1}, Index: 7}, envelope.AgentID{2}))
	f.Add("...")
	f.Fuzz(func(t *testing.T, name string) {
		id, owner, ok := parseSegmentName(name)
		if !ok {
			return
		}
		again, ownerAgain, ok := parseSegmentName(segmentName(id, owner))
		if !ok || again != id || ownerAgain != owner {
			t.Errorf("%q is %v of %v, and again %v of %v", name, id, owner, again, ownerAgain)
		}
	})
}
