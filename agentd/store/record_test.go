package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"l2p/envelope"
	"l2p/netq/wire"
)

func TestRecordsComeBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, size := range []int{0, 100, inlineLimit - 1000, inlineLimit, 1 << 20} {
		_, r := newUser(t, size)
		added, err := s.PutRecord(r, anyRecord)
		if err != nil || !added {
			t.Fatalf("%d bytes: put: %v, %v", size, added, err)
		}
		if added, err := s.PutRecord(r, func([]envelope.Version) error { return errors.New("asked") }); err != nil || added {
			t.Errorf("%d bytes: put again: %v, %v", size, added, err)
		}
		got, err := s.Record(r.Ref, r.Version, false)
		if err != nil || !bytes.Equal(got, r.Signed.Encode()) {
			t.Errorf("%d bytes: came back as %d bytes, %v", size, len(got), err)
		}
		bare, err := s.Record(r.Ref, r.Version, true)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := envelope.ParseRecord(envelope.KindDocument, bare); err != nil || b.Version != r.Version || len(b.Signed.Attachments) != 0 {
			t.Errorf("%d bytes: bare form: %v", size, err)
		}
	}
	if got := s.Stats().Records; got != 5 {
		t.Errorf("%d records are counted, want 5", got)
	}
	_, unknown := newUser(t, 0)
	_, err := s.Record(unknown.Ref, unknown.Version, false)
	wantKind(t, err, envelope.NotFound)
}

