package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func loginCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "work as an agent that was made elsewhere: get its locked keys from the network",
		ArgsUsage: "NAME",
		Category:  "agents and groups",
		Description: "NAME is such as adam@a-tech, or an id. The keys come as they are locked, and the agent's passphrase must open them.\n" +
			"The node answers its operator, and agents whose keys are here already; who is neither brings the keys with `l2p agent export` and import.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			if a, err := s.ownAgent(args[0]); err == nil {
				return envelope.WithHint(envelope.Errorf(envelope.Conflict, "%s is an agent of this keystore already", title(a.Document)),
					"`l2p agent use` lets commands act as it")
			}
			if err := s.greetNode(c.Context); err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			id, err := dir.resolve(c.Context, args[0])
			if err != nil {
				return err
			}
			chain, err := dir.wholeChain(c.Context, id)
			if err != nil {
				return err
			}
			d := chain[len(chain)-1]
			switch {
			case d.Kind != envelope.User && d.Kind != envelope.Service:
				return envelope.Errorf(envelope.Usage, "%s is a %s: only a person or a service can sign in", title(d), d.Kind)
			case d.Locked.IsZero():
				return envelope.WithHint(envelope.Errorf(envelope.NotFound, "the network does not have the keys of %s: they are kept where they were made", title(d)),
					"bring them with `l2p agent export` there and `l2p agent import` here")
			}
			err = s.withPassphrase(c.Context, title(d), func(passphrase []byte) error {
				s.unlocked, err = store.SignIn(c.Context, chain, passphrase)
				return err
			})
			if err != nil {
				return err
			}
			a, err := store.Agent(id)
			if err != nil {
				return err
			}
			if !a.Default {
				s.remark("commands act as another agent; to change that: l2p agent use %s", title(d))
			}
			return s.result(ownFacts(a), func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", printable(title(d)), id) })
		},
	}
}

func logoutCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "logout",
		Usage:     "remove an agent's keys from here, if the network has them to sign in again",
		ArgsUsage: "AGENT",
		Category:  "agents and groups",
		Description: "Keys that the network doesn't have as they are here would be lost, so they stay: those made with --keep-keys-local or without a passphrase, and those changed but not published.\n" +
			"What others have published stays known here.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			a, err := s.ownAgent(args[0])
			if err != nil {
				return err
			}
			if a.KeysLocal || !a.Locked {
				return envelope.WithHint(envelope.Errorf(envelope.Conflict, "the keys of %s are nowhere but here, so they would be lost", title(a.Document)),
					"`l2p agent export` copies them")
			}
			if err := s.greetNode(c.Context); err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			published, err := dir.published(c.Context, a.ID())
			if is(err, envelope.NotFound) {
				return envelope.WithHint(envelope.Errorf(envelope.Conflict, "the network does not know %s, so its keys would be lost", title(a.Document)),
					"the operator of its box publishes it: l2p agent bind NAME %s", a.ID())
			}
			if err != nil {
				return err
			}
			if err := s.keystore.Remove(c.Context, published); err != nil {
				return err
			}
			// Its keeper would notice by itself, a little later.
			_, _, _ = s.askKeeper(c.Context, keeperRequest{Op: opDrop, Agent: a.ID()}, nil)
			return s.result(agentFacts{documentFacts: factsOf(a.Document)}, func(io.Writer) { s.remark("the keys of %s are no longer here", title(a.Document)) })
		},
	}
}

// greetNode connects to a node of the network, as its operator or as an agent
// of the keystore.
func (s *session) greetNode(ctx context.Context) error {
	_, err := s.memberNode(ctx)
	if is(err, envelope.NotFound) {
		if ids, listErr := s.keystore.Agents(); listErr == nil && len(ids) == 0 {
			return envelope.WithHint(envelope.Errorf(envelope.Denied, "a node answers only its operator, or an agent whose keys are here, and there is none"),
				"bring the keys with `l2p agent export` there and `l2p agent import` here")
		}
	}
	return err
}

// wholeChain returns the documents of an agent, verified, and the newest with what
// is attached, as login needs it.
func (d *directory) wholeChain(ctx context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	chain, err := d.Chain(ctx, id)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	if last.Locked.IsZero() || last.Attachment(last.Locked) != nil {
		return chain, nil
	}
	whole, err := d.published(ctx, id)
	if err != nil {
		return nil, err
	}
	if whole.Hash() != last.Hash() {
		return nil, envelope.Errorf(envelope.Conflict, "version %d of %s is offered as the newest, but version %d (%s) is known: %w",
			whole.Version, title(last), last.Version, last.Hash().Short(), keystore.ErrOlder)
	}
	// As d.Chain may have lent the keystore's own.
	return append(chain[:len(chain)-1:len(chain)-1], whole), nil
}

// published returns the newest document of an agent as the network has it, with
// all that is attached. It is not verified.
func (d *directory) published(ctx context.Context, id envelope.AgentID) (*envelope.Document, error) {
	if _, err := d.Chain(ctx, id); err != nil { // so that the keystore is no older
		return nil, err
	}
	if d.client == nil {
		return nil, d.why
	}
	data, _, err := d.client.GetRecord(ctx, envelope.Ref{Kind: envelope.KindDocument, Owner: id}, 0)
	if err != nil {
		return nil, err
	}
	doc, err := envelope.ParseDocument(data)
	if err != nil {
		return nil, err
	}
	if doc.ID() != id {
		return nil, envelope.Errorf(envelope.Corrupt, "the node answers for another agent than %s", id)
	}
	return doc, nil
}
