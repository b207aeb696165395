package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

// nameFacts are what pin and bind show.
type nameFacts struct {
	Name  string `json:"name"`
	Agent string `json:"agent,omitempty"`
}

func agentPinCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "pin",
		Usage:     "show whom a name is taken for, or accept that it means another agent now",
		ArgsUsage: "NAME [ID]",
		Description: "The keystore remembers whom a name meant when it was first used, and commands refuse it when it means another agent.\n" +
			"With --accept the name is pinned to whom the network says it means now, or to ID.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "accept", Usage: "take the name for another agent than before", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 2)
			if err != nil {
				return err
			}
			name, err := envelope.ParseName(args[0])
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			var id envelope.AgentID
			switch {
			case len(args) == 2:
				id, err = envelope.ParseAgentID(args[1])
			case !c.Bool("accept"):
				id, err = dir.lookup(c.Context, name)
			case dir.client == nil:
				return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "no node to ask whom %s means: %v", name, dir.why), "or say the id")
			default:
				id, err = dir.search(c.Context, name)
			}
			if err != nil {
				return err
			}
			if c.Bool("accept") {
				err = dir.store.AcceptName(name.String(), id)
			} else {
				err = dir.store.Pin(name.String(), id)
			}
			if err != nil {
				return err
			}
			return s.result(nameFacts{name.String(), id.String()}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", name, id) })
		},
	}
}

func agentBindCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "bind",
		Usage:     "give a name of the own box to an agent or group (for the box's operator)",
		ArgsUsage: "NAME [AGENT]",
		Description: "Without AGENT it is the agent or group that goes by this name in the keystore.\n" +
			"Documents of the agent that this keystore has and the network lacks are published first.\n" +
			"With --remove the name means nobody any more.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "replace", Usage: "take the name from the agent that it means now", DisableDefaultText: true},
			&cli.BoolFlag{Name: "remove", Usage: "let the name mean nobody any more", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			most := 2
			if c.Bool("remove") {
				most = 1
			}
			args, err := operands(c, 1, most)
			if err != nil {
				return err
			}
			client, err := s.node(c.Context)
			if err != nil {
				return err
			}
			if !client.Welcome().Operator {
				return envelope.Errorf(envelope.Denied, "only the operator of the box gives out its names")
			}
			box := client.Welcome().BoxName
			name, err := s.fullName(c.Context, args[0])
			if err != nil {
				return err
			}
			if name.Box != box {
				return envelope.Errorf(envelope.Usage, "%s is a name of another box than this one, %s", name, quoted(box))
			}
			bind := wire.Bind{Name: name.Local, Replace: c.Bool("replace") || c.Bool("remove")}
			f := nameFacts{Name: name.String()}
			if !c.Bool("remove") {
				dir, err := s.directory(c.Context)
				if err != nil {
					return err
				}
				d, err := dir.agent(c.Context, args[len(args)-1])
				if err != nil {
					return err
				}
				if err := s.publishAgent(c.Context, client, d.ID()); err != nil {
					return err
				}
				bind.Agent, f.Agent = d.ID(), d.ID().String()
			}
			if err := client.Bind(c.Context, bind); err != nil {
				return err
			}
			return s.result(f, func(w io.Writer) {
				if f.Agent == "" {
					f.Agent = "means nobody any more"
				}
				fmt.Fprintf(w, "%s %s\n", f.Name, f.Agent)
			})
		},
	}
}

func agentForgetCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:        "forget",
		Usage:       "drop what is known of another agent or group, to learn it anew from the network",
		ArgsUsage:   "AGENT",
		Description: "For when the keystore knows other documents than everybody else. Names stay pinned. For two versions of a group there is `l2p group resolve`.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			offline := &directory{s: s, store: store, why: envelope.Errorf(envelope.Unavailable, "forgetting asks none")}
			id, err := offline.resolve(c.Context, args[0])
			if err != nil {
				return err
			}
			if _, err := store.Chain(c.Context, id); is(err, envelope.NotFound) {
				return err
			}
			if err := store.Forget(id); err != nil {
				return err
			}
			return s.result(nameFacts{args[0], id.String()}, func(io.Writer) { s.remark("%s is forgotten", id) })
		},
	}
}
