package envelope

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for _, s := range []string{"adam@a-tech", "a@b", "0@9", "a.b_c-d@a-b", long + "@" + long} {
		n, err := ParseName(s)
		if err != nil || n.String() != s {
			t.Errorf("%q is parsed as %q, %v", s, n, err)
		}
	}
	for _, s := range []string{
		"", "@", "adam", "adam@", "@a-tech", "adam@a-tech@b", "Adam@a-tech", "adam@A-tech", "adam@a.tech", "adam@a_tech",
		".adam@a-tech", "adam.@a-tech", "-a@a-tech", "a-@a-tech", "_a@a-tech", "adam@-a", "adam@a-", "ad am@a-tech", "adam@a-tech ",
		"ädam@a-tech", "adam\x00@a-tech", "adam@a-tech\n", "adam@\x1b[2J", long + "a@a", "a@" + long + "a", strings.Repeat("x", 10<<20) + "@a",
	} {
		_, err := ParseName(s)
		if KindOf(err) != Usage {
			t.Errorf("%.40q: error %v, want kind Usage", s, err)
		} else if text := err.Error(); len(text) > 1_000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%.40q: the error can't be shown", s)
		}
	}
}

func TestCheckRefName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"course", "courses/go/1. Anfänge", "日本語", "a b", "..a", "a..", "...", "a/.b", "e\u0301", "€ 5 + ½", "🙂", strings.Repeat("a", 255),
		"\uFFFD", // the replacement character itself is a character like others
	} {
		if err := CheckRefName(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", strings.Repeat("a", 256), strings.Repeat("a", 10<<20), " a", "a ", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a/..",
		"a\nb", "a\tb", "a\x00", "\x1b[2J", "a\u007f", "a\u0085", "a\u00a0b", "a\u200bb", "a\u202eb", "a\u2066b", "\ufeffa", "a\u2028b", "a\u3000b",
		"a\xffb", "\xc3", "a\ue000", "a\U000e0001", "\u00ad",
	} {
		if err := CheckRefName(s); KindOf(err) != Usage {
			t.Errorf("%.40q: error %v, want kind Usage", s, err)
		} else if text := err.Error(); len(text) > 1_000 || SafeText(text) != text {
			t.Errorf("%.40q: the error can't be shown: %.100q", s, text)
		}
	}
}

func TestSafeText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                "",
		"plain, ünïcode":  "plain, ünïcode",
		"日本語 🙂":           "日本語 🙂",
		"a\x1b[2Jb":       `a\x1b[2Jb`,
		"a\r\nb\t":        `a\x0d\x0ab\x09`,
		"a\u202eb":        `a\u202eb`,
		"a\u00a0b\u2028":  `a\u00a0b\u2028`,
		"a\xffb\xc3":      `a\xffb\xc3`,
		"\uFFFD":          "\uFFFD",
		"\U000e0001":      `\U000e0001`,
		"\u0085\u009b31m": `\u0085\u009b31m`,
	} {
		if got := SafeText(in); got != want {
			t.Errorf("SafeText(%q) = %q, want %q", in, got, want)
		}
	}
	for _, unit := range []string{"x", "ü", "🙂", "\x80", "\x1b"} {
		got := SafeText(strings.Repeat(unit, 10<<20/len(unit)))
		if len(got) > 4*maxSafeText+100 || !utf8.ValidString(got) || !strings.HasSuffix(got, " bytes)") || len(got) < maxSafeText-utf8.UTFMax {
			t.Errorf("ten million times %q becomes %d bytes, ending %q", unit, len(got), got[max(0, len(got)-30):])
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("adam@a-tech")
	f.Add("a.b@c\x00")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if KindOf(err) != Usage {
				t.Errorf("error %v is not of kind Usage", err)
			}
			return
		}
		if n.String() != s || SafeText(s) != s || CheckLocalName(n.Local) != nil || CheckBoxName(n.Box) != nil {
			t.Errorf("%q is taken for %q", s, n)
		}
	})
}

func FuzzCheckRefName(f *testing.F) {
	f.Add("courses/go/1. Anfänge")
	f.Add("a\u202eb")
	f.Fuzz(func(t *testing.T, s string) {
		safe := SafeText(s)
		if !utf8.ValidString(safe) || strings.ContainsFunc(safe, func(r rune) bool { return !isPlain(r) && r != '…' }) {
			t.Errorf("SafeText(%q) = %q", s, safe)
		}
		if CheckRefName(s) == nil && safe != s {
			t.Errorf("name %q is allowed and can't be shown", s)
		}
	})
}