func TestAcceptDecides(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	v1 := w.header(t, "course", envelope.Version{})
	v2a, v2b := w.header(t, "course", v1.Version), w.header(t, "course", v1.Version)
	if v2b.Version.Newer(v2a.Version) {
		v2a, v2b = v2b, v2a
	}
	refuse := envelope.Errorf(envelope.Conflict, "no")
	if _, err := s.PutRecord(v1, func([]envelope.Version) error { return refuse }); !errors.Is(err, error(refuse)) {
		t.Errorf("a refused put returns %v", err)
	}
	if has, err := s.HasRecord(v1.Ref, v1.Version); has || err != nil {
		t.Errorf("a refused record is kept: %v, %v", has, err)
	}
	var told [][]envelope.Version
	for _, r := range []*envelope.Record{v1, v2b, v2a, w.header(t, "course", v2a.Version)} {
		if _, err := s.PutRecord(r, func(newest []envelope.Version) error {
			told = append(told, newest)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]envelope.Version{nil, {v1.Version}, {v2b.Version}, {v2a.Version, v2b.Version}}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("accept was told %v, want %v", told, want)
	}
	if got, err := s.VersionsAt(v1.Ref, 2); err != nil || !slices.Equal(got, []envelope.Version{v2a.Version, v2b.Version}) {
		t.Errorf("the fork is %v, %v", got, err)
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const writers = 8
	w, _ := newUser(t, 0)
	var wg sync.WaitGroup
	var wins sync.Map
	first := errors.New("somebody was first")
	for i := range writers {
		r := w.header(t, "course", envelope.Version{})
		wg.Go(func() {
			_, err := s.PutRecord(r, func(newest []envelope.Version) error {
				if len(newest) > 0 {
					return first
				}
				return nil
			})
			switch {
			case err == nil:
				wins.Store(i, true)
			case !errors.Is(err, first):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	wins.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d writers won, want 1", n)
	}
}

func TestDeleteRecord(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, doc := newUser(t, 2*inlineLimit)
	v1 := w.header(t, "course", envelope.Version{})
	v2 := w.header(t, "course", v1.Version)
	other := w.header(t, "course two", envelope.Version{})
	put(t, s, doc, v1, v2, other)
	newest := func() []envelope.Version {
		t.Helper()
		v, err := s.Newest(v1.Ref)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	live := func() int {
		t.Helper()
		k, err := s.LiveKeys(w.id, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(k)
	}
	if !slices.Equal(newest(), []envelope.Version{v2.Version}) || live() != 3 {
		t.Fatalf("before: newest %v, %d live keys", newest(), live())
	}
	for range 2 { // the second time is no error
		if err := s.DeleteRecord(v2.Ref, v2.Version); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(newest(), []envelope.Version{v1.Version}) {
		t.Errorf("without version 2 the newest is %v", newest())
	}
	for _, r := range []*envelope.Record{v1, doc} {
		if err := s.DeleteRecord(r.Ref, r.Version); err != nil {
			t.Fatal(err)
		}
	}
	if len(newest()) != 0 || live() != 1 || s.Stats().Records != 1 {
		t.Errorf("after: newest %v, %d live keys, %d records", newest(), live(), s.Stats().Records)
	}
	if files := listFiles(t, s, recordDir); len(files) != 0 {
		t.Errorf("files are left: %q", files)
	}
}

// listFiles returns the paths of all files in one of the store's directories.
func listFiles(t testing.TB, s *Store, sub string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, sub, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDamagedRecordIsDropped(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	_, r := newUser(t, 4*inlineLimit)
	put(t, s, r)
	path := listFiles(t, s, recordDir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Record(r.Ref, r.Version, false)
	wantKind(t, err, envelope.Corrupt)
	if has, err := s.HasRecord(r.Ref, r.Version); has || err != nil {
		t.Errorf("a damaged record still counts as kept: %v, %v", has, err)
	}
	put(t, s, r)
	if _, err := s.Record(r.Ref, r.Version, false); err != nil {
		t.Errorf("after repair: %v", err)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, doc := newUser(t, 0)
	stranger, _ := newUser(t, 0)
	put(t, s, doc, stranger.header(t, "a", envelope.Version{}))
	var all, newest []string
	for _, name := range []string{"a", "a b", "ab", "b"} {
		parent := envelope.Version{}
		for n := range 3 {
			r := w.header(t, name, parent)
			put(t, s, r)
			parent = r.Version
			all = append(all, fmt.Sprint(name, n+1))
		}
		fork := w.header(t, name, envelope.Version{N: 2, Hash: envelope.Hash{1}})
		put(t, s, fork)
		all = append(all, fmt.Sprint(name, 3))
		newest = append(newest, fmt.Sprint(name, 3))
	}
	for _, tc := range []struct {
		q    wire.ListRecords
		want []string
	}{
		{wire.ListRecords{AllNames: true, History: true}, all},
		{wire.ListRecords{AllNames: true}, newest},
		{wire.ListRecords{Name: "a b", History: true}, all[4:8]},
		{wire.ListRecords{Name: "a b"}, newest[1:2]},
		{wire.ListRecords{Name: "c", History: true}, nil},
		{wire.ListRecords{Name: "c"}, nil},
		{wire.ListRecords{}, nil},
	} {
		for _, limit := range []int{1, 2, 3, 100} {
			for _, maxBytes := range []int{1, 1 << 20} {
				q := tc.q
				q.Kind, q.Owner = envelope.KindEnvelope, w.id
				var got []string
				for page := 0; ; page++ {
					records, more, err := s.List(q, limit, maxBytes)
					if err != nil || page > len(tc.want) {
						t.Fatalf("page %d: %v", page, err)
					}
					for _, data := range records {
						r, err := envelope.ParseRecord(envelope.KindEnvelope, data)
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, fmt.Sprint(r.Ref.Name, r.Version.N))
						q.AfterName, q.AfterN = r.Ref.Name, r.Version.N
					}
					if !more {
						break
					}
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("%+v by %d: %q, want %q", tc.q, limit, got, tc.want)
				}
			}
		}
	}
	var refs int
	var after *RecordInfo
	for {
		page, err := s.Records(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		refs += len(page)
		if len(page) < 3 {
			break
		}
		after = &page[len(page)-1]
	}
	if want := len(all) + 2; refs != want {
		t.Errorf("%d records in all, want %d", refs, want)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	admin, _ := newUser(t, 0)
	a, b := envelope.AgentID{1}, envelope.AgentID{2}
	group := func(members ...envelope.AgentID) *envelope.Document {
		d := newKeys(t).document(envelope.Group)
		box := []byte("a box")
		d.Group = &envelope.GroupPart{Epoch: 1, Admins: []envelope.AgentID{admin.id}, Members: []envelope.Member{}, Boxes: []envelope.Hash{envelope.AttachmentHash(box)}}
		for _, m := range members {
			d.Group.Members = append(d.Group.Members, envelope.Member{ID: m, Version: 1})
		}
		return sign(t, d, [][]byte{box}, admin)
	}
	both, onlyA := group(a, b), group(a)
	put(t, s, record(t, envelope.KindDocument, both.Signed()), record(t, envelope.KindDocument, onlyA.Signed()))

	next := newKeys(t).document(envelope.Group)
	box, previous := []byte("another box"), []byte("the one before")
	next.Version, next.Agent, next.Parent = 2, both.ID(), both.Hash()
	next.Group = &envelope.GroupPart{Epoch: 2, Admins: both.Group.Admins, Members: []envelope.Member{{ID: b, Version: 1}},
		Boxes: []envelope.Hash{envelope.AttachmentHash(box)}, Previous: envelope.AttachmentHash(previous)}
	put(t, s, record(t, envelope.KindDocument, sign(t, next, [][]byte{box, previous}, admin).Signed()))

	for _, tc := range []struct {
		member envelope.AgentID
		want   []envelope.AgentID
	}{{a, []envelope.AgentID{onlyA.ID()}}, {b, []envelope.AgentID{both.ID()}}, {admin.id, nil}} {
		if got, err := s.Groups(tc.member, envelope.AgentID{}, 10); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("groups of %s: %v, %v; want %v", tc.member.Short(), got, err, tc.want)
		}
	}
	if got, err := s.Groups(b, both.ID(), 10); err != nil || len(got) != 0 {
		t.Errorf("behind the last group: %v, %v", got, err)
	}
}

func TestLiveKeysPages(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w, _ := newUser(t, 0)
	for i := range 5 {
		put(t, s, w.header(t, fmt.Sprint(i), envelope.Version{}))
	}
	var got [][]byte
	var after []byte
	for {
		page, err := s.LiveKeys(w.id, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < 2 {
			break
		}
		after = page[len(page)-1]
	}
	if len(got) != 5 || !slices.IsSortedFunc(got, bytes.Compare) {
		t.Errorf("live keys are %x", got)
	}
	_, err := s.LiveKeys(w.id, []byte("short"), 2)
	wantKind(t, err, envelope.Usage)
}

func TestHostileRefs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, ref := range []envelope.Ref{{}, {Kind: 256}, {Kind: 1, Name: "a\x00b"}, {Kind: 1, Name: string(make([]byte, 1<<20))}} {
		_, err := s.Record(ref, envelope.Version{N: 1}, false)
		wantKind(t, err, envelope.Usage)
		_, _, err = s.List(wire.ListRecords{Kind: ref.Kind, Name: ref.Name}, 1, 1)
		wantKind(t, err, envelope.Usage)
	}
}
