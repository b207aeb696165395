// Package docs holds the documents to what they say: the import table of
// architecture.md, the size of files, and the links between pages.
package docs

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root         = ".."
	maxFileLines = 500
)

// A goFile is one parsed Go file of the project.
type goFile struct {
	path string // from the project's root, with slashes
	ast  *ast.File
	test bool
}

func (f goFile) pkg() string { return path.Dir(f.path) }

func goFiles(t *testing.T, mode parser.Mode) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), p, nil, mode)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		files = append(files, goFile{filepath.ToSlash(rel), parsed, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d Go files", len(files))
	}
	return files
}

// importTable reads the table of architecture.md.
func importTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string][]string)
	for _, line := range strings.Split(string(text), "\n") {
		from, to, ok := strings.Cut(line, "->")
		if ok && strings.HasPrefix(line, "    ") {
			table[strings.TrimSpace(from)] = strings.Fields(to)
		}
	}
	return table
}

func imports(f goFile) []string {
	var list []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		list = append(list, p)
	}
	return list
}

func TestImports(t *testing.T) {
	t.Parallel()
	table := importTable(t)
	seen := make(map[string]bool)
	for _, f := range goFiles(t, parser.ImportsOnly) {
		if f.test {
			continue
		}
		allowed, ok := table[f.pkg()]
		if !ok {
			t.Errorf("%s: package %s is not in the table of architecture.md", f.path, f.pkg())
			continue
		}
		seen[f.pkg()] = true
		for _, p := range imports(f) {
			if ours, ok := strings.CutPrefix(p, "l2p/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which architecture.md doesn't allow", f.path, ours)
			}
		}
	}
	for pkg := range table {
		if !seen[pkg] {
			t.Errorf("architecture.md lists package %s, which has no Go file", pkg)
		}
	}
}

// reaches returns everything that pkg imports, directly or not, by the files
// as they are.
func reaches(files []goFile, pkg string) map[string]bool {
	all := make(map[string]bool)
	var visit func(string)
	visit = func(pkg string) {
		for _, f := range files {
			if f.test || f.pkg() != pkg {
				continue
			}
			for _, p := range imports(f) {
				if ours, ok := strings.CutPrefix(p, "l2p/"); ok {
					p = ours
				}
				if !all[p] {
					all[p] = true
					visit(p)
				}
			}
		}
	}
	visit(pkg)
	return all
}

func TestANodeCannotOpenWhatItKeeps(t *testing.T) {
	t.Parallel()
	files := goFiles(t, parser.ImportsOnly)
	for _, pkg := range []string{"agentd/store", "agentd/replica", "agentd", "cmd/agentd", "netq"} {
		if reaches(files, pkg)["keystore"] {
			t.Errorf("%s reaches keystore", pkg)
		}
	}
	if !reaches(files, "cmd/l2p")["keystore"] {
		t.Error("cmd/l2p doesn't reach keystore: this test sees nothing")
	}
}

func TestTheCommandLineStaysLight(t *testing.T) {
	t.Parallel()
	files := goFiles(t, parser.ImportsOnly)
	heavy := []string{"github.com/dgraph-io/badger/v4", "github.com/hashicorp/memberlist"}
	node := reaches(files, "cmd/agentd")
	cli := reaches(files, "cmd/l2p")
	for _, p := range heavy {
		if cli[p] {
			t.Errorf("cmd/l2p reaches %s", p)
		}
		if !node[p] {
			t.Errorf("cmd/agentd doesn't reach %s: this test sees nothing", p)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t, parser.ImportsOnly) {
		file, err := os.Open(filepath.Join(root, f.path))
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for s := bufio.NewScanner(file); s.Scan(); lines++ {
		}
		file.Close()
		if lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", f.path, lines, maxFileLines)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	comments := make(map[string]string)
	for _, f := range goFiles(t, parser.ParseComments|parser.PackageClauseOnly) {
		if !f.test {
			comments[f.pkg()] += f.ast.Doc.Text()
		}
	}
	for pkg, text := range comments {
		if len(strings.Fields(text)) < 20 {
			t.Errorf("package %s doesn't say what it is for", pkg)
		}
		if !strings.Contains(strings.Join(strings.Fields(text), " "), "must not know") {
			t.Errorf("package %s doesn't say what it must not know", pkg)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	below, err := filepath.Glob(filepath.Join("*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range slices.Concat(pages, below, top) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("found no link at all")
	}
}

// TestAttacksHaveTests: the tests that security.md names are there.
func TestAttacksHaveTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, f := range goFiles(t, parser.SkipObjectResolution) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				there[fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)(/[a-z-]+`)?").FindAllStringSubmatch(string(text), -1)
	if len(named) < 20 {
		t.Fatalf("found only %d tests", len(named))
	}
	for _, n := range named {
		if !there[n[1]] {
			t.Errorf("security.md names %s, which isn't there", n[1])
		}
		if script := strings.Trim(n[2], "/`"); n[1] == "TestNet" && script != "x" {
			if _, err := os.Stat(filepath.Join(root, "cmd/l2p/testdata/net", script+".txtar")); err != nil {
				t.Error(err)
			}
		}
	}
}
