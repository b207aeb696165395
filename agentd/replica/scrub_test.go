package replica

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"l2p/envelope"
)

// scrubPass is how long a pass takes where tests wait for it.
const scrubPass = 30 * time.Minute

// flip damages the one file of a node whose path fits.
func flip(t testing.TB, n *testNode, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("files like %q: %q, %v", pattern, files, err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(files[0], data, 0o600))
}

// newLargeWriter returns a writer whose document is a file of the store.
func newLargeWriter(t testing.TB) *writer {
	t.Helper()
	w := newWriter(t)
	locked := make([]byte, 64<<10)
	rand.Read(locked)
	d := w.document(t, envelope.User)
	d.Locked = envelope.AttachmentHash(locked)
	d, err := envelope.SignDocument(d, [][]byte{locked}, &writer{key: w.key, version: 1})
	must(t, err)
	w.doc, w.id = d, d.ID()
	return w
}

func TestScrubFindsWhatNobodyReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.scrubPass = scrubPass
		for _, n := range c.order {
			n.stop()
			n.restart()
		}
		adam := newLargeWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 1000)
		must(t, c.order[0].putCourse(v1))
		time.Sleep(time.Minute)
		whole := c.order[1].Scrubbed()
		flip(t, c.order[1], "segments/*/*.*")
		flip(t, c.order[1], "records/*/*.*")
		flip(t, c.order[2], "segments/*/*.*")
		must(t, os.Remove(glob(t, c.order[2], "records/*/*.*")))

		began := time.Now()
		for c.order[1].Scrubbed().Damaged == 0 && time.Since(began) < 2*scrubPass {
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second) // long before anybody reconciles
		ref := envelope.Ref{Kind: envelope.KindDocument, Owner: adam.id}
		if has, err := c.order[1].Store.HasRecord(ref, versionOf(adam.doc)); !has || err != nil {
			t.Errorf("the record isn't there again, %v after the beginning: %v", time.Since(began), err)
		}

		time.Sleep(2 * scrubPass)
		synctest.Wait()
		for i, want := range []uint64{0, 2, 2} {
			p := c.order[i].Scrubbed()
			if p.Damaged != want || p.Done.IsZero() || p.Bytes == 0 || p.IndexDamaged {
				t.Errorf("node %d found %+v, want %d damaged", i+1, p, want)
			}
			frame, err := c.order[i].Store.Segment(v1.ids[0])
			if err != nil || !bytes.Equal(frame, v1.frames[0]) {
				t.Errorf("the segment of node %d: %d bytes, %v", i+1, len(frame), err)
			}
			rec := adam.doc.Signed().Encode()
			data, err := c.order[i].Store.Record(ref, versionOf(adam.doc), false)
			if err != nil || !bytes.Equal(data, rec) {
				t.Errorf("the record of node %d: %d bytes, %v", i+1, len(data), err)
			}
			if claims, err := c.order[i].Store.Claims(v1.ids[0]); err != nil || len(claims) != 1 || claims[0].Owner != adam.id {
				t.Errorf("the claims of node %d: %v, %v", i+1, claims, err)
			}
		}
		if whole.Damaged != 0 || !whole.Done.IsZero() {
			t.Errorf("before anything was damaged: %+v", whole)
		}
	})
}

func glob(t testing.TB, n *testNode, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("files like %q: %q, %v", pattern, files, err)
	}
	return files[0]
}

// TestScrubKeepsItsPace: no faster than it may, no slower than a pass, and on
// from where it was after a restart.
func TestScrubKeepsItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.order[0]
		adam := newWriter(t)
		must(t, n.putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 7*envelope.SegmentPlainSize)
		must(t, n.putCourse(v1))
		n.stop()

		c.scrubPass, c.scrubRate = time.Hour, 4<<20
		began := time.Now()
		n.restart()
		time.Sleep(scrubPass)
		p := n.Scrubbed()
		if mib := p.Bytes >> 20; mib < 2 || mib > 4 || !p.Done.IsZero() {
			t.Errorf("after half a pass: %+v", p)
		}
		n.stop()
		n.restart()
		time.Sleep(time.Minute)
		if p := n.Scrubbed(); !p.Began.Equal(began.Truncate(time.Millisecond)) || p.Bytes > 2<<20 {
			t.Errorf("after a restart it began anew: %+v", p)
		}
		time.Sleep(time.Hour)
		if p := n.Scrubbed(); p.Done.IsZero() || p.Done.Sub(began) > time.Hour+15*time.Minute {
			t.Errorf("the pass that began at %v: %+v", began, p)
		}
		done := n.Scrubbed().Done
		n.stop()

		c.scrubPass, c.scrubRate = time.Second, 1<<10
		n.restart()
		time.Sleep(time.Minute)
		if p := n.Scrubbed(); !p.Done.Equal(done.Truncate(time.Millisecond)) {
			t.Errorf("after a restart the last pass ended at %v, before at %v", p.Done, done)
		}
		time.Sleep(20 * time.Minute) // of which the directories take nine
		if p := n.Scrubbed(); p.Bytes > 3<<20 {
			t.Errorf("%d bytes were read at 1 KiB a second", p.Bytes)
		}
	})
}

// TestScrubYields: while the node answers others it scrubs slowly, but it does.
func TestScrubYields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.order[0]
		s := &scrubber{r: n.Replica, saved: time.Now()}
		n.serving.Add(1)
		began := time.Now()
		must(t, s.wait(t.Context(), time.Second))
		if d := time.Since(began); d != time.Second+maxYields*yieldPause {
			t.Errorf("while a request is answered it waits for %v", d)
		}
		n.serving.Add(-1)
		began = time.Now()
		must(t, s.wait(t.Context(), time.Second))
		if d := time.Since(began); d != time.Second {
			t.Errorf("while nobody asks it waits for %v", d)
		}
	})
}

// TestRebuiltIndexKeepsSegments: what only its file's name tells of isn't taken
// for dead, and comes to k copies again with all else.
func TestRebuiltIndexKeepsSegments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1 := adam.seal(t, "course", envelope.Version{}, 2*envelope.SegmentPlainSize)
		must(t, c.order[0].putCourse(v1))
		settled()
		for _, n := range c.order[:2] {
			n.stop()
			must(t, os.RemoveAll(filepath.Join(n.dir, "index")))
			n.restart() // with an empty index: the scrubber finds the files
		}
		settled()
		time.Sleep(grace + 2*defaultPause)
		c.wantCopies(v1)
		for _, n := range c.order {
			n.wantCourse(v1)
			p := n.Scrubbed()
			files, err := filepath.Glob(filepath.Join(n.dir, "segments", "*", "*.*"))
			if kept := n.Store.Stats().Segments; err != nil || uint64(len(files)) != kept {
				t.Errorf("%d files of %d segments; %+v", len(files), kept, p)
			}
		}
	})
}
