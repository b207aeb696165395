package keystore

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"l2p/envelope"
)

// filledStore is a keystore with something of everything: adam, locked and the
// default, robot without a passphrase, carl with keys kept local, a group with
// two epochs, names, and what was seen.
func filledStore(t testing.TB) *Store {
	t.Helper()
	s := testStore(t)
	ctx := t.Context()
	adam := create(t, s, AgentOptions{Name: "adam@a-tech", Passphrase: []byte("p"), Classic: true})
	robot := create(t, s, AgentOptions{Kind: envelope.Service, Name: "robot@a-tech", Classic: true})
	create(t, s, AgentOptions{Name: "carl@a-tech", Passphrase: []byte("p"), Classic: true, KeepKeysLocal: true})
	if _, err := s.Passwd(ctx, adam.Agent(), []byte("p"), []byte("q")); err != nil {
		t.Fatal(err)
	}
	group, err := CreateGroup(ctx, adam, s, GroupOptions{Name: "team@a-tech", Members: []envelope.AgentID{robot.Agent()}})
	if err != nil {
		t.Fatal(err)
	}
	keep := func(d *envelope.Document) {
		t.Helper()
		if err := s.AddDocuments(ctx, []*envelope.Document{d}); err != nil {
			t.Fatal(err)
		}
	}
	keep(group)
	ids, err := IdentitiesFor(ctx, adam, s, s.GroupsOf)
	if err != nil {
		t.Fatal(err)
	}
	// Two successors of one version: one of them loses.
	var sides []*envelope.Document
	for _, c := range []GroupChange{{Remove: []envelope.AgentID{robot.Agent()}}, {NewEpoch: true}} {
		d, err := ChangeGroup(ctx, adam, ids, s, group.ID(), c)
		if err != nil {
			t.Fatal(err)
		}
		sides = append(sides, d)
	}
	keep(sides[0])
	keep(sides[1])
	if lost, err := s.Lost(ctx, group.ID()); err != nil || len(lost) != 1 {
		t.Fatalf("%d documents lost, %v", len(lost), err)
	}
	if err := s.Pin("adam@a-tech", adam.Agent()); err != nil {
		t.Fatal(err)
	}
	remember(t, s, adam.Agent(), "course", 3)
	return s
}

func remember(t testing.TB, s *Store, owner envelope.AgentID, name string, n uint64) {
	t.Helper()
	if err := s.Remember(envelope.Ref{Kind: envelope.KindEnvelope, Owner: owner, Name: name}, envelope.Version{N: n, Hash: envelope.Hash{byte(n)}}); err != nil {
		t.Fatal(err)
	}
}

