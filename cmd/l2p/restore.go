package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func restoreCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "bring back the keystore that `l2p backup` wrote",
		ArgsUsage: "[FILE]",
		Category:  "agents and groups",
		Description: "Reads FILE or standard input. The keystore must be new or empty, unless --merge adds to it what it lacks; nothing newer is replaced by older.\n" +
			"The passphrase of the backup is asked for or read from --passphrase-file.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "merge", Usage: "add to a keystore that isn't empty", DisableDefaultText: true}},
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
			// Read whole, since a passphrase may need more than one try.
			data, err := io.ReadAll(io.LimitReader(in, keystore.MaxBackupSize+1))
			if err != nil {
				return fileError(err)
			}
			if len(data) > keystore.MaxBackupSize {
				return envelope.Errorf(envelope.Corrupt, "this is not a backup: it has more than %d bytes", keystore.MaxBackupSize)
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			var restored *keystore.Restored
			err = s.withPassphrase(c.Context, "the backup", func(passphrase []byte) error {
				restored, err = store.Restore(c.Context, bytes.NewReader(data), passphrase, c.Bool("merge"))
				return err
			})
			if err != nil {
				return err
			}
			facts := struct {
				Agents    []agentFacts `json:"agents"`              // whose keys have come
				KeptNames []string     `json:"keptNames,omitempty"` // mean another agent here than in the backup
			}{Agents: []agentFacts{}, KeptNames: restored.Kept}
			for _, id := range restored.Agents {
				a, err := store.Agent(id)
				if err != nil {
					return err
				}
				facts.Agents = append(facts.Agents, ownFacts(a))
			}
			if len(facts.KeptNames) > 0 {
				s.warn("names that mean another agent here than in the backup, and go on to do so: %s", strings.Join(facts.KeptNames, ", "))
			}
			return s.result(facts, func(w io.Writer) {
				for _, f := range facts.Agents {
					name := f.Name
					if name == "" {
						name = f.ID
					}
					io.WriteString(w, printable(name)+" "+f.ID+"\n")
				}
				if len(facts.Agents) == 0 {
					s.remark("no agent's keys were missing")
				}
			})
		},
	}
}
