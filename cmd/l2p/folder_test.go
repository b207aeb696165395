package main

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"l2p/envelope"
)

// makeFolder makes a folder of all that an archive can hold.
func makeFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "course")
	when := time.Date(2026, 3, 1, 8, 30, 0, 123456789, time.UTC)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "lessons", "Übung 1"), 0o755))
	must(os.MkdirAll(filepath.Join(dir, "empty"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "README"), []byte("Go, in detail\n"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "nothing"), nil, 0o600))
	must(os.WriteFile(filepath.Join(dir, "lessons", "Übung 1", strings.Repeat("n", 200)), bytes.Repeat([]byte("xyz"), 100_000), 0o444))
	must(os.Symlink("../README", filepath.Join(dir, "lessons", "start")))
	must(os.Symlink("lessons/./start", filepath.Join(dir, "a link")))
	for _, name := range []string{"README", "run.sh", "nothing", "lessons/Übung 1/" + strings.Repeat("n", 200), "lessons/Übung 1", "lessons", "empty"} {
		must(os.Chtimes(filepath.Join(dir, name), when, when))
		when = when.Add(time.Minute)
	}
	must(os.Chmod(filepath.Join(dir, "lessons", "Übung 1"), 0o555))
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "lessons", "Übung 1"), 0o755) })
	return dir
}

func archive(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := archiveFolder(t.Context(), &b, dir); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFolderThereAndBack(t *testing.T) {
	t.Parallel()
	dir := makeFolder(t)
	first := archive(t, dir)
	dest := filepath.Join(t.TempDir(), "copy")
	if err := unpackFolder(t.Context(), quietSession(), bytes.NewReader(first), dest, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dest) })
	// The archive has everything that counts, so equal archives are equal folders.
	if !bytes.Equal(archive(t, dest), first) {
		t.Error("the folder that came out is not the one that went in")
	}
	content, err := os.ReadFile(filepath.Join(dest, "a link"))
	if err != nil || string(content) != "Go, in detail\n" {
		t.Errorf("through two links: %q, %v", content, err)
	}
	size, err := checkFolder(t.Context(), dir)
	if want := int64(14 + 10 + 300_000); err != nil || size != want {
		t.Errorf("checkFolder: %d, %v; want %d", size, err, want)
	}
	if left := leftovers(t, filepath.Dir(dest)); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, ".l2p-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestUnpackEmptyFolder(t *testing.T) {
	t.Parallel()
	dest := filepath.Join(t.TempDir(), "empty")
	if err := unpackFolder(t.Context(), quietSession(), bytes.NewReader(archive(t, t.TempDir())), dest, false); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dest); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestArchiveRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(dir string) error
		want string
	}{
		"socket": {func(dir string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}, `"s" is a socket`},
		"link out":        {func(dir string) error { return os.Symlink("../x", filepath.Join(dir, "l")) }, "leads out"},
		"link to root":    {func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) }, "not relative"},
		"link down, up":   {func(dir string) error { return os.Symlink("a/../b", filepath.Join(dir, "l")) }, "leads out"},
		"control in name": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\x1b[2J"), nil, 0o600) }, "control characters"},
		"name not UTF-8":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, "\xff"), nil, 0o600) }, "not UTF-8"},
		"named pipe":      {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600) }, `"p" is a named pipe`},
		"name of a line":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) }, "control characters"},
		"direction":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\u202eb"), nil, 0o600) }, "control characters"},
		"path too long": {func(dir string) error {
			deep := filepath.Join(dir, strings.Repeat(strings.Repeat("n", 200)+"/", 6))
			return os.MkdirAll(deep, 0o700)
		}, "more than 1024"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "l2p") // t.TempDir is too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			err = archiveFolder(t.Context(), io.Discard, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("archiveFolder: %v; want %s", err, test.want)
			}
			if _, err := checkFolder(t.Context(), dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("checkFolder: %v; want %s", err, test.want)
			}
		})
	}
}

// An entry of a handmade archive.
type entry struct {
	tar.Header
	content string
}

func makeArchive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if e.Mode == 0 && e.Typeflag != tar.TypeXGlobalHeader {
			e.Mode = 0o755
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reg(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name}, content}
}
func folder(name string) entry { return entry{tar.Header{Typeflag: tar.TypeDir, Name: name}, ""} }
func link(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}, ""}
}

