package main

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func lockCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:        "lock",
		Usage:       "forget the keys that `l2p unlock` keeps unlocked: all, or those of an agent",
		ArgsUsage:   "[AGENT]",
		Category:    "agents and groups",
		Description: "That nothing is unlocked is no error.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if _, err := s.store(); err != nil {
				return err
			}
			req := keeperRequest{Op: opDrop}
			if len(args) > 0 {
				a, err := s.ownAgent(args[0])
				if err != nil {
					return err
				}
				req.Agent = a.ID()
			}
			result := struct {
				Locked int `json:"locked"` // agents that were unlocked
			}{}
			answer, _, err := s.askKeeper(c.Context, req, nil)
			switch {
			case errors.Is(err, errNoKeeper), is(err, envelope.Usage): // nor was there a place for one
			case err != nil:
				return err
			default:
				result.Locked = answer.Dropped
			}
			return s.result(result, func(io.Writer) {
				if result.Locked == 0 {
					s.remark("nothing was unlocked")
				} else {
					s.remark("locked")
				}
			})
		},
	}
}
