package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"l2p/envelope"
)

// maxPassphrase is the most bytes that a passphrase may have.
const maxPassphrase = 1 << 10

// passphrase returns the passphrase that unlocks what, from the file of
// --passphrase-file or from the terminal. A passphrase is never an argument:
// other users of the machine see those.
func (s *session) passphrase(what string) ([]byte, error) {
	if s.passphraseFile != "" {
		return readPassphraseFile(s.passphraseFile)
	}
	return s.askTerminal(what+" is locked", func(ask asker) ([]byte, error) {
		return ask("Passphrase for " + what + ": ")
	})
}

// newPassphrase returns a passphrase to lock what with, from file or, where
// file is empty, asked for twice on the terminal.
func (s *session) newPassphrase(what, file string) ([]byte, error) {
	if file != "" {
		return readPassphraseFile(file)
	}
	return s.askTerminal(what+" needs a passphrase", func(ask asker) ([]byte, error) {
		first, err := ask("New passphrase for " + what + ": ")
		if err != nil {
			return nil, err
		}
		if len(first) == 0 {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "the passphrase is empty"),
				"a service that starts by itself can do without one: --no-passphrase")
		}
		again, err := ask("The same again: ")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(first, again) {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "the two passphrases differ"), "try again")
		}
		return first, nil
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

// An asker shows a prompt and reads a line without showing it.
type asker func(prompt string) ([]byte, error)

// askTerminal lets f ask on the controlling terminal, so that standard input
// and output stay free for data. why says what the answer is wanted for.
func (s *session) askTerminal(why string, f func(asker) ([]byte, error)) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s, and there is no terminal to ask for the passphrase", why),
			"give it with --passphrase-file FILE or L2P_PASSPHRASE_FILE")
	}
	defer tty.Close()
	fd := int(tty.Fd())
	if state, err := term.GetState(fd); err == nil {
		s.onTerminal(func() { _ = term.Restore(fd, state) })
		defer s.onTerminal(nil)
	}
	return f(func(prompt string) ([]byte, error) {
		fmt.Fprint(tty, printable(prompt))
		line, err := term.ReadPassword(fd)
		fmt.Fprintln(tty)
		if err != nil {
			return nil, envelope.Errorf(envelope.Other, "reading the passphrase: %w", err)
		}
		if len(line) > maxPassphrase {
			return nil, envelope.Errorf(envelope.Usage, "the passphrase has more than %d bytes", maxPassphrase)
		}
		return line, nil
	})
}
