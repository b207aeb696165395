package envelope

import (
	"errors"
	"fmt"
)

// An ErrorKind says what went wrong in a way that a program can act on. The
// numbers are part of the node protocol and of the exit codes of l2p
// (docs/protocol.md): they never change.
type ErrorKind uint

const (
	// Other is any failure without a kind of its own.
	Other ErrorKind = 1
	// Usage: the request or command line makes no sense.
	Usage ErrorKind = 2
	// NotFound: no such agent, name, envelope, version, segment or file.
	NotFound ErrorKind = 3
	// Denied: wrong passphrase, or the caller may not do this.
	Denied ErrorKind = 4
	// NotReader: the content is sealed and not for any identity at hand.
	NotReader ErrorKind = 5
	// Corrupt: data is truncated, altered, forged or not in the format.
	Corrupt ErrorKind = 6
	// Unavailable: a node, the network or a quorum cannot be reached now.
	Unavailable ErrorKind = 7
	// NotDurable: a write reached fewer nodes than it needs to be safe.
	NotDurable ErrorKind = 8
	// Conflict: somebody else changed it first, or the name is taken.
	Conflict ErrorKind = 9
	// Full: no room left on a disk, or over a limit of size or number.
	Full ErrorKind = 10
	// WrongNetwork: the other side belongs to another network.
	WrongNetwork ErrorKind = 11
)

// An Error is a failure with its kind, one line of text, and, where there is
// one, a hint of what to do next. Nobody should match on Text or Hint.
type Error struct {
	Kind  ErrorKind
	Text  string // what happened, the cause included: one line, no trailing period
	Hint  string // what to try next; may be empty
	cause error
}

// Error returns the text and the hint on one line.
func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Text + "; " + e.Hint
	}
	return e.Text
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error of the given kind. As with fmt.Errorf, an argument
// for %w becomes the cause that errors.Is and errors.As see.
func Errorf(kind ErrorKind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Text: err.Error(), cause: errors.Unwrap(err)}
}

// WithHint returns err with a hint added, keeping its kind.
func WithHint(err error, format string, args ...any) error {
	return &Error{Kind: KindOf(err), Text: err.Error(), Hint: fmt.Sprintf(format, args...), cause: err}
}

// KindOf returns the kind of the first Error in err's chain, or Other.
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Other
}
