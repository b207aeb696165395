package main

import (
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManPage holds docs/man to what the program says of itself.
func TestManPage(t *testing.T) {
	t.Parallel()
	kept, err := os.ReadFile("../../docs/man/l2p.1")
	if err != nil {
		t.Fatal(err)
	}
	if now := must(t, t.TempDir(), "", "man"); now != string(kept) {
		t.Error("docs/man/l2p.1 is out of date: run make man")
	}
}

// TestManPageIsWhole: no text of a command makes a heading or a request of its
// own, each paragraph is one line to fill, and values have names.
func TestManPageIsWhole(t *testing.T) {
	t.Parallel()
	page := manPage(newApp(newSession(strings.NewReader(""), io.Discard, io.Discard)))
	var sections []string
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, ".SH "); ok {
			sections = append(sections, title)
		}
		if request, _, _ := strings.Cut(line, " "); strings.HasPrefix(line, ".") && !slices.Contains([]string{".TH", ".SH", ".SS", ".PP", ".TP"}, request) {
			t.Errorf("a request %q", line)
		}
	}
	want := []string{"NAME", "SYNOPSIS", "GLOBAL FLAGS", "COMMANDS", "EXIT STATUS", `WHAT IS PRINTED WITH \-\-json`, "ENVIRONMENT", "FILES"}
	if !slices.Equal(sections, want) {
		t.Errorf("sections %q, want %q", sections, want)
	}
	for _, want := range []string{
		"\\fB\\-\\-to\\fP, \\fB\\-t\\fP \\fIREADER\\fP\n",
		"get version N (default: the newest)\n",
		"Letters stand for segments in order: # kept, o kept though it needn\\(aqt be",
		"are called adam@a\\-tech. The network\\(aqs root key stays",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if found := regexp.MustCompile(`\\fIVALUE\\fP|default: 0\)|="`).FindString(page); found != "" {
		t.Errorf("there is %q", found)
	}
}

func TestRoffText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"see `l2p ls`":   `see \fBl2p ls\fP`,
		"'a' .b":         `\(aqa\(aq .b`,
		".SH no heading": `\&.SH no heading`,
		`a\b-c~^`:        `a\eb\-c\(ti\(ha`,
	} {
		if got := roffText(text); got != want {
			t.Errorf("roffText(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestJSONIsDocumented: the manual page says of each field that --json prints
// what it is, and of none that isn't there.
func TestJSONIsDocumented(t *testing.T) {
	t.Parallel()
	types := map[string]reflect.Type{
		"inspect": reflect.TypeFor[envelopeFacts](), "ls": reflect.TypeFor[lsRow](), "history": reflect.TypeFor[historyRow](),
		"get": reflect.TypeFor[getResult](), "ring": reflect.TypeFor[ringResult](), "status": reflect.TypeFor[statusResult](),
		"agent show": reflect.TypeFor[shownAgent](), "group show": reflect.TypeFor[groupFacts](),
	}
	for _, r := range jsonResults {
		var said []string
		for _, f := range r.fields {
			said = append(said, f.name)
			if f.text == "" {
				t.Errorf("%s: nothing is said of %s", r.command, f.name)
			}
		}
		seen := map[reflect.Type]bool{reflect.TypeFor[agentRef](): true, reflect.TypeFor[readerFacts](): true} // told of where they are
		if have := jsonFields(types[r.command], "", seen); !slices.Equal(have, said) {
			t.Errorf("%s prints %q, and the manual page tells of %q", r.command, have, said)
		}
		delete(types, r.command)
	}
	if len(types) > 0 {
		t.Errorf("the manual page tells nothing of %v", types)
	}
}

// jsonFields returns the names of the fields that a type has in JSON, those of
// the types in it, too, where they come first.
func jsonFields(typ reflect.Type, prefix string, seen map[reflect.Type]bool) []string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || prefix != "" && seen[typ] {
		return nil
	}
	seen[typ] = true
	var names []string
	for field := range typ.Fields() {
		tag, tagged := field.Tag.Lookup("json")
		switch name, _, _ := strings.Cut(tag, ","); {
		case tagged:
			names = append(names, prefix+name)
			names = append(names, jsonFields(field.Type, prefix+name+".", seen)...)
		case field.Anonymous:
			embedded := field.Type
			delete(seen, embedded)
			names = append(names, jsonFields(embedded, prefix, seen)...)
		}
	}
	return names
}
