package keystore

import (
	"strings"
	"testing"
	"unicode/utf8"

	"l2p/envelope"
)

func TestCheckPassphrase(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"":                              false,
		"p":                             false,
		"hunter2":                       false,
		"password":                      false,
		"Password1234!":                 false,
		"P@ssw0rd!2024":                 false,
		"iloveyouforever":               false,
		"correct horse":                 false,
		"Tr0ub4dor&3":                   false,
		"19840312":                      false,
		"Adam1984!":                     false,
		"Sommer2026!!":                  false,
		"adam@a-tech":                   false,
		"qwertyuiopasdfghjklzxcvbnm":    false,
		"mnbvcxzlkjhgfdsapoiuytrewq":    false,
		"abcdefghijklmnopqrstuvwxyz":    false,
		"1qaz2wsx3edc4rfv":              false,
		"1234567890 0987654321":         false,
		"password password password":    false,
		"secret1secret2secret3secret4":  false,
		strings.Repeat("a", 1000):       false,
		strings.Repeat("ab", 500):       false,
		strings.Repeat("Kennwort!", 99): false,

		"correct horse battery":          true,
		"correct horse battery staple":   true,
		"correcthorsebatterystapler":     true,
		"zebra-canyon-lunar":             true,
		"Wir fahren morgen nach Aachen":  true,
		"k7m2q-9vxtr-04hzp-xw3cj-8ndsa":  true,
		"u=5\\fZDov4XwY3d":               true,
		"日本語と英語の辞書 が 好きです か":             true,
		"äöü grüße aus köln":             true,
		"AGE SECRET words & 4711 things": true,
	}
	for passphrase, want := range tests {
		err := CheckPassphrase([]byte(passphrase))
		if got := err == nil; got != want {
			t.Errorf("%.60q: %.1f bits", passphrase, PassphraseBits(passphrase))
		}
		if err != nil && envelope.KindOf(err) != envelope.Usage {
			t.Errorf("%.60q: %v", passphrase, err)
		}
	}
}

// TestNewPassphrase: what is offered is never refused, and never the same.
func TestNewPassphrase(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 200 {
		p, err := NewPassphrase()
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPassphrase([]byte(p)); err != nil {
			t.Errorf("%q: %v", p, err)
		}
		if seen[p] || strings.Count(p, "-") < offeredWords-1 {
			t.Errorf("%q", p)
		}
		seen[p] = true
	}
}

// FuzzPassphraseBits: any text has a finite cost, and more of it doesn't cost less
// than nothing.
func FuzzPassphraseBits(f *testing.F) {
	for _, s := range []string{"", "correct horse", "Tr0ub4dor&3", "\xff\xfe", "İstanbul ẞ", strings.Repeat("1qaz", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bits := PassphraseBits(s)
		if most := float64(utf8.RuneCountInString(s)) * (letterBits + signBits); !(bits >= 0 && bits <= most) {
			t.Errorf("%q: %v bits, of at most %v", s, bits, most)
		}
	})
}
