package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// maxRecoveryFile bounds a file with a recovery key, in bytes.
const maxRecoveryFile = 4 << 10

// recoveryFlags are the flags of commands that make a recovery key.
func recoveryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "recovery-file", Usage: "write the recovery key into `FILE`, which is made, instead of showing it"},
		&cli.BoolFlag{Name: "no-recovery", Usage: "make no recovery key", DisableDefaultText: true},
	}
}

// recoveryHelp says what recovery keys are for.
const recoveryHelp = "The recovery key is shown once, on a terminal, or written into a file; without either there is none. " +
	"Keep it on paper, away from this machine: with it you stay who you are when the keys are stolen or lost."

// A paper is a recovery key on its way out of the program, which doesn't keep it.
type paper struct {
	s    *session
	key  *keystore.RecoveryKey // nil: there is none
	what string                // whose it is
	path string                // "": it is shown
}

// recoveryPaper makes a recovery key for what is made next, as recoveryFlags say.
// The file has it from now on, so that nothing is made whose key is lost.
func (s *session) recoveryPaper(c *cli.Context, what string) (*paper, error) {
	p := &paper{s: s, what: what, path: c.String("recovery-file")}
	switch {
	case c.Bool("no-recovery") && p.path != "":
		return nil, usagef(c, "--no-recovery makes no key that --recovery-file could take")
	case c.Bool("no-recovery"):
		return p, nil
	case p.path == "" && !isTerminal(s.stderr):
		if c.Bool("new-recovery") {
			return p, nil
		}
		s.remark("%s gets no recovery key, since there is no terminal to show it on (--recovery-file FILE takes it)", what)
		return p, nil
	}
	var err error
	if p.key, err = keystore.NewRecoveryKey(); err != nil || p.path == "" {
		return p, err
	}
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fileError(err)
	}
	s.willFinish(p.path)
	_, err = fmt.Fprintln(f, p.key.Text())
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = syncDir(filepath.Dir(p.path))
	}
	if err != nil {
		p.withdraw()
		return nil, fileError(err)
	}
	return p, nil
}

// addPaper makes a recovery key for d's agent or group, which has none yet and is
// to get one.
func (s *session) addPaper(c *cli.Context, d *envelope.Document) (*paper, error) {
	if len(d.Recovery) != 0 {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Conflict, "%s has a recovery key already, and only that can change it", title(d)), "see `l2p help agent recover`")
	}
	p, err := s.recoveryPaper(c, title(d))
	if err == nil && p.key == nil {
		err = envelope.WithHint(envelope.Errorf(envelope.Usage, "there is no terminal to show the recovery key on"), "--recovery-file FILE takes it")
	}
	return p, err
}

// newRecoveryFlags are the flags of commands that can add a recovery key.
func newRecoveryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "new-recovery", Usage: "make a recovery key, if there is none", DisableDefaultText: true},
		recoveryFlags()[0],
	}
}

// checkNewRecovery refuses a file for a key that isn't made.
func checkNewRecovery(c *cli.Context) error {
	if c.IsSet("recovery-file") && !c.Bool("new-recovery") {
		return usagef(c, "--recovery-file goes with --new-recovery")
	}
	return nil
}

// public returns the public key, or nil.
func (p *paper) public() ed25519.PublicKey {
	if p.key == nil {
		return nil
	}
	return p.key.Public()
}

// withdraw removes the file of a key that has become nobody's.
func (p *paper) withdraw() {
	if p.key != nil && p.path != "" {
		_ = os.Remove(p.path) // it opens nothing
		p.s.finished(p.path)
	}
}

// handOver gives the key to the user: what it is for has been made.
func (p *paper) handOver() {
	switch {
	case p.key == nil:
	case p.path != "":
		p.s.finished(p.path)
		p.s.remark("the recovery key of %s is in %s: keep it on paper, away from this machine", p.what, quoted(p.path))
	default: // even with --quiet: there is no other time
		fmt.Fprintf(p.s.stderr, "\nThe recovery key of %s, shown this once:\n\n    %s\n\n"+
			"Write it down, and keep it away from this machine. Whoever has it can take over\n%s; without it nobody can when the keys are stolen or lost.\n\n",
			printable(p.what), p.key.Text(), printable(p.what))
	}
}

// readRecoveryKey returns a recovery key of what, from a file or, where file is
// "", from the terminal. check refuses one that is another's.
func (s *session) readRecoveryKey(ctx context.Context, what, file string, check func(*keystore.RecoveryKey) error) (key *keystore.RecoveryKey, err error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fileError(err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxRecoveryFile))
		if err != nil {
			return nil, fileError(err)
		}
		if key, err = keystore.ParseRecoveryKey(string(text)); err != nil {
			return nil, err
		}
		return key, check(key)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "the recovery key of %s is needed, and there is no terminal to ask for it", what),
			"give it with --recovery-file FILE")
	}
	tty.Close()
	err = s.askTerminal("the recovery key of "+what+" is needed", func(tty *terminal) error {
		for try := 1; ; try++ {
			text, err := tty.ask(ctx, "Recovery key of "+what+": ")
			if err != nil {
				return err
			}
			key, err = keystore.ParseRecoveryKey(string(text))
			if err == nil {
				err = check(key)
			}
			if err == nil || !is(err, envelope.Usage) && !is(err, envelope.Denied) || try == tries {
				return err
			}
			tty.say(printable(err.Error()))
		}
	})
	return key, err
}
