package envelope

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorsKeepKindAndCause(t *testing.T) {
	t.Parallel()
	inner := Errorf(Corrupt, "segment %d: %w", 3, io.ErrUnexpectedEOF)
	hinted := WithHint(inner, "fetch %s again", "it")
	for _, err := range []error{inner, hinted, fmt.Errorf("while reading: %w", hinted), errors.Join(io.EOF, hinted)} {
		if KindOf(err) != Corrupt || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: kind %d", err, KindOf(err))
		}
	}
	if got, want := hinted.Error(), "segment 3: unexpected EOF; fetch it again"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if KindOf(io.EOF) != Other || KindOf(nil) != Other {
		t.Error("what has no kind is not Other")
	}
	// The outermost kind counts.
	if err := Errorf(NotFound, "no header: %w", inner); KindOf(err) != NotFound {
		t.Errorf("kind %d", KindOf(err))
	}
}
