package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
	"l2p/netq/wire"
)

// Lost returns the documents of a group that lost a fork, as far as the
// keystore knows. With it a directory is a keystore.Lost.
func (d *directory) Lost(ctx context.Context, group envelope.AgentID) ([]*envelope.Document, error) {
	return d.store.Lost(ctx, group)
}

// forks returns the forks of a group that are to be resolved.
func (d *directory) forks(ctx context.Context, group envelope.AgentID) ([]keystore.Fork, error) {
	lost, err := d.store.Lost(ctx, group)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	chain, err := d.store.Chain(ctx, group)
	if err != nil {
		return nil, err
	}
	return keystore.Forks(chain, lost), nil
}

// refreshGroup is refresh for a group of which all forks are wanted, however
// old, since a partition may end late. With giveWay what is known here and not in
// the network counts less than what is there.
func (d *directory) refreshGroup(ctx context.Context, group envelope.AgentID, giveWay bool) error {
	if d.client == nil {
		return nil
	}
	known, err := d.store.Chain(ctx, group)
	if err != nil && !is(err, envelope.NotFound) {
		return err
	}
	run, others, err := d.newRun(ctx, group, known, true)
	if err == nil && len(run) > 0 {
		err = d.learnGroup(ctx, known, run, others, giveWay)
	}
	return d.offline(ctx, err, len(known) > 0)
}

// learnGroup brings a group's documents into the keystore: the run that ends in
// the network's winner, and others that lost. It says if they are a fork that is
// new to the keystore.
func (d *directory) learnGroup(ctx context.Context, known, run, others []*envelope.Document, giveWay bool) error {
	group := run[0].ID()
	before, err := d.forks(ctx, group)
	if err != nil {
		return err
	}
	if err := d.complete(ctx, run); err != nil {
		return err
	}
	others = others[:min(len(others), keystore.MaxLost)] // ascending by number
	for i, doc := range others {
		if others[i], err = d.whole(ctx, doc); err != nil {
			return err
		}
	}
	all := slices.Concat(run, others)
	for _, doc := range all {
		if err := d.knowSigners(ctx, doc); err != nil {
			return err
		}
	}
	add := d.store.AddDocuments
	if giveWay || isUnpublished(known, all) {
		add = d.store.GiveWay
	}
	if err := add(ctx, all); err != nil {
		if errors.Is(err, keystore.ErrOlder) {
			return nil
		}
		return err
	}
	after, err := d.forks(ctx, group)
	if err != nil {
		return err
	}
	for _, f := range after {
		if !slices.ContainsFunc(before, func(b keystore.Fork) bool { return b.Tip().Hash() == f.Tip().Hash() }) {
			name := printable(title(f.Tip()))
			d.s.warn("version %d of group %s lost against another that was made at the same time: `l2p group show %s` shows it", f.Tip().Version, name, name)
		}
	}
	return nil
}

// isUnpublished reports whether the newest known document of a group was made
// here and is not in the network, which has gone on without it.
func isUnpublished(known, listed []*envelope.Document) bool {
	if len(known) == 0 {
		return false
	}
	last, goesOn := known[len(known)-1], false
	for _, doc := range listed {
		if doc.Hash() == last.Hash() || doc.Parent == last.Hash() {
			return false
		}
		goesOn = goesOn || doc.Version >= last.Version
	}
	return goesOn
}

// whole returns a document with its attachments.
func (d *directory) whole(ctx context.Context, doc *envelope.Document) (*envelope.Document, error) {
	data, _, err := d.client.GetRecord(ctx, envelope.Ref{Kind: envelope.KindDocument, Owner: doc.ID()}, doc.Version)
	if err != nil {
		return nil, err
	}
	whole, err := envelope.ParseDocument(data)
	if err != nil || whole.Hash() == doc.Hash() {
		return whole, err
	}
	// Another one wins among those with this number.
	list := wire.ListRecords{Kind: envelope.KindDocument, Owner: doc.ID(), History: true, AfterN: doc.Version - 1}
	for r, err := range d.client.Records(ctx, list) {
		if err != nil && !is(err, envelope.NotFound) {
			return nil, err
		}
		if err != nil || r.Version.N > doc.Version {
			break
		}
		if r.Version.Hash == doc.Hash() {
			return r.Document, nil
		}
	}
	return doc, nil // the node has it without them, or no more
}

func groupResolveCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "resolve",
		Usage:     "take in what lost when two admins changed a group at the same time",
		ArgsUsage: "GROUP",
		Description: "Whom either has added is added, whom either has removed is removed; removals win. What was sealed for either side stays readable. " +
			"`l2p group show` shows what lost. Only an admin of the group may do this.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "drop", Usage: "take in nothing of it: somebody changed the group who shouldn't have, or is an admin no longer", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			group, err := dir.agent(c.Context, args[0])
			if err != nil {
				return err
			}
			if err := dir.refreshGroup(c.Context, group.ID(), false); err != nil {
				return err
			}
			g, err := s.groupChanger(c.Context, group)
			if err != nil {
				return err
			}
			lost, err := dir.Lost(c.Context, group.ID())
			if err != nil {
				return err
			}
			next, err := keystore.ResolveGroup(c.Context, g.me, g.me.Identities(), dir, group.ID(), lost, c.Bool("drop"))
			if err != nil {
				return err
			}
			d, err := g.put(c.Context, next)
			if err != nil {
				return err
			}
			if err := g.result(c.Context, d); err != nil {
				return err
			}
			g.tellOfLags(c.Context, d)
			return nil
		},
	}
}

// forkFacts are what lost a fork of a group.
type forkFacts struct {
	Version uint64      `json:"version"`
	Hash    string      `json:"hash"`
	Won     uint64      `json:"wonVersion"` // the first that it lost against
	WonBy   agentRef    `json:"wonBy"`
	Steps   []stepFacts `json:"versions"`
}

// forkFacts tells what is in the forks of a group.
func (n *namer) forkFacts(chain []*envelope.Document, forks []keystore.Fork) []forkFacts {
	var facts []forkFacts
	for _, f := range forks {
		facts = append(facts, forkFacts{Version: f.Tip().Version, Hash: f.Tip().Hash().String(), Steps: n.steps(f.Base, f.Documents)})
		for _, d := range chain {
			if d.Version > f.Base.Version {
				last := &facts[len(facts)-1]
				last.Won, last.WonBy = d.Version, n.signer(d)
				break
			}
		}
	}
	return facts
}

// write shows a fork to people.
func (f *forkFacts) write(w io.Writer, group string) {
	for _, step := range f.Steps {
		fmt.Fprintf(w, "fork     version %d of %s %s, lost against version %d of %s\n", step.Version, step.By.called, step.changes(), f.Won, f.WonBy.called)
	}
	fmt.Fprintf(w, "         to take that in: l2p group resolve %s\n", group)
}
