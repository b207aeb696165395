package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// passphraseCommand makes what newPassphrase offers, for those who have no
// terminal.
func passphraseCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "passphrase",
		Usage:    "make a passphrase of random words",
		Category: "agents and groups",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			words, err := keystore.NewPassphrase()
			if err != nil {
				return err
			}
			return s.result(map[string]string{"passphrase": words}, func(w io.Writer) { fmt.Fprintln(w, words) })
		},
	}
}

// newPassphrase returns a passphrase to lock what with that is good enough for
// keys which leave the machine: from file or, where file is empty, asked for
// twice on the terminal, where one is offered, too.
func (s *session) newPassphrase(ctx context.Context, what, file string) ([]byte, error) {
	return s.choosePassphrase(ctx, what, file, keystore.CheckPassphrase)
}

// localPassphrase is newPassphrase for keys that stay here: any will do.
func (s *session) localPassphrase(ctx context.Context, what, file string) ([]byte, error) {
	return s.choosePassphrase(ctx, what, file, func([]byte) error { return nil })
}

func (s *session) choosePassphrase(ctx context.Context, what, file string, check func([]byte) error) (passphrase []byte, err error) {
	if file != "" {
		if passphrase, err = readPassphraseFile(file); err != nil {
			return nil, err
		}
		if err := check(passphrase); err != nil {
			return nil, envelope.WithHint(err, "`l2p passphrase` makes a good one")
		}
		return passphrase, nil
	}
	err = s.askTerminal(what+" needs a passphrase", func(tty *terminal) error {
		tty.say("An empty line makes one for you, of random words.")
		for try := 1; ; try++ {
			if passphrase, err = tty.ask(ctx, "New passphrase for "+what+": "); err != nil {
				return err
			}
			slip := "the two passphrases differ"
			if len(passphrase) == 0 {
				words, err := keystore.NewPassphrase()
				if err != nil {
					return err
				}
				tty.say("Write this down: " + words)
				passphrase = []byte(words)
			}
			if err := check(passphrase); err != nil {
				slip = err.Error()
			} else if again, err := tty.ask(ctx, "The same again: "); err != nil || bytes.Equal(passphrase, again) {
				return err
			}
			if try == tries {
				return envelope.Errorf(envelope.Usage, "%s", slip)
			}
			tty.say(slip + ", try again")
		}
	})
	return passphrase, err
}