// tree returns the content of a keystore's files that a backup has.
func tree(t testing.TB, s *Store) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(s.Dir(), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == lockFile {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(s.Dir(), path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name, data := range want {
		if got[name] != data {
			t.Errorf("file %s has %d bytes, want %d", name, len(got[name]), len(data))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("file %s is new", name)
		}
	}
}

func backupOf(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b, []byte("backup")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackupRestore(t *testing.T) {
	t.Parallel()
	from := filledStore(t)
	data := backupOf(t, from)
	if !bytes.HasPrefix(data, []byte("age-encryption.org/v1\n-> scrypt ")) || bytes.Contains(data, []byte("adam")) {
		t.Errorf("backup begins %.60q", data)
	}
	to := testStore(t)
	restored, err := to.Restore(t.Context(), bytes.NewReader(data), []byte("backup"), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(restored.Agents) != 3 || len(restored.Kept) != 0 {
		t.Errorf("restored %v", restored)
	}
	sameTree(t, tree(t, to), tree(t, from))
	id, err := to.Default()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Unlock(id, []byte("q")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(to.Dir() + restoringSuffix); err == nil {
		t.Error("something is left beside the keystore")
	}

	// A second time only with merge, which changes nothing.
	_, err = to.Restore(t.Context(), bytes.NewReader(data), []byte("backup"), false)
	wantKind(t, err, envelope.Conflict)
	if restored, err = to.Restore(t.Context(), bytes.NewReader(data), []byte("backup"), true); err != nil || len(restored.Agents) != 0 {
		t.Errorf("restored %v, %v", restored, err)
	}
	sameTree(t, tree(t, to), tree(t, from))
}

// TestRestoreMerges: what the backup has and the keystore lacks comes; what is
// newer here stays.
// A keystore may be a link to a directory elsewhere, and is one afterwards.
func TestRestoreThroughLink(t *testing.T) {
	t.Parallel()
	from := filledStore(t)
	dir := t.TempDir()
	real, link := filepath.Join(dir, "disk", "keystore"), filepath.Join(dir, "keystore")
	if err := os.MkdirAll(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	to, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Restore(t.Context(), bytes.NewReader(backupOf(t, from)), []byte("backup"), false); err != nil {
		t.Fatal(err)
	}
	again, err := Open(real)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, tree(t, again), tree(t, from))
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v", err)
	}
}

func TestRestoreMerges(t *testing.T) {
	t.Parallel()
	from := filledStore(t)
	adam, err := from.FindAgent("adam@a-tech")
	if err != nil {
		t.Fatal(err)
	}
	old := backupOf(t, from)
	if _, err := from.Passwd(t.Context(), adam.ID(), []byte("q"), []byte("r")); err != nil {
		t.Fatal(err)
	}
	remember(t, from, adam.ID(), "course", 4)
	remember(t, from, adam.ID(), "other", 1)
	newer := tree(t, from)
	if _, err := from.Restore(t.Context(), bytes.NewReader(old), []byte("backup"), true); err != nil {
		t.Fatal(err)
	}
	sameTree(t, tree(t, from), newer)

	// Into a keystore with an agent, another adam to its knowledge.
	to := testStore(t)
	eve := create(t, to, AgentOptions{Name: "eve@a-tech", Passphrase: []byte("p"), Classic: true})
	if err := to.Pin("adam@a-tech", eve.Agent()); err != nil {
		t.Fatal(err)
	}
	restored, err := to.Restore(t.Context(), bytes.NewReader(backupOf(t, from)), []byte("backup"), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(restored.Agents) != 3 || !slices.Equal(restored.Kept, []string{"adam@a-tech"}) {
		t.Errorf("restored %v", restored)
	}
	if id, err := to.Default(); err != nil || id != eve.Agent() {
		t.Errorf("default is %s, %v", id, err)
	}
	if _, err := to.Unlock(adam.ID(), []byte("r")); err != nil {
		t.Error(err)
	}

	// Nothing comes where an own agent has the name of another.
	clash := testStore(t)
	create(t, clash, AgentOptions{Name: "adam@a-tech", Classic: true})
	before := tree(t, clash)
	_, err = clash.Restore(t.Context(), bytes.NewReader(old), []byte("backup"), true)
	wantKind(t, err, envelope.Conflict)
	sameTree(t, tree(t, clash), before)
}

// TestRestoreRefuses: what can't be restored leaves an empty keystore empty.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	from := filledStore(t)
	data := backupOf(t, from)
	robot, err := from.FindAgent("robot@a-tech")
	if err != nil {
		t.Fatal(err)
	}
	files, err := readBackupFiles(opened(t, data))
	if err != nil {
		t.Fatal(err)
	}
	// with returns a backup after a change of its files.
	with := func(change func(files []backupFile) []backupFile) []byte {
		return sealedArchive(t, func(w *tar.Writer) {
			for _, f := range change(slices.Concat([]backupFile{{backupMark, []byte(backupContent)}}, files)) {
				writeTar(t, w, &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data))}, f.data)
			}
		})
	}
	add := func(f ...backupFile) []byte {
		return with(func(files []backupFile) []backupFile { return append(files, f...) })
	}
	alone := func(h *tar.Header) []byte {
		return sealedArchive(t, func(w *tar.Writer) {
			writeTar(t, w, &tar.Header{Typeflag: tar.TypeReg, Name: backupMark, Size: 2}, []byte(backupContent))
			writeTar(t, w, h, nil)
		})
	}
	id := robot.ID().String()
	tests := map[string]struct {
		data       []byte
		passphrase string
		want       envelope.ErrorKind
	}{
		"wrong passphrase": {data, "x", envelope.Denied},
		"no passphrase":    {data, "", envelope.Denied},
		"nothing":          {nil, "backup", envelope.Corrupt},
		"no age file":      {[]byte("hello"), "backup", envelope.Corrupt},
		"cut off":          {data[:len(data)-100], "backup", envelope.Corrupt},
		"one byte less":    {data[:len(data)-1], "backup", envelope.Corrupt},
		"one byte more":    {append(bytes.Clone(data), 0), "backup", envelope.Corrupt},
		"no mark":          {with(func(f []backupFile) []backupFile { return f[1:] }), "backup", envelope.Corrupt},
		"empty archive":    {with(func(f []backupFile) []backupFile { return nil }), "backup", envelope.Corrupt},
		"other format":     {with(func(f []backupFile) []backupFile { return []backupFile{{backupMark, []byte("2\n")}} }), "backup", envelope.Corrupt},
		"twice":            {add(files[0]), "backup", envelope.Corrupt},
		"way out":          {add(backupFile{"../evil", nil}), "backup", envelope.Corrupt},
		"way out below":    {add(backupFile{"agents/" + id + "/../../../evil", nil}), "backup", envelope.Corrupt},
		"absolute":         {add(backupFile{"/evil", nil}), "backup", envelope.Corrupt},
		"another file":     {add(backupFile{"lock", nil}), "backup", envelope.Corrupt},
		"temporary file":   {add(backupFile{"tmp/x", nil}), "backup", envelope.Corrupt},
		"folder":           {alone(&tar.Header{Typeflag: tar.TypeDir, Name: "agents"}), "backup", envelope.Corrupt},
		"link":             {alone(&tar.Header{Typeflag: tar.TypeSymlink, Name: "agents/" + id + "/1", Linkname: "/etc/passwd"}), "backup", envelope.Corrupt},
		"other number":     {add(backupFile{"documents/" + id + "/2", robot.Document.Signed().Encode()}), "backup", envelope.Corrupt},
		"other agent":      {add(backupFile{"documents/" + envelope.AgentID{1}.String() + "/1", robot.Document.Signed().Encode()}), "backup", envelope.Corrupt},
		"bad names":        {add(backupFile{"names.cbor", []byte("x")}), "backup", envelope.Corrupt},
		"bad seen":         {add(backupFile{"seen/" + envelope.AgentID{1}.String(), []byte("x")}), "backup", envelope.Corrupt},
		"large secrets":    {add(backupFile{"agents/" + envelope.AgentID{1}.String() + "/1", make([]byte, maxSecretsSize+1)}), "backup", envelope.Corrupt},
		"stranger's keys":  {add(backupFile{"agents/" + envelope.AgentID{1}.String() + "/1", []byte("age-encryption.org/")}), "backup", envelope.Corrupt},
		"others' keys": {with(func(files []backupFile) []backupFile {
			var out []backupFile
			for _, f := range files {
				if strings.HasPrefix(f.name, "agents/"+id) {
					other, err := newSecrets(true)
					if err != nil {
						t.Fatal(err)
					}
					if f.data, err = other.encode(); err != nil {
						t.Fatal(err)
					}
				}
				out = append(out, f)
			}
			return out
		}), "backup", envelope.Corrupt},
		"gap": {with(func(files []backupFile) []backupFile {
			adam, err := from.FindAgent("adam@a-tech")
			if err != nil {
				t.Fatal(err)
			}
			return slices.DeleteFunc(files, func(f backupFile) bool { return f.name == "documents/"+adam.ID().String()+"/1" })
		}), "backup", envelope.NotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := testStore(t)
			_, err := to.Restore(t.Context(), bytes.NewReader(tt.data), []byte(tt.passphrase), false)
			wantKind(t, err, tt.want)
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			sameTree(t, tree(t, to), map[string]string{})
			entries, err := os.ReadDir(filepath.Dir(to.Dir()))
			if err != nil || len(entries) != 1 {
				t.Errorf("beside the keystore: %v, %v", entries, err)
			}
		})
	}
}

