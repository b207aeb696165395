package keystore

import (
	"math"
	"strings"
	"unicode"

	"github.com/sethvargo/go-diceware/diceware"

	"l2p/envelope"
)

// PassphraseFloor is log2 of the guesses that a passphrase must withstand where
// it locks keys that leave the machine. A guess costs 0.8 s of a core and
// 256 MiB (scrypt with work factor 18), so 2^40, about 10^12, are some 28,000
// years of one core, or more than a year of 25,000 of them with 6 TiB of memory.
const PassphraseFloor = 40

// offeredWords is the number of words in a passphrase that NewPassphrase makes:
// of 7,776 words each, together 103 bits.
const offeredWords = 8

// NewPassphrase returns a passphrase made of random words.
func NewPassphrase() (string, error) {
	words, err := diceware.Generate(offeredWords)
	if err != nil {
		return "", envelope.Errorf(envelope.Other, "cannot make a passphrase: %w", err)
	}
	return strings.Join(words, "-"), nil
}

// CheckPassphrase returns an error of kind Usage unless a passphrase is good
// enough for keys that leave the machine: those in documents and backups.
func CheckPassphrase(passphrase []byte) error {
	if bits := PassphraseBits(string(passphrase)); bits < PassphraseFloor {
		return envelope.Errorf(envelope.Usage, "about 2^%.0f guesses find this passphrase, and keys that leave this machine need one that withstands 2^%d",
			bits, PassphraseFloor)
	}
	return nil
}

// What the pieces of a passphrase cost a guesser, as log2 of the guesses.
const (
	letterBits = 4.7 // one of 26
	digitBits  = 3.3 // one of 10
	signBits   = 5   // one of 32
	wordBits   = 13  // one of 8,000 words that people think of
	moreBits   = 2   // each further letter of a longer word, or of several without a space
	dateBits   = 15  // a day of the last 90 years
	yearBits   = 8   // up to 4 digits: a year, a door, a code
	walkBits   = 6   // where a walk along the keyboard or the alphabet begins, and where it ends
	changeBits = 1   // something is capital, or written with digits; or is there a second time

	maxScored   = 256 // characters that count
	longestWord = 8   // letters that wordBits pays for
)

// walks are the rows along which fingers walk, in both directions.
var walks = []string{
	"abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm",
	"qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik", "1qay2wsx3edc4rfv5tgb6zhn7ujm8ik", "!@#$%^&*()",
}

// leet undoes the usual ways to write letters with something else.
var leet = strings.NewReplacer("4", "a", "@", "a", "3", "e", "1", "i", "!", "i", "0", "o", "5", "s", "$", "s", "7", "t")

// PassphraseBits estimates log2 of the guesses that find a passphrase, by somebody
// who knows how people make them: of words, dates, walks along the keyboard, and a
// few well-known changes. It knows no list of passwords that have leaked; for it, whatever
// is a single word is no better than one of the 8,000 that people think of
// first. So it errs on the low side for most, and on the high side for
// famous quotations. "Passphrases" in docs/keys.md has the model.
func PassphraseBits(passphrase string) float64 {
	runes := []rune(passphrase)
	if len(runes) > maxScored {
		runes = runes[:maxScored]
	}
	text := string(runes)
	bits := pieceBits(text)
	if undone := leet.Replace(text); undone != text {
		bits = min(bits, pieceBits(undone)+2*changeBits)
	}
	return bits
}

// pieceBits is the sum over the pieces of a text.
func pieceBits(text string) float64 {
	var bits float64
	seen := make(map[string]bool)
	rest := []rune(text)
	lower := []rune(strings.Map(unicode.ToLower, text))
	if len(lower) != len(rest) {
		lower = rest // invalid UTF-8 apart, ToLower keeps the number of runes
	}
	for len(rest) > 0 {
		n, cost := piece(lower)
		if key := string(lower[:n]); seen[key] {
			cost = min(cost, changeBits)
		} else {
			seen[key] = true
		}
		if string(rest[:n]) != string(lower[:n]) {
			cost += changeBits
		}
		bits += cost
		rest, lower = rest[n:], lower[n:]
	}
	return bits
}

// piece returns the length of the first piece of a text in small letters, which isn't
// empty, and its cost.
func piece(text []rune) (int, float64) {
	if n := walk(text); n >= 4 {
		return n, walkBits
	}
	kind := kindOf(text[0])
	n := 1
	for n < len(text) && kindOf(text[n]) == kind && walk(text[n:]) < 4 {
		n++
	}
	m := period(text[:n])
	cost := runBits(kind, m)
	if m < n {
		cost += changeBits + math.Log2(float64(n)/float64(m))
	}
	return n, cost
}

type runeKind int

const (
	isLetter runeKind = iota
	isDigit
	isSign
)

func kindOf(r rune) runeKind {
	switch {
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return isLetter
	case unicode.IsDigit(r):
		return isDigit
	}
	return isSign
}

// runBits is the cost of n characters of one kind.
func runBits(kind runeKind, n int) float64 {
	x := float64(n)
	switch kind {
	case isLetter:
		if n > longestWord {
			return wordBits + moreBits*(x-longestWord)
		}
		return min(letterBits*x, 3+2*x, wordBits) // short words are few
	case isDigit:
		switch {
		case n <= 4:
			return min(digitBits*x, yearBits)
		case n <= 8:
			return min(digitBits*x, dateBits)
		}
		return dateBits + digitBits*(x-8)
	}
	return signBits * x
}

// period returns the length of the shortest part that a run repeats from end to
// end, perhaps cut off at last; n where there is none shorter than half.
func period(run []rune) int {
	for p := 1; 2*p <= len(run); p++ {
		i := p
		for i < len(run) && run[i] == run[i-p] {
			i++
		}
		if i == len(run) {
			return p
		}
	}
	return len(run)
}

// walk returns how many characters at the beginning of a text walk along a row.
func walk(text []rune) int {
	best := 0
	for _, row := range walks {
		at := strings.IndexRune(row, text[0])
		if at < 0 {
			continue
		}
		for _, step := range []int{1, -1} {
			n := 1
			for n < len(text) && at+n*step >= 0 && at+n*step < len(row) && rune(row[at+n*step]) == text[n] {
				n++
			}
			best = max(best, n)
		}
	}
	return best
}
