package main

import (
	"bytes"
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func agentPasswdCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "passwd",
		Usage:     "change the passphrase of an agent, by default of the one that commands act as",
		ArgsUsage: "[AGENT]",
		Description: "The old passphrase is asked for or read from --passphrase-file, the new one asked for twice or read from --new-passphrase-file.\n" +
			"Whoever has an older copy of the locked keys can still try the older passphrase on it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "new-passphrase-file", Usage: "read the new passphrase from the first line of `FILE`"},
			&cli.BoolFlag{Name: "no-passphrase", Usage: "leave the keys unlocked", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			a, err := s.agentOrActing(args)
			if err != nil {
				return err
			}
			var from, to []byte
			if a.Locked {
				err := s.withPassphrase(c.Context, title(a.Document), func(passphrase []byte) error {
					from = bytes.Clone(passphrase) // Unlock clears its own
					_, err := s.keystore.Unlock(a.ID(), passphrase)
					return err
				})
				if err != nil {
					return err
				}
			}
			if !c.Bool("no-passphrase") {
				choose := s.newPassphrase
				if a.KeysLocal {
					choose = s.localPassphrase
				}
				if to, err = choose(c.Context, title(a.Document), c.String("new-passphrase-file")); err != nil {
					return err
				}
			}
			d, err := s.keystore.Passwd(c.Context, a.ID(), from, to)
			if err != nil {
				return err
			}
			if d.Version > a.Document.Version {
				if client, err := s.operatorIfUp(c.Context); err != nil {
					s.remark("the network keeps the older locked keys until the operator of the box runs: l2p agent bind NAME %s", d.ID())
				} else if err := s.publishAgent(c.Context, client, d.ID()); err != nil {
					return err
				}
			}
			if a, err = s.keystore.Agent(d.ID()); err != nil {
				return err
			}
			return s.result(ownFacts(a), func(io.Writer) { s.remark("the passphrase of %s is changed", title(d)) })
		},
	}
}

func agentExportCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write an agent with its keys, as they are locked, to be imported elsewhere",
		ArgsUsage: "[AGENT]",
		Description: "The keys stay locked by the passphrase; those of an agent without one are in clear.\n" +
			"With --public only the documents are written that the network would have too, of any agent or group that is known: for others who want to seal for it without a network, or for the operator of its box.",
		Flags: []cli.Flag{
			outputFlag(),
			&cli.BoolFlag{Name: "armor", Aliases: []string{"a"}, Usage: "write text", DisableDefaultText: true},
			&cli.BoolFlag{Name: "public", Usage: "write public documents, no keys", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if err := s.noResult(c); err != nil {
				return err
			}
			if c.Bool("public") {
				return s.exportPublic(c, args)
			}
			a, err := s.agentOrActing(args)
			if err != nil {
				return err
			}
			data, err := s.keystore.Export(c.Context, a.ID(), c.Bool("armor"))
			if err != nil {
				return err
			}
			kind := binaryOutput
			if c.Bool("armor") {
				kind = safeOutput
			}
			out, err := s.createOutput(c.String("output"), kind, nil)
			if err != nil {
				return err
			}
			if !a.Locked {
				s.warn("the keys of %s have no passphrase: whoever gets this file can act as it", title(a.Document))
			} else if a.KeysLocal {
				s.remark("the keys of %s are locked by a passphrase that nobody has checked: whoever gets this file can try to guess it", title(a.Document))
			}
			if out.temp != "" { // not of a device
				if err := out.file.Chmod(0o600); err != nil {
					return out.finish(fileError(err))
				}
			}
			_, err = out.Write(data)
			return out.finish(err)
		},
	}
}

// exportPublic writes the documents of an agent or group.
func (s *session) exportPublic(c *cli.Context, args []string) error {
	if c.Bool("armor") {
		return usagef(c, "public documents have no text form")
	}
	dir, err := s.directory(c.Context)
	if err != nil {
		return err
	}
	var id envelope.AgentID
	if len(args) > 0 {
		id, err = dir.resolve(c.Context, args[0])
	} else {
		var a *keystore.Agent
		if a, err = s.acting(); err == nil {
			id = a.ID()
		}
	}
	if err != nil {
		return err
	}
	chain, err := dir.Chain(c.Context, id)
	if err != nil {
		return err
	}
	data, err := encodeDocuments(chain)
	if err != nil {
		return err
	}
	out, err := s.createOutput(c.String("output"), binaryOutput, nil)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return out.finish(err)
}

func agentImportCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:        "import",
		Usage:       "take in an agent that `l2p agent export` wrote",
		ArgsUsage:   "[FILE]",
		Description: "From what --public wrote, the keystore learns to seal for the agent or group by its id; to call it by its name as well, use `l2p agent pin`.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			in, err := s.openInput(args)
			if err != nil {
				return err
			}
			defer in.Close()
			data, err := io.ReadAll(io.LimitReader(in, 2*keystore.MaxExportSize+1)) // armor makes it larger
			if err != nil {
				return fileError(err)
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			if isDocuments(data) {
				return s.importPublic(c.Context, data)
			}
			a, err := store.Import(c.Context, data)
			if err != nil {
				return err
			}
			if a.Document.Name != "" {
				if err := store.Pin(a.Document.Name, a.ID()); err != nil {
					return err
				}
			}
			return s.result(ownFacts(a), func(w io.Writer) {
				io.WriteString(w, printable(title(a.Document))+" "+a.ID().String()+"\n")
			})
		},
	}
}

// importPublic keeps the documents of another agent or group.
func (s *session) importPublic(ctx context.Context, data []byte) error {
	chain, err := parseDocuments(data)
	if err != nil {
		return err
	}
	if err := s.keystore.AddDocuments(ctx, chain); err != nil {
		return err
	}
	d := chain[len(chain)-1]
	if _, err := s.keystore.Pinned(d.Name); is(err, envelope.NotFound) && d.Name != "" {
		s.remark("it calls itself %s; if you know that to be true: l2p agent pin %s %s", d.Name, d.Name, d.ID())
	}
	return s.result(agentFacts{documentFacts: factsOf(d)}, func(w io.Writer) {
		io.WriteString(w, printable(title(d))+" "+d.ID().String()+"\n")
	})
}

// agentOrActing returns the own agent that args name, or the acting one.
func (s *session) agentOrActing(args []string) (*keystore.Agent, error) {
	if len(args) == 0 {
		return s.acting()
	}
	return s.ownAgent(args[0])
}
