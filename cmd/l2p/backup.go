package main

import (
	"github.com/urfave/cli/v2"
)

func backupCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "backup",
		Usage:    "write the whole keystore, sealed by a passphrase",
		Category: "agents and groups",
		Description: "Agents with their keys, the documents of others, pinned names, what was seen: all that is needed to go on elsewhere with `l2p restore`. Locked keys stay locked in it by their own passphrases.\n" +
			"The passphrase of the backup is asked for twice, or read from --passphrase-file. The node's keys and data are not part of it.",
		Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			if err := s.noResult(c); err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			out, err := s.createOutput(c.String("output"), binaryOutput, nil)
			if err != nil {
				return err
			}
			if out.temp != "" { // not of a device
				if err := out.file.Chmod(0o600); err != nil {
					return out.finish(fileError(err))
				}
			}
			passphrase, err := s.newPassphrase(c.Context, "the backup", s.passphraseFile)
			if err == nil {
				err = store.Backup(c.Context, out, passphrase)
			}
			if err := out.finish(err); err != nil {
				return err
			}
			if out.file == nil {
				return nil
			}
			agents, err := store.Agents()
			if err != nil {
				return err
			}
			s.remark("%s holds the keystore, with the keys of %s, sealed by the passphrase", c.String("output"), count(len(agents), "agent"))
			return nil
		},
	}
}
