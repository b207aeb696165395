package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func agentListCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the agents whose keys are here",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			agents, err := store.Agents()
			if err != nil {
				return err
			}
			facts := []agentFacts{}
			kept := s.keptUnlocked(c.Context)
			for _, a := range agents {
				facts = append(facts, ownFacts(a).unlockedBy(kept))
			}
			return s.result(facts, func(w io.Writer) {
				var rows [][]string
				for _, f := range facts {
					rows = append(rows, []string{mark(f.Default), f.Name, f.Kind, lockState(f), f.ID})
				}
				table(w, []string{"", "NAME", "KIND", "KEYS", "ID"}, rows)
			})
		},
	}
}

func agentShowCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show an agent, by default the one that commands act as",
		ArgsUsage:   "[AGENT]",
		Description: "AGENT is a name, the first part of a name in the keystore, or an id. The network is asked if a node is up.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recipient", Usage: "show the age recipient, too", DisableDefaultText: true},
			&cli.BoolFlag{Name: "history", Usage: "show the agent's keys over time, and who has held its name", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			var d *envelope.Document
			if len(args) == 0 {
				a, err := s.acting()
				if err != nil {
					return err
				}
				d = a.Document
			} else if d, err = dir.agent(c.Context, args[0]); err != nil {
				return err
			}
			f := agentFacts{documentFacts: factsOf(d)}
			if a, err := dir.store.Agent(d.ID()); err == nil {
				f = ownFacts(a).unlockedBy(s.keptUnlocked(c.Context))
			}
			if f.Name != "" {
				f.NameState = "claimed"
				if dir.isName(c.Context, f.Name, d.ID()) {
					f.NameState = "known"
				}
			}
			facts := shownAgent{agentFacts: f}
			if c.Bool("history") {
				if facts.agentHistory, err = dir.agentHistory(c.Context, d); err != nil {
					return err
				}
			}
			return s.result(facts, func(w io.Writer) {
				fmt.Fprintf(w, "id         %s\n", f.ID)
				if f.Name != "" {
					fmt.Fprintf(w, "name       %s (%s)\n", printable(f.Name), f.NameState)
				}
				fmt.Fprintf(w, "kind       %s\nversion    %s\n", f.Kind, versionText(f.Version))
				if f.Own {
					fmt.Fprintf(w, "keys       here, %s\n", lockState(f))
				}
				if f.Recovery {
					fmt.Fprintln(w, "recovery   by a key on paper")
				} else if f.Own {
					fmt.Fprintln(w, "recovery   none; to make a recovery key: l2p agent rotate --new-recovery")
				}
				// A hybrid recipient has 1,959 characters, so it is for those who ask.
				if c.Bool("recipient") && f.Recipient != "" {
					fmt.Fprintf(w, "recipient  %s\n", printable(f.Recipient))
				}
				if facts.agentHistory != nil {
					facts.write(w)
				}
			})
		},
	}
}

func agentUseCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "use",
		Usage:     "make an agent the one that commands act as",
		ArgsUsage: "AGENT",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			a, err := s.ownAgent(args[0])
			if err != nil {
				return err
			}
			if err := s.keystore.SetDefault(a.ID()); err != nil {
				return err
			}
			a.Default = true
			return s.result(ownFacts(a), func(io.Writer) { s.remark("commands act as %s now", title(a.Document)) })
		},
	}
}

// shownAgent is what show prints with --json.
type shownAgent struct {
	agentFacts
	*agentHistory
}

func ownFacts(a *keystore.Agent) agentFacts {
	f := agentFacts{documentFacts: factsOf(a.Document)}
	f.Own, f.Locked, f.KeysLocal, f.Default = true, a.Locked, a.KeysLocal, a.Default
	return f
}

func mark(set bool) string {
	if set {
		return "*"
	}
	return ""
}

// keptUnlocked returns until when `l2p unlock` keeps agents' keys unlocked, in Unix
// milliseconds.
func (s *session) keptUnlocked(ctx context.Context) map[envelope.AgentID]int64 {
	answer, _, err := s.askKeeper(ctx, keeperRequest{Op: opList}, nil)
	if err != nil {
		if !errors.Is(err, errNoKeeper) && !is(err, envelope.Usage) {
			s.remark("%v", err)
		}
		return nil
	}
	kept := make(map[envelope.AgentID]int64)
	for _, k := range answer.Unlocked {
		kept[k.Agent] = k.Until
	}
	return kept
}

// unlockedBy returns the facts with what keptUnlocked says of the agent.
func (f agentFacts) unlockedBy(kept map[envelope.AgentID]int64) agentFacts {
	id, err := envelope.ParseAgentID(f.ID)
	if until := kept[id]; err == nil && f.Locked && until != 0 {
		f.Unlocked, f.until = rfc3339(until), time.UnixMilli(until)
	}
	return f
}

// lockState says in words how an own agent's keys are kept.
func lockState(f agentFacts) string {
	var state string
	switch {
	case !f.Locked:
		return "no passphrase"
	case f.Unlocked == "":
		state = "locked"
	case time.Until(f.until) < 24*time.Hour:
		state = "unlocked until " + f.until.Format("15:04")
	default:
		state = "unlocked until " + f.until.Format("2006-01-02 15:04")
	}
	if f.KeysLocal {
		state += ", here only"
	}
	return state
}
