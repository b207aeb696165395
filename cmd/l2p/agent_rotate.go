package main

import (
	"bytes"
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func agentRotateCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "rotate",
		Usage:     "give an agent new keys, by default the one that commands act as",
		ArgsUsage: "[AGENT]",
		Description: "Its id and its name stay, and so does the passphrase. The former keys are kept, so that what was sealed until now can still be read, groups included.\n" +
			"Rotate when keys may have been seen by others. Where they are in a thief's hands, use `l2p agent recover`: the thief can rotate as well.\n" +
			"With --new-recovery an agent that has no recovery key gets one. " + recoveryHelp,
		Flags: newRecoveryFlags(),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if err := checkNewRecovery(c); err != nil {
				return err
			}
			a, err := s.agentOrActing(args)
			if err != nil {
				return err
			}
			// As that agent, and knowing what the network knows: what has been
			// changed elsewhere comes first.
			s.as = a.ID().String()
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			chain, err := dir.Chain(c.Context, a.ID())
			if err != nil {
				return err
			}
			if a, err = s.keystore.Agent(a.ID()); err != nil {
				return err
			}
			d := chain[len(chain)-1]
			opts := keystore.RotateOptions{}
			if opts.Passphrase, err = s.knownPassphrase(c.Context, a); err != nil {
				return err
			}
			paper := &paper{s: s}
			if c.Bool("new-recovery") {
				if paper, err = s.addPaper(c, d); err != nil {
					return err
				}
			}
			opts.Recovery = paper.public()
			next, err := s.keystore.Rotate(c.Context, a.ID(), opts)
			if err != nil {
				paper.withdraw()
				return err
			}
			paper.handOver()
			if err := s.publishNewKeys(c.Context, dir, next); err != nil {
				return err
			}
			if a, err = s.keystore.Agent(a.ID()); err != nil {
				return err
			}
			return s.result(ownFacts(a), func(io.Writer) {
				s.remark("%s has new keys, version %s; what was sealed for the former ones, or for its groups, still opens", title(next), versionText(next.Version))
			})
		},
	}
}

// knownPassphrase returns the passphrase of an agent of the keystore, tried; nil
// if there is none.
func (s *session) knownPassphrase(ctx context.Context, a *keystore.Agent) (known []byte, err error) {
	if !a.Locked {
		return nil, nil
	}
	err = s.withPassphrase(ctx, title(a.Document), func(passphrase []byte) error {
		known = bytes.Clone(passphrase) // Unlock clears its own
		_, err := s.keystore.Unlock(a.ID(), passphrase)
		return err
	})
	return known, err
}

// publishNewKeys tells the network of d, the newest document of an own agent,
// or says who can.
func (s *session) publishNewKeys(ctx context.Context, dir *directory, d *envelope.Document) error {
	todo := "l2p agent bind NAME " + d.ID().String()
	if name, err := envelope.ParseName(d.Name); err == nil {
		todo = "l2p agent bind " + name.Local + " " + d.ID().String()
	}
	switch {
	case is(dir.why, envelope.Unavailable):
		s.remark("no node is up, so the new keys are known in this keystore only; with one: %s", todo)
		return nil
	case dir.client == nil:
		s.remark("the new keys are known in this keystore only: the operator of the box must import what `l2p agent export --public %s` writes, and run: %s", title(d), todo)
		return nil
	}
	if err := s.publishAgent(ctx, dir.client, d.ID()); err != nil {
		return envelope.WithHint(envelope.Errorf(envelope.KindOf(err), "%s has new keys here, and the network doesn't know them: %w", title(d), err),
			"try again: %s", todo)
	}
	return nil
}
