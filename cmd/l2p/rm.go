package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func rmCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove an envelope from the network",
		ArgsUsage: "[OWNER/]NAME",
		Category:  "network",
		Description: "Publishes a version that says that the envelope is removed. What somebody has fetched before stays fetched.\n" +
			"The name can be used again: `l2p put` makes the next version.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			ctx := c.Context
			ref, node, err := s.refAt(ctx, args[0])
			if err != nil {
				return err
			}
			parent, err := s.parentRecord(ctx, node, ref)
			if err != nil {
				return err
			}
			if parent.Header.Deleted {
				return envelope.Errorf(envelope.NotFound, "%s is removed already", printable(ref.Name))
			}
			if err := s.checkOwner(ctx, ref.Owner); err != nil {
				return err
			}
			author, err := s.secrets(ctx)
			if err != nil {
				return err
			}
			var identities []envelope.Identity
			if ref.Owner != author.Agent() {
				if identities, err = s.identities(ctx, true); err != nil {
					return err
				}
			}
			owner, err := s.ownerSigner(ctx, ref.Owner, identities)
			if err != nil {
				return err
			}
			tombstone, err := envelope.Tombstone(author, owner, ref.Name, parent.Version, time.Now())
			if err != nil {
				return err
			}
			reply, err := node.PutRecord(ctx, envelope.KindEnvelope, tombstone.Encode())
			if err != nil {
				return err
			}
			dir, err := s.directory(ctx)
			if err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			n := parent.Version.N + 1
			if err := store.Remember(ref, envelope.Version{N: n, Hash: tombstone.Hash()}); err != nil {
				s.warn("removed, but not remembered: %v", err)
			}
			result := struct {
				Owner   string `json:"owner"`
				Name    string `json:"name"`
				Version uint64 `json:"version"`
				Copies  uint   `json:"copies"`
				Want    uint   `json:"want"`
			}{ref.Owner.String(), ref.Name, n, reply.Copies, reply.Want}
			return s.result(result, func(w io.Writer) {
				fmt.Fprintf(w, "%s is removed, by version %d, %s\n", dir.place(ctx, ref), n, copiesSoFar(reply))
			})
		},
	}
}
