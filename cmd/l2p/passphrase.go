package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"l2p/envelope"
)

// maxPassphrase is the most bytes that a passphrase may have.
const maxPassphrase = 1 << 10

// tries is how often the terminal is asked before a wrong answer is the end.
const tries = 3

// withPassphrase calls use with the passphrase that unlocks what, from the file
// of --passphrase-file or from the terminal, which is asked again if use says
// that it is wrong by an error of kind Denied. A passphrase is never an
// argument: other users of the machine see those.
func (s *session) withPassphrase(ctx context.Context, what string, use func(passphrase []byte) error) error {
	if s.passphraseFile != "" {
		passphrase, err := readPassphraseFile(s.passphraseFile)
		if err != nil {
			return err
		}
		return use(passphrase)
	}
	return s.askTerminal(what+" is locked", func(tty *terminal) error {
		for try := 1; ; try++ {
			passphrase, err := tty.ask(ctx, "Passphrase for "+what+": ")
			if err != nil {
				return err
			}
			if err := use(passphrase); !is(err, envelope.Denied) || try == tries {
				return err
			}
			tty.say("wrong passphrase, try again")
		}
	})
}

// readPassphraseFile returns the first line of a file.
func readPassphraseFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, envelope.WithHint(fileError(err), "--passphrase-file names a file whose first line is the passphrase")
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxPassphrase+2)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, fileError(err)
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	switch {
	case len(line) == 0:
		return nil, envelope.Errorf(envelope.Usage, "the first line of the passphrase file %s is empty", quoted(path))
	case len(line) > maxPassphrase:
		return nil, envelope.Errorf(envelope.Usage, "the passphrase in %s has more than %d bytes", quoted(path), maxPassphrase)
	}
	return line, nil
}

// A terminal is the controlling terminal while something is asked on it, so
// that standard input and output stay free for data.
type terminal struct{ *os.File }

// askTerminal calls f with the controlling terminal. why says what the answer
// is wanted for.
func (s *session) askTerminal(why string, f func(*terminal) error) error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s, and there is no terminal to ask for the passphrase", why),
			"give it with --passphrase-file FILE or L2P_PASSPHRASE_FILE")
	}
	defer tty.Close()
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return envelope.Errorf(envelope.Other, "the terminal: %w", err)
	}
	s.onTerminal(func() {
		_ = term.Restore(fd, state)
		fmt.Fprintln(tty)
	})
	defer s.onTerminal(nil)
	return f(&terminal{tty})
}

// ask shows a prompt and reads a line without showing it.
func (t *terminal) ask(ctx context.Context, prompt string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fmt.Fprint(t, printable(prompt))
	line, err := term.ReadPassword(int(t.Fd()))
	fmt.Fprintln(t)
	switch {
	case err == io.EOF:
		return nil, envelope.Errorf(envelope.Usage, "no passphrase was given")
	case err != nil:
		return nil, envelope.Errorf(envelope.Other, "reading the passphrase: %w", err)
	case len(line) > maxPassphrase:
		return nil, envelope.Errorf(envelope.Usage, "the passphrase has more than %d bytes", maxPassphrase)
	}
	return line, nil
}

// say shows a line.
func (t *terminal) say(line string) { fmt.Fprintln(t, line) }