// hostileArchives are archives with one thing wrong each.
func hostileArchives(t testing.TB) map[string][]byte {
	good := makeArchive(t, folder("d/"), reg("d/f", "content"))
	deep := strings.Repeat("d/", maxFolderDepth)
	return map[string][]byte{
		"up":                    makeArchive(t, reg("../escaped", "x")),
		"up in the middle":      makeArchive(t, folder("d/"), reg("d/../../escaped", "x")),
		"absolute":              makeArchive(t, reg("/tmp/l2p-escaped", "x")),
		"folder up":             makeArchive(t, folder("../escaped/")),
		"itself later":          makeArchive(t, reg("f", "x"), folder("./")),
		"itself twice":          makeArchive(t, folder("./"), folder("./")),
		"itself as a file":      makeArchive(t, reg(".", "x")),
		"itself as a link":      makeArchive(t, link(".", "x")),
		"empty name":            makeArchive(t, reg("", "x")),
		"dot":                   makeArchive(t, reg("./f", "x")),
		"double slash":          makeArchive(t, folder("d/"), reg("d//f", "x")),
		"not UTF-8":             makeArchive(t, reg("\xff", "x")),
		"control characters":    makeArchive(t, reg("a\x1b]0;b", "x")),
		"newline":               makeArchive(t, reg("a\nb", "x")),
		"right to left":         makeArchive(t, reg("a\u202egpj.exe", "x")),
		"long component":        makeArchive(t, reg(strings.Repeat("n", 256), "x")),
		"long path":             makeArchive(t, reg(strings.Repeat("n/", 1000)+"f", "x")),
		"deep":                  makeArchive(t, reg(deep+"f", "x")),
		"no folder for it":      makeArchive(t, reg("d/f", "x")),
		"file as folder":        makeArchive(t, reg("d", "x"), reg("d/f", "x")),
		"twice":                 makeArchive(t, reg("f", "x"), reg("f", "y")),
		"folder twice":          makeArchive(t, folder("d/"), folder("d/")),
		"link absolute":         makeArchive(t, link("l", "/etc/passwd")),
		"link up":               makeArchive(t, link("l", "../escaped")),
		"link down then up":     makeArchive(t, folder("d/"), link("l", "d/../../escaped")),
		"link empty":            makeArchive(t, link("l", "")),
		"link control":          makeArchive(t, link("l", "a\x1bb")),
		"through a link":        makeArchive(t, folder("d/"), link("l", "d"), reg("l/f", "x")),
		"link over a file":      makeArchive(t, reg("f", "x"), link("f", "g")),
		"hard link":             makeArchive(t, reg("f", "x"), entry{tar.Header{Typeflag: tar.TypeLink, Name: "g", Linkname: "f"}, ""}),
		"device":                makeArchive(t, entry{tar.Header{Typeflag: tar.TypeChar, Name: "d"}, ""}),
		"named pipe":            makeArchive(t, entry{tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, ""}),
		"extension":             makeArchive(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, "x"}),
		"global header":         makeArchive(t, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}, ""}),
		"sparse":                sparseArchive(t),
		"cut in content":        good[:1024+3],
		"cut in a header":       good[:512+100],
		"altered header":        append([]byte("D"), good[1:]...),
		"more behind":           append(bytes.Clone(good), 1),
		"zeros behind":          append(bytes.Clone(good), make([]byte, 512)...),
		"another archive after": append(bytes.Clone(good), good...),
	}
}

// sparseArchive is a PAX 1.0 sparse file of one terabyte in 2 kilobytes.
func sparseArchive(t testing.TB) []byte {
	t.Helper()
	content := make([]byte, 512)
	copy(content, "1\n1099511627776\n0\n")
	b := makeArchive(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{
		"X.NU.sparse.major": "1", "X.NU.sparse.minor": "0", "X.NU.sparse.realsize": "1099511627776", "X.NU.sparse.name": "f",
	}}, string(content)})
	// The writer refuses to write the real keys.
	return bytes.ReplaceAll(b, []byte("X.NU.sparse"), []byte("GNU.sparse"))
}

func TestUnpackRefusesHostileArchives(t *testing.T) {
	t.Parallel()
	for name, data := range hostileArchives(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			above := filepath.Join(parent, "above")
			if err := os.Mkdir(above, 0o700); err != nil {
				t.Fatal(err)
			}
			err := unpackFolder(t.Context(), quietSession(), bytes.NewReader(data), filepath.Join(above, "dest"), false)
			if kind := envelope.KindOf(err); err == nil || kind != envelope.Corrupt {
				t.Errorf("error %v of kind %d, want kind Corrupt", err, kind)
			}
			for _, dir := range []string{parent, above} {
				entries, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Name() != "above" {
						t.Errorf("%s is there after the refusal", e.Name())
					}
				}
			}
		})
	}
}

