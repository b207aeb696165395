package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"l2p/envelope"
)

// confirm asks a question on the controlling terminal and reports whether the
// answer is yes. Without a terminal it is an error of kind Usage that tells of
// otherwise, the flag that answers.
func (s *session) confirm(question, otherwise string) (bool, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false, envelope.WithHint(envelope.Errorf(envelope.Usage, "this needs a yes, and there is no terminal to ask on"), "%s", otherwise)
	}
	defer tty.Close()
	s.onTerminal(func() { fmt.Fprintln(tty) })
	defer s.onTerminal(nil)
	fmt.Fprintf(tty, "%s [yes/no] ", printable(question))
	answer, err := bufio.NewReader(io.LimitReader(tty, 64)).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, envelope.Errorf(envelope.Other, "reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
