package wire

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"l2p/envelope"
)

// MaxErrorText is the greatest length of an Error's Text and Hint, in bytes.
const MaxErrorText = 1024

// ErrorOf returns the reply that tells a peer of err.
func ErrorOf(err error) Error {
	var e *envelope.Error
	if errors.As(err, &e) && error(e) == err {
		return Error{Kind: e.Kind, Text: oneLine(e.Text), Hint: oneLine(e.Hint)}
	}
	return Error{Kind: envelope.KindOf(err), Text: oneLine(err.Error())}
}

// Err returns what e says as an *envelope.Error. The text comes from a peer: it
// is made one line without anything that drives a terminal, and cut at
// MaxErrorText. A kind that this version doesn't know becomes Other.
func (e Error) Err() error {
	kind := e.Kind
	if kind < envelope.Other || kind > envelope.WrongNetwork {
		kind = envelope.Other
	}
	text := oneLine(e.Text)
	if text == "" {
		text = "the other side gave no reason"
	}
	return &envelope.Error{Kind: kind, Text: text, Hint: oneLine(e.Hint)}
}

// oneLine replaces what isn't graphic by U+FFFD and cuts s at MaxErrorText bytes.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*MaxErrorText)], "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsGraphic(r):
			return '\uFFFD'
		}
		return r
	}, s)
	if len(s) <= MaxErrorText {
		return s
	}
	cut := MaxErrorText - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