// An error at the very end of the stream (an altered last segment) must leave
// nothing, though the archive itself ended well before.
func TestUnpackStreamFailsAfterTheArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	altered := envelope.Errorf(envelope.Corrupt, "segment 7 was altered")
	r := io.MultiReader(bytes.NewReader(makeArchive(t, reg("f", "x"))), errReader{altered})
	if err := unpackFolder(t.Context(), quietSession(), r, filepath.Join(dir, "dest"), false); err != altered {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("%v is there", entries)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestUnpackOverSomething(t *testing.T) {
	t.Parallel()
	dest := filepath.Join(t.TempDir(), "dest")
	unpack := func(replace bool, entries ...entry) error {
		return unpackFolder(t.Context(), quietSession(), bytes.NewReader(makeArchive(t, entries...)), dest, replace)
	}
	if err := unpack(false, reg("old", "x")); err != nil {
		t.Fatal(err)
	}
	if err := unpack(false, reg("new", "x")); envelope.KindOf(err) != envelope.Conflict {
		t.Errorf("over a folder: %v", err)
	}
	if err := unpack(true, reg("../f", "x")); err == nil {
		t.Error("a hostile archive was accepted")
	}
	if _, err := os.Stat(filepath.Join(dest, "old")); err != nil {
		t.Errorf("the old folder is lost: %v", err)
	}
	if err := unpack(true, reg("new", "x")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dest)
	if err != nil || len(entries) != 1 || entries[0].Name() != "new" {
		t.Errorf("%v, %v", entries, err)
	}
	if left := leftovers(t, filepath.Dir(dest)); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, bad := range []string{".", "..", "/", ""} {
		if err := unpackFolder(t.Context(), quietSession(), bytes.NewReader(nil), bad, true); envelope.KindOf(err) != envelope.Usage {
			t.Errorf("into %q: %v", bad, err)
		}
	}
}

func TestCleanLink(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, target, want string }{
		{"l", "f", "f"},
		{"l", "./d//f", "d/f"},
		{"l", "d/", "d"},
		{"l", ".", "."},
		{"l", ".hidden", ".hidden"},
		{"l", "..f", "..f"},
		{"d/l", "..", ".."},
		{"d/l", "../.hidden", "../.hidden"},
		{"d/e/l", "./../../f", "../../f"},
		{"l", "..", ""},
		{"d/l", "../..", ""},
		{"d/l", "e/..", ""},
		{"d/l", `..\..`, ""},
		{"l", "a\x00b", ""},
		{"l", strings.Repeat("x", maxFolderPath+1), ""},
	}
	for _, test := range tests {
		got, err := cleanLink(test.name, test.target)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("cleanLink(%q, %q) = %q, %v; want %q", test.name, test.target, got, err, test.want)
		}
	}
}

// FuzzUnpack: whatever the archive, nothing outside is touched, and what was
// accepted can be archived again.
func FuzzUnpack(f *testing.F) {
	for _, data := range hostileArchives(f) {
		f.Add(data)
	}
	f.Add(makeArchive(f, folder("d/"), reg("d/f", "content"), link("d/l", "../d/f")))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Without unpackFolder's frame, which syncs the disk each time.
		parent := t.TempDir()
		dest := filepath.Join(parent, "dest")
		if err := os.Mkdir(dest, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeTree(dest) })
		err := unpackInto(context.Background(), bytes.NewReader(data), dest, dest)
		if entries, _ := os.ReadDir(parent); len(entries) != 1 || entries[0].Name() != "dest" {
			t.Fatalf("%v is there", entries)
		}
		if err != nil {
			return
		}
		filepath.WalkDir(dest, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				os.Chmod(name, 0o700)
			} else if err == nil && e.Type().IsRegular() {
				os.Chmod(name, 0o600)
			}
			return nil
		})
		if err := archiveFolder(context.Background(), io.Discard, dest); err != nil {
			t.Fatalf("what was unpacked can't be archived: %v", err)
		}
	})
}

func quietSession() *session { return newSession(strings.NewReader(""), io.Discard, io.Discard) }
