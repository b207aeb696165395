package envelope

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Name is what people call an agent: a local part and the box whose
// namespace it is in, as in adam@a-tech.
type Name struct {
	Local string // adam
	Box   string // a-tech
}

// String returns the name as people write it.
func (n Name) String() string { return n.Local + "@" + n.Box }

// maxNamePart is the most characters that either part of a name has.
const maxNamePart = 63

// maxRefName is the most bytes that the name of an envelope has.
const maxRefName = 255

// ParseName parses a name such as adam@a-tech. Errors are of kind Usage.
func ParseName(s string) (Name, error) {
	local, box, ok := strings.Cut(s, "@")
	if !ok {
		return Name{}, WithHint(Errorf(Usage, "%s is not a name", quoteShort(s)), "a name looks like adam@a-tech")
	}
	if err := CheckLocalName(local); err != nil {
		return Name{}, err
	}
	if err := CheckBoxName(box); err != nil {
		return Name{}, err
	}
	return Name{Local: local, Box: box}, nil
}

// CheckBoxName checks the name of a box: 1 to 63 characters of a-z, 0-9 and
// "-", first and last a letter or digit. Errors are of kind Usage.
func CheckBoxName(s string) error {
	return checkNamePart("box name", s, "-")
}

// CheckLocalName checks the local part of a name: 1 to 63 characters of a-z,
// 0-9, "-", "_" and ".", first and last a letter or digit. Errors are of kind
// Usage.
func CheckLocalName(s string) error {
	return checkNamePart("name", s, "-_.")
}

func checkNamePart(what, s, marks string) error {
	if len(s) == 0 || len(s) > maxNamePart {
		return Errorf(Usage, "a %s has 1 to %d characters, which %s has not", what, maxNamePart, quoteShort(s))
	}
	for i := range len(s) {
		letter := 'a' <= s[i] && s[i] <= 'z' || '0' <= s[i] && s[i] <= '9'
		inside := i > 0 && i < len(s)-1
		if !letter && !(inside && strings.IndexByte(marks, s[i]) >= 0) {
			return Errorf(Usage, "%s %s is not of a-z and 0-9, with any of %q inside only", what, quoteShort(s), marks)
		}
	}
	return nil
}

// CheckRefName checks the name of an envelope by the rule of docs/envelope.md:
// 1 to 255 bytes of UTF-8, graphic characters and plain spaces, parted by
// single slashes, and nothing that a file system or a terminal would take for
// something else. Errors are of kind Usage.
func CheckRefName(s string) error {
	if len(s) == 0 || len(s) > maxRefName {
		return Errorf(Usage, "an envelope's name has 1 to %d bytes, not %d", maxRefName, len(s))
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return Errorf(Usage, "the envelope's name %s is not UTF-8", quoteShort(s))
		}
		if !isPlain(r) {
			return Errorf(Usage, "the envelope's name %s has a character that can't be shown", quoteShort(s))
		}
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return Errorf(Usage, "the envelope's name %s begins or ends with a space", quoteShort(s))
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return Errorf(Usage, "the envelope's name %s has an empty part, %q or %q between slashes", quoteShort(s), ".", "..")
		}
	}
	return nil
}

// isPlain reports whether a terminal shows r and does nothing else with it.
func isPlain(r rune) bool {
	return r == ' ' || unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S)
}

// maxSafeText is the most bytes of its argument that SafeText shows.
const maxSafeText = 4 << 10

// SafeText returns a printable form of text from a peer or a file, so that it
// cannot drive a terminal or reorder a line: control, format, bidirectional
// and unassigned characters, line breaks and malformed UTF-8 are escaped as in
// Go, and what goes beyond 4 KiB is left out.
func SafeText(s string) string {
	cut := ""
	if len(s) > maxSafeText {
		cut = fmt.Sprintf("… (%d bytes)", len(s))
		end := maxSafeText
		for end > maxSafeText-utf8.UTFMax && !utf8.RuneStart(s[end]) { // not in the middle of a character
			end--
		}
		s = s[:end]
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case isPlain(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String() + cut
}
