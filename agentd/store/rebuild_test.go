package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"l2p/envelope"
)

// A library is what a test stores, loses and looks for.
type library struct {
	w       *writer
	large   *envelope.Record   // in a file
	small   []*envelope.Record // in the index
	ids     []envelope.SegmentID
	frames  [][]byte
	arrived time.Time
	second  envelope.AgentID // who claims the first segment as well
}

// fill stores a library, two kinds of claims among it.
func fill(t testing.TB, s *Store) *library {
	t.Helper()
	l := &library{second: envelope.AgentID{7}}
	l.w, l.large = newUser(t, 2*inlineLimit)
	put(t, s, l.large)
	age := 2 * time.Hour
	l.arrived = time.Now().Add(-age)
	parent := envelope.Version{}
	for range 8 {
		header, ids, frames := l.w.envelope(t, "course", parent, 2000)
		parent = header.Version
		for i, id := range ids {
			if _, err := s.PutSegment(id, l.w.id, frames[i], age); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, header)
		l.small, l.ids, l.frames = append(l.small, header), append(l.ids, ids...), append(l.frames, frames...)
	}
	if _, err := s.PutSegment(l.ids[0], l.second, l.frames[0], 0); err != nil {
		t.Fatal(err)
	}
	return l
}

// check insists that everything is there but, unless small is set, some of the
// small records and the second claim.
func (l *library) check(t testing.TB, s *Store, small bool) {
	t.Helper()
	if got, err := s.Record(l.large.Ref, l.large.Version, false); err != nil || !bytes.Equal(got, l.large.Signed.Encode()) {
		t.Errorf("the large record: %d bytes, %v", len(got), err)
	}
	size := uint64(0)
	for i, id := range l.ids {
		if got, err := s.Segment(id); err != nil || !bytes.Equal(got, l.frames[i]) {
			t.Errorf("segment %d: %d bytes, %v", i, len(got), err)
		}
		claims, err := s.Claims(id)
		mine := slices.IndexFunc(claims, func(c Claim) bool { return c.Owner == l.w.id })
		if err != nil || mine < 0 || claims[mine].Arrived.Sub(l.arrived).Abs() > time.Minute {
			t.Errorf("claims to segment %d: %v, %v", i, claims, err)
		}
		if i == 0 && small && len(claims) != 2 {
			t.Errorf("the second claim is lost: %v", claims)
		}
		size += uint64(len(l.frames[i]))
	}
	if got := s.Usage(l.w.id); got != size {
		t.Errorf("%d bytes are counted for the owner, want %d", got, size)
	}
	want := Stats{Records: 1, Segments: uint64(len(l.ids)), Bytes: size, Free: 1 << 40, Need: needFree(2 << 40)}
	var newest []envelope.Version
	for _, r := range l.small {
		got, err := s.Record(r.Ref, r.Version, false)
		switch {
		case err == nil && bytes.Equal(got, r.Signed.Encode()):
			want.Records++
			newest = []envelope.Version{r.Version}
		case small || envelope.KindOf(err) != envelope.NotFound:
			t.Errorf("version %d: %d bytes, %v", r.Version.N, len(got), err)
		}
	}
	if got, err := s.Newest(l.small[0].Ref); err != nil || !slices.Equal(got, newest) {
		t.Errorf("newest is %v, %v, want %v", got, err, newest)
	}
	if live, err := s.LiveKeys(l.w.id, nil, 100); err != nil || len(live) != int(want.Records-1) {
		t.Errorf("%d segment keys are live, %v; want %d", len(live), err, want.Records-1)
	}
	if got := s.Stats(); got != want {
		t.Errorf("counted as %+v, want %+v", got, want)
	}
}

// newLibrary returns the directory of a store that was closed in good order,
// or, if crashed is set, one whose process ended with its index's log unread.
func newLibrary(t testing.TB, crashed bool) (string, *library) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir)
	l := fill(t, s)
	if crashed {
		dir = copyDir(t, dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, l
}

// copyDir copies a directory, files' times included.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	copied := t.TempDir()
	err := os.CopyFS(copied, os.DirFS(dir))
	if err == nil {
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.Chtimes(filepath.Join(copied, strings.TrimPrefix(path, dir)), info.ModTime(), info.ModTime())
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// indexFile returns the one file of the index with a suffix.
func indexFile(t testing.TB, dir, suffix string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, indexDir, "*"+suffix))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q in the index, %v; want one %s", files, err, suffix)
	}
	return files[0]
}