// TestRestoreAltered: a forged signature is noticed, whoever sealed the backup.
func TestRestoreAltered(t *testing.T) {
	t.Parallel()
	from := filledStore(t)
	files, err := readBackupFiles(opened(t, backupOf(t, from)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if !strings.HasPrefix(files[i].name, documentsDir) {
			continue
		}
		d, err := envelope.ParseDocument(files[i].data)
		if err != nil {
			t.Fatal(err)
		}
		forged := slices.Clone(files)
		at := bytes.Index(files[i].data, d.Signed().Signatures[0].Bytes)
		forged[i].data = bytes.Clone(files[i].data)
		forged[i].data[at+7] ^= 1
		b, err := parseBackup(forged)
		if err != nil {
			t.Fatal(err)
		}
		_, err = testStore(t).merge(t.Context(), b)
		wantKind(t, err, envelope.Corrupt)
	}
}

func opened(t testing.TB, data []byte) io.Reader {
	t.Helper()
	id, err := age.NewScryptIdentity("backup")
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealedArchive(t testing.TB, f func(*tar.Writer)) []byte {
	t.Helper()
	r, err := age.NewScryptRecipient("backup")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(1)
	var b bytes.Buffer
	sealed, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(sealed)
	f(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sealed.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeTar(t testing.TB, w *tar.Writer, h *tar.Header, data []byte) {
	t.Helper()
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
}

func FuzzBackup(f *testing.F) {
	s := testStore(f)
	create(f, s, AgentOptions{Name: "robot@a-tech", Classic: true})
	remember(f, s, envelope.AgentID{1}, "course", 3)
	if err := s.Pin("eve@e-build", envelope.AgentID{1}); err != nil {
		f.Fatal(err)
	}
	files, err := readBackupFiles(opened(f, backupOf(f, s)))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(file.name, file.data)
	}
	f.Add("documents/../../evil", []byte("x"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		// Beside what is there already, or instead of it.
		file := backupFile{name, data}
		others := slices.DeleteFunc(slices.Clone(files), func(f backupFile) bool { return f.name == name })
		b, err := parseBackup(append(others, file))
		if err != nil {
			wantKind(t, err, envelope.Corrupt)
			return
		}
		for id := range b.secrets {
			if len(b.documents[id]) == 0 {
				t.Errorf("secrets of %s, and no document", id)
			}
		}
		if filepath.IsAbs(name) || !filepath.IsLocal(name) {
			t.Errorf("file %q was taken", name)
		}
	})
}

// TestRemove: an agent's keys go only where the network has them.
func TestRemove(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	for name, o := range map[string]AgentOptions{"no passphrase": {}, "kept local": {Passphrase: []byte("p"), KeepKeysLocal: true}} {
		made := create(t, s, o)
		d, err := s.Newest(t.Context(), made.Agent())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), d); envelope.KindOf(err) != envelope.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	made := create(t, s, AgentOptions{Passphrase: []byte("p")})
	if err := s.SetDefault(made.Agent()); err != nil {
		t.Fatal(err)
	}
	first, err := s.Newest(t.Context(), made.Agent())
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Remove(t.Context(), first.Bare()), envelope.Conflict)
	d, err := s.Passwd(t.Context(), made.Agent(), []byte("p"), []byte("q"))
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Remove(t.Context(), first), envelope.Conflict) // the network has an older one
	if err := s.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, err = s.Agent(made.Agent())
	wantKind(t, err, envelope.NotFound)
	_, err = s.Default()
	wantKind(t, err, envelope.NotFound)
	wantKind(t, s.Remove(t.Context(), d), envelope.NotFound)
	// And back.
	chain, err := s.Chain(t.Context(), made.Agent())
	if err != nil {
		t.Fatal(err)
	}
	chain[len(chain)-1] = d
	if _, err := s.SignIn(t.Context(), chain, []byte("q")); err != nil {
		t.Error(err)
	}
}
