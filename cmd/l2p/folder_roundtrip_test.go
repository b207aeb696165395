package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"l2p/envelope"
)

// A tree is what counts of a folder: a line for everything in it.
type tree map[string]string

// treeOf reads a folder without the code under test.
func treeOf(t *testing.T, dir string) tree {
	t.Helper()
	tr := make(tree)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		line := fmt.Sprint(info.Mode())
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprint(info.ModTime().UTC(), envelope.HashOf("content\n", content))
		case info.IsDir():
			line += fmt.Sprint(info.ModTime().UTC())
		default:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += target
		}
		tr[name] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr tree) want(t *testing.T, got tree) {
	t.Helper()
	for name, line := range tr {
		if got[name] != line {
			t.Errorf("%q is %q, want %q", name, got[name], line)
		}
	}
	for name := range got {
		if tr[name] == "" {
			t.Errorf("%q was not there before", name)
		}
	}
}

// oddNames are names that a file may have, though few do.
var oddNames = []string{"a", "-rf", "...", ".hidden", " leading", "trailing ", "a b", "Übung", "e\u0301", "é", "焊接", "\U0001f469\u200d\U0001f527", "CON", "a.",
	"a*?[b]", `back\slash`, `"quoted"`, "$HOME", "~", "%2e%2e", "#", strings.Repeat("n", 255), strings.Repeat("ü", 127)}

// A grower makes random folders.
type grower struct {
	*rand.Rand
	t     *testing.T
	mask  fs.FileMode // the permissions that the umask leaves
	later []func()    // gives folders their modes and times, the inner ones last
}

func (g *grower) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *grower) mode(least fs.FileMode) fs.FileMode {
	return (fs.FileMode(g.IntN(0o1000)) | least) & g.mask
}

func (g *grower) time() time.Time { return time.Unix(g.Int64N(1<<32), g.Int64N(1e9)) }

func (g *grower) grow(dir string, depth int) {
	mode, when := g.mode(0o500), g.time()
	g.later = append(g.later, func() {
		g.must(os.Chtimes(dir, when, when))
		g.must(os.Chmod(dir, mode))
	})
	for _, i := range g.Perm(len(oddNames))[:g.IntN(6)] {
		path := filepath.Join(dir, oddNames[i])
		switch kind := g.IntN(8); {
		case kind < 2 && depth < 4 && len(path) < 700:
			g.must(os.Mkdir(path, 0o700))
			g.grow(path, depth+1)
		case kind == 2:
			targets := []string{"a", ".", "gone/away", strings.Repeat("../", depth) + "a b", strings.Repeat("../", depth) + "."}
			target, err := cleanLink(strings.Repeat("d/", depth)+"l", targets[g.IntN(len(targets))])
			g.must(err)
			g.must(os.Symlink(target, path))
		default:
			content := make([]byte, []int{0, 1, 511, 512, 513, 100_000}[g.IntN(6)])
			for i := range content {
				content[i] = byte(g.Uint32())
			}
			g.must(os.WriteFile(path, content, 0o600))
			when := g.time()
			g.must(os.Chtimes(path, when, when))
			g.must(os.Chmod(path, g.mode(0o400)))
		}
	}
}

// TestFoldersComeBack: whatever is in a folder comes back, and equal folders
// make equal archives.
func TestFoldersComeBack(t *testing.T) {
	t.Parallel()
	probe := filepath.Join(t.TempDir(), "probe")
	if err := os.Mkdir(probe, 0o777); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(probe)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			g := &grower{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, mask: info.Mode().Perm()}
			top := t.TempDir()
			t.Cleanup(func() { removeTree(top) })
			dir, dest := filepath.Join(top, "folder"), filepath.Join(top, "copy")
			g.must(os.Mkdir(dir, 0o700))
			g.must(os.Mkdir(dest, 0o777))
			g.grow(dir, 0)
			for i := len(g.later) - 1; i >= 0; i-- {
				g.later[i]()
			}
			before, first := treeOf(t, dir), archive(t, dir)
			g.must(unpackInto(t.Context(), bytes.NewReader(first), dest, dest))
			before.want(t, treeOf(t, dest))
			if !bytes.Equal(archive(t, dest), first) {
				t.Error("the copy makes another archive")
			}
		})
	}
}

// TestSpecialFiles: copies of hard links, files with holes, bits that nobody
// should get from somebody else.
func TestSpecialFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "one"), []byte("linked"), 0o644))
	must(os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "two")))
	holes, err := os.Create(filepath.Join(dir, "holes"))
	must(err)
	_, err = holes.WriteAt([]byte("end"), 5<<20)
	must(err)
	must(holes.Close())
	must(os.WriteFile(filepath.Join(dir, "setuid"), []byte("#!"), 0o700))
	must(os.Chmod(filepath.Join(dir, "setuid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	must(os.Mkdir(filepath.Join(dir, "sticky"), 0o700))
	must(os.Chmod(filepath.Join(dir, "sticky"), 0o755|fs.ModeSticky|fs.ModeSetgid))
	dest := filepath.Join(t.TempDir(), "copy")
	must(unpackFolder(t.Context(), quietSession(), bytes.NewReader(archive(t, dir)), dest, false))
	for name, want := range map[string]string{"one": "linked", "two": "linked", "holes": string(make([]byte, 5<<20)) + "end"} {
		if got, err := os.ReadFile(filepath.Join(dest, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	must(os.WriteFile(filepath.Join(dest, "one"), []byte("changed"), 0o644))
	if got, _ := os.ReadFile(filepath.Join(dest, "two")); string(got) != "linked" {
		t.Error("the copies are linked")
	}
	for _, name := range []string{"setuid", "sticky"} {
		info, err := os.Stat(filepath.Join(dest, name))
		must(err)
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 || info.Mode().Perm()&0o700 != 0o700 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	// Nor does it get them from an archive that has them.
	evil := reg("evil", "#!")
	evil.Mode = 0o6755
	must(unpackFolder(t.Context(), quietSession(), bytes.NewReader(makeArchive(t, evil)), dest, true))
	if info, err := os.Stat(filepath.Join(dest, "evil")); err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		t.Errorf("evil: %v, %v", info.Mode(), err)
	}
}

// TestUnreadableFiles: all of them are named before anything is sent.
func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	for i := range 7 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := checkFolder(t.Context(), dir)
	if envelope.KindOf(err) != envelope.Denied || !strings.Contains(err.Error(), `"f0", "f1", "f2", "f3", "f4", 2 more`) {
		t.Errorf("got %v", err)
	}
}