func flip(t testing.TB, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func rebuild(t testing.TB, dir string) Rebuilt {
	t.Helper()
	r, err := Rebuild(dir, Options{Statfs: plenty})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	truncate := func(t *testing.T, path string, size int64) {
		t.Helper()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name    string
		crashed bool
		damage  func(t *testing.T, dir string)
		refused bool // such a store isn't opened
		small   bool // small records survive
		aside   bool
	}{
		{"nothing", false, func(t *testing.T, dir string) {}, false, true, true},
		{"nothing, after a crash", true, func(t *testing.T, dir string) {}, false, true, true},
		{"no index", false, func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, indexDir)) }, false, false, false},
		{"a bit of the manifest", false, func(t *testing.T, dir string) { flip(t, filepath.Join(dir, indexDir, manifestFile), 20) }, true, true, true},
		{"no manifest", false, func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, indexDir, manifestFile)) }, true, true, true},
		{"a bit of a table", false, func(t *testing.T, dir string) { flip(t, indexFile(t, dir, tableSuffix), 100) }, true, false, true},
		{"half a table", false, func(t *testing.T, dir string) { truncate(t, indexFile(t, dir, tableSuffix), 5000) }, true, false, true},
		{"no table", false, func(t *testing.T, dir string) { os.Remove(indexFile(t, dir, tableSuffix)) }, true, false, true},
		{"all but the beginning of the log", true, func(t *testing.T, dir string) { truncate(t, indexFile(t, dir, walSuffix), 10) }, false, false, true},
		{"all of the log", true, func(t *testing.T, dir string) { truncate(t, indexFile(t, dir, walSuffix), 0) }, false, false, true},
		{"the value log", true, func(t *testing.T, dir string) { truncate(t, indexFile(t, dir, ".vlog"), 0) }, false, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir, l := newLibrary(t, tc.crashed)
			tc.damage(t, dir)
			if tc.refused {
				_, err := Open(dir, Options{Statfs: plenty})
				wantKind(t, err, envelope.Corrupt)
				if !strings.Contains(err.Error(), "--rebuild-index") || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error doesn't say in one line what to do: %v", err)
				}
			}
			r := rebuild(t, dir)
			if (r.Aside != "") != tc.aside || tc.refused && !tc.small && r.Unreadable == 0 && tc.name != "no table" {
				t.Errorf("rebuilt: %+v", r)
			}
			s := open(t, dir)
			defer s.Close()
			if st := s.Stats(); st.Records != r.Records || st.Segments != r.Segments {
				t.Errorf("rebuilt %+v, opened with %+v", r, st)
			}
			l.check(t, s, tc.small)
			mend(t, s)
			l.check(t, s, tc.small)
		})
	}
}

// TestRebuildEndsAnywhere: whatever a rebuild that was killed has left, the
// store opens with all that it had, and can be rebuilt.
func TestRebuildEndsAnywhere(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]func(t *testing.T, dir string){
		"half a new index": func(t *testing.T, dir string) {
			for _, half := range []string{halfIndex, scratchIndex} {
				if err := os.MkdirAll(filepath.Join(dir, half), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, half, manifestFile), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"a new index, the old one in its place": func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, newIndex), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a new index, the old one aside": func(t *testing.T, dir string) {
			r := rebuild(t, dir)
			if err := os.Rename(filepath.Join(dir, indexDir), filepath.Join(dir, newIndex)); err != nil || r.Aside == "" {
				t.Fatal(err, r)
			}
		},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", rebuilt: ", again), func(t *testing.T) {
				t.Parallel()
				dir, l := newLibrary(t, false)
				left(t, dir)
				if again {
					rebuild(t, dir)
				}
				s := open(t, dir)
				defer s.Close()
				l.check(t, s, true)
				names, err := filepath.Glob(filepath.Join(dir, indexDir+".*"))
				for _, name := range names {
					if err != nil || !strings.HasPrefix(filepath.Base(name), oldIndex) {
						t.Errorf("%s is left, %v", name, err)
					}
				}
			})
		}
	}
}

func TestRebuildRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Rebuild(dir, Options{})
	wantKind(t, err, envelope.NotFound)
	if names, err := listDir(dir); err != nil || len(names) != 0 {
		t.Errorf("where there was nothing there is %q, %v", names, err)
	}
	s := open(t, dir)
	_, err = Rebuild(dir, Options{})
	wantKind(t, err, envelope.Conflict)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	full := Options{Statfs: func(string) (uint64, uint64, error) { return 0, 1 << 30, nil }}
	_, err = Rebuild(dir, full)
	wantKind(t, err, envelope.Full)
}

// TestAnyBitOfTheIndex: whichever bit is flipped, a store opens or says that
// its index is damaged, a rebuild succeeds, and nothing false comes back.
func TestAnyBitOfTheIndex(t *testing.T) {
	t.Parallel()
	closed, l := newLibrary(t, false)
	crashed, lOfCrashed := newLibrary(t, true)
	for _, file := range []struct {
		dir  string
		l    *library
		path string
	}{
		{closed, l, filepath.Join(closed, indexDir, manifestFile)},
		{closed, l, filepath.Join(closed, indexDir, "KEYREGISTRY")},
		{closed, l, indexFile(t, closed, tableSuffix)},
		{crashed, lOfCrashed, indexFile(t, crashed, walSuffix)},
	} {
		data, err := os.ReadFile(file.path)
		if err != nil {
			t.Fatal(err)
		}
		end := len(bytes.TrimRight(data, "\x00"))
		t.Run(filepath.Base(file.path), func(t *testing.T) {
			t.Parallel()
			dir := copyDir(t, file.dir)
			for _, at := range []int{0, 6, end / 3, 2 * end / 3, end - 4, end - 1} {
				if err := errors.Join(os.RemoveAll(filepath.Join(dir, indexDir)),
					os.CopyFS(filepath.Join(dir, indexDir), os.DirFS(filepath.Join(file.dir, indexDir)))); err != nil {
					t.Fatal(err)
				}
				flip(t, filepath.Join(dir, indexDir, filepath.Base(file.path)), at)
				s, err := Open(dir, Options{Statfs: plenty})
				if err == nil {
					for i, id := range file.l.ids {
						if got, err := s.Segment(id); err == nil && !bytes.Equal(got, file.l.frames[i]) {
							t.Errorf("byte %d: segment %d is another", at, i)
						}
					}
					err = s.Close()
				}
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("byte %d: more than a line: %v", at, err)
				}
				rebuild(t, dir)
				s = open(t, dir)
				file.l.check(t, s, false)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Fatalf("byte %d", at)
				}
			}
		})
	}
}

// TestIndexDamagedWhileOpen: what stands in a damaged block isn't found, and
// CheckIndex says that something is wrong.
func TestIndexDamagedWhileOpen(t *testing.T) {
	t.Parallel()
	dir, l := newLibrary(t, false)
	s := open(t, dir)
	defer s.Close()
	if err := s.CheckIndex(); err != nil {
		t.Fatalf("before: %v", err)
	}
	f, err := os.OpenFile(indexFile(t, dir, tableSuffix), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	one := make([]byte, 1)
	for _, at := range []int64{100, 5000} { // in place: the file is mapped
		if _, err := f.ReadAt(one, at); err != nil {
			t.Fatal(err)
		}
		one[0] ^= 1
		if _, err := f.WriteAt(one, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CheckIndex(); err == nil {
		t.Error("the damage isn't noticed")
	}
	lost := 0
	for i, id := range l.ids {
		got, err := s.Segment(id)
		if err == nil && !bytes.Equal(got, l.frames[i]) {
			t.Errorf("segment %d is another", i)
		}
		if err != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("nothing stood in what was damaged")
	}
	for i, id := range l.ids { // as the other replicas send them
		if _, err := s.PutSegment(id, l.w.id, l.frames[i], time.Hour); err != nil {
			t.Errorf("segment %d can't be put again: %v", i, err)
		}
		if got, err := s.Segment(id); err != nil || !bytes.Equal(got, l.frames[i]) {
			t.Errorf("segment %d, put again: %d bytes, %v", i, len(got), err)
		}
	}
}
