package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func agentCreateCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make keys for a person or a service",
		ArgsUsage: "NAME",
		Description: "NAME is such as adam@a-tech; adam alone is at the box whose node runs here.\n" +
			"If that node is up, its operator publishes the new agent and binds the name to it; others are told what the operator must run.\n" +
			"The passphrase is asked for twice, or read from --passphrase-file. Where the locked keys are published it must be a good one; `l2p passphrase` makes such.\n" + recoveryHelp,
		Flags: append(recoveryFlags(),
			&cli.BoolFlag{Name: "service", Usage: "it is a program, not a person", DisableDefaultText: true},
			&cli.BoolFlag{Name: "no-passphrase", Usage: "leave the keys unlocked, for a service that starts by itself", DisableDefaultText: true},
			&cli.BoolFlag{Name: "keep-keys-local", Usage: "leave the locked keys out of what is published, so that nobody can sign in from another box", DisableDefaultText: true},
			&cli.BoolFlag{Name: "classic", Usage: "X25519 keys, which are small and not post-quantum", DisableDefaultText: true},
			&cli.BoolFlag{Name: "offline", Usage: "ask no node, publish nothing", DisableDefaultText: true},
		),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			name, err := s.fullName(c.Context, args[0])
			if err != nil {
				return err
			}
			if err := s.checkFree(c.Context, name, c.Bool("offline")); err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			opts := keystore.AgentOptions{Kind: envelope.User, Name: name.String(), Classic: c.Bool("classic"), KeepKeysLocal: c.Bool("keep-keys-local")}
			if c.Bool("service") {
				opts.Kind = envelope.Service
			}
			if !c.Bool("no-passphrase") {
				choose := s.newPassphrase
				if opts.KeepKeysLocal {
					choose = s.localPassphrase
				}
				if opts.Passphrase, err = choose(c.Context, name.String(), s.passphraseFile); err != nil {
					return err
				}
			}
			paper, err := s.recoveryPaper(c, name.String())
			if err != nil {
				return err
			}
			opts.Recovery = paper.public()
			secrets, err := store.CreateAgent(c.Context, opts)
			if err != nil {
				paper.withdraw()
				return err
			}
			paper.handOver()
			if err := store.Pin(name.String(), secrets.Agent()); err != nil {
				return err
			}
			d, err := store.Newest(c.Context, secrets.Agent())
			if err != nil {
				return err
			}
			a, err := s.announce(c.Context, d, c.Bool("offline"))
			if err != nil {
				return envelope.WithHint(envelope.Errorf(envelope.KindOf(err), "%s is made, but not published: %w", name, err),
					"try again later: l2p agent bind %s %s", name.Local, d.ID())
			}
			return s.result(struct {
				agentFacts
				announcement
			}{agentFacts{documentFacts: factsOf(d)}, a}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", name, d.ID()) })
		},
	}
}
