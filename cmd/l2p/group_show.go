package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// groupFacts are what commands show of a group.
type groupFacts struct {
	documentFacts
	Epoch   uint64        `json:"epoch"`
	Members []memberFacts `json:"members"`
	Cycles  []agentRef    `json:"cycles,omitempty"` // groups in it that it is in
	Lags    []lagFacts    `json:"lags,omitempty"`
	Epochs  []epochFacts  `json:"epochs,omitempty"`
	Forks   []forkFacts   `json:"forks,omitempty"` // that nobody has resolved
}

// An agentRef is an agent that facts name.
type agentRef struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"` // claimed

	called string // for people
}

type memberFacts struct {
	agentRef
	Kind  string `json:"kind,omitempty"`
	Admin bool   `json:"admin,omitempty"`
	Since uint64 `json:"sinceVersion,omitempty"`
	From  uint64 `json:"fromEpoch,omitempty"` // absent: reads all epochs
	// Revoked says that the operator of the member's box has revoked it;
	// OldKeys that it was recovered since the group's keys were sealed to it, so
	// that whoever stole its former ones still opens them.
	Revoked bool `json:"revoked,omitempty"`
	OldKeys bool `json:"oldKeys,omitempty"`
}

// lagFacts are a group that is sealed to old keys of a group in it.
type lagFacts struct {
	Outer    agentRef `json:"group"`
	Inner    agentRef `json:"member"`
	SealedTo uint64   `json:"sealedToEpoch"`
	Epoch    uint64   `json:"memberEpoch"`
}

// epochFacts are one epoch of a group's history.
type epochFacts struct {
	Epoch uint64      `json:"epoch"`
	First uint64      `json:"firstVersion"`
	Steps []stepFacts `json:"versions"`
}

// stepFacts are what one version of a group changed.
type stepFacts struct {
	Version       uint64     `json:"version"`
	Epoch         uint64     `json:"epoch"`
	Time          string     `json:"time"` // by the clock of who signed
	By            agentRef   `json:"by"`
	Added         []agentRef `json:"added,omitempty"`
	FromNow       []agentRef `json:"fromNow,omitempty"` // of those added, or nested groups that got newcomers
	Lifted        []agentRef `json:"readsAll,omitempty"`
	Removed       []agentRef `json:"removed,omitempty"`
	AddedAdmins   []agentRef `json:"addedAdmins,omitempty"`
	RemovedAdmins []agentRef `json:"removedAdmins,omitempty"`
	NewKeys       bool       `json:"newKeys,omitempty"`
	NewRecovery   bool       `json:"newRecovery,omitempty"` // another recovery key than before, or the first
	Resolves      []string   `json:"resolves,omitempty"`    // hashes
}

func groupListCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the groups that the keystore knows",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			store, err := s.store()
			if err != nil {
				return err
			}
			ids, err := store.Known()
			if err != nil {
				return err
			}
			facts := []groupFacts{}
			var rows [][]string
			for _, id := range ids {
				d, err := store.Newest(c.Context, id)
				if err != nil {
					return err
				}
				if d.Group == nil {
					continue
				}
				f := groupFacts{documentFacts: factsOf(d), Epoch: d.Group.Epoch}
				f.Members = []memberFacts{}
				for _, m := range d.Group.Members {
					f.Members = append(f.Members, memberFacts{agentRef: agentRef{ID: m.ID.String()}, Admin: d.IsAdmin(m.ID)})
				}
				facts = append(facts, f)
				rows = append(rows, []string{f.Name, strconv.Itoa(len(f.Members)), strconv.FormatUint(f.Epoch, 10), f.ID})
			}
			return s.result(facts, func(w io.Writer) { table(w, []string{"NAME", "MEMBERS", "EPOCH", "ID"}, rows) })
		},
	}
}

func groupShowCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show who is in a group, who may change it, and its history",
		ArgsUsage: "GROUP",
		Description: "Members are shown with the version since which they belong to the group and, if they don't read all, the epoch from which on they do. " +
			"Lines that begin with lag, fork or cycle say what an admin has to do.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			dir, err := s.directory(c.Context)
			if err != nil {
				return err
			}
			d, err := dir.agent(c.Context, args[0])
			if err != nil {
				return err
			}
			if d.Group == nil {
				return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is not a group but a %s", quoted(args[0]), d.Kind), "see `l2p agent show`")
			}
			if err := dir.refreshGroup(c.Context, d.ID(), false); err != nil {
				return err
			}
			if d, err = dir.newest(c.Context, d.ID()); err != nil {
				return err
			}
			f, err := dir.history(c.Context, d)
			if err != nil {
				return err
			}
			return s.result(f, func(w io.Writer) { f.write(w) })
		},
	}
}

// groupFacts gathers what a group's document says, and what is known of its
// members.
func (d *directory) groupFacts(ctx context.Context, doc *envelope.Document) groupFacts {
	n := d.namer(ctx, doc)
	f := groupFacts{documentFacts: factsOf(doc), Epoch: doc.Group.Epoch, Members: []memberFacts{}}
	revoked, err := d.markedRevoked()
	if err != nil {
		d.s.warn("who is revoked can't be told: %v", err)
	}
	for _, m := range doc.Group.Members {
		facts := memberFacts{agentRef: n.member(m.ID), Kind: n.kind(m.ID), Admin: doc.IsAdmin(m.ID), From: m.From, Revoked: revoked[m.ID] != ""}
		if chain, err := d.store.Chain(ctx, m.ID); err == nil && facts.Kind != envelope.Group.String() {
			facts.OldKeys = envelope.RevokedBy(chain, m.Version) != nil
		}
		f.Members = append(f.Members, facts)
	}
	return f
}

// history is groupFacts with all that there is to tell of a group.
func (d *directory) history(ctx context.Context, doc *envelope.Document) (*groupFacts, error) {
	if len(doc.Group.Members) <= maxLookedUp {
		if err := d.prefetch(ctx, doc); err != nil {
			return nil, err
		}
		for _, m := range doc.Group.Members {
			if _, err := d.revoked(ctx, m.ID); err != nil && !is(err, envelope.NotFound) {
				return nil, err
			}
		}
	}
	f := d.groupFacts(ctx, doc)
	chain, err := d.store.Chain(ctx, doc.ID())
	if err != nil {
		return nil, err
	}
	n := d.namer(ctx, doc)
	steps := n.steps(nil, chain)
	since := make(map[string]uint64)
	for _, step := range steps {
		if len(f.Epochs) == 0 || f.Epochs[len(f.Epochs)-1].Epoch != step.Epoch {
			f.Epochs = append(f.Epochs, epochFacts{Epoch: step.Epoch, First: step.Version})
		}
		e := &f.Epochs[len(f.Epochs)-1]
		e.Steps = append(e.Steps, step)
		for _, a := range step.Added {
			since[a.ID] = step.Version
		}
	}
	for i := range f.Members {
		f.Members[i].Since = since[f.Members[i].ID]
	}
	lags, err := keystore.Lags(ctx, d, doc)
	if err != nil && !is(err, envelope.NotFound) {
		return nil, err
	}
	for _, l := range lags {
		f.Lags = append(f.Lags, lagFacts{n.ref(l.Outer.ID()), n.ref(l.Inner.ID()), l.SealedTo, l.Inner.Group.Epoch})
	}
	for _, m := range doc.Group.Members {
		if m.Epoch == 0 {
			continue // not a group
		}
		inner, err := d.newest(ctx, m.ID)
		if err != nil {
			continue // not to be had, which the lags have told
		}
		if around, err := keystore.Contains(ctx, d, inner, doc.ID()); err == nil && around {
			f.Cycles = append(f.Cycles, n.ref(m.ID))
		}
	}
	forks, err := d.forks(ctx, doc.ID())
	if err != nil {
		return nil, err
	}
	f.Forks = n.forkFacts(chain, forks)
	return &f, nil
}

// steps tells what each of a run of documents changed. base is the one before
// the run, nil if it begins with the first.
func (n *namer) steps(base *envelope.Document, run []*envelope.Document) []stepFacts {
	var steps []stepFacts
	for _, d := range run {
		step := stepFacts{
			Version: d.Version, Epoch: d.Group.Epoch, By: n.signer(d),
			Time: time.UnixMilli(d.Time).UTC().Format(time.RFC3339),
		}
		before := base
		if before == nil {
			before = &envelope.Document{Group: &envelope.GroupPart{}}
		}
		c := keystore.ChangesOf(before, []*envelope.Document{d})
		step.Added, step.Removed, step.Lifted = n.refs(c.Added), n.refs(c.Removed), n.refs(c.Lifted)
		step.AddedAdmins, step.RemovedAdmins = n.refs(c.AddedAdmins), n.refs(c.RemovedAdmins)
		for _, m := range d.Group.Members {
			if was, _ := before.Member(m.ID); m.From != 0 && m.From != was.From {
				step.FromNow = append(step.FromNow, n.ref(m.ID))
			}
		}
		step.NewKeys = base != nil && base.Group.Epoch != d.Group.Epoch
		step.NewRecovery = base != nil && !bytes.Equal(base.Recovery, d.Recovery)
		for _, h := range d.Group.Resolves {
			step.Resolves = append(step.Resolves, h.String())
		}
		steps = append(steps, step)
		base = d
	}
	return steps
}

// changes says in words what a step changed.
func (f *stepFacts) changes() string {
	var parts []string
	say := func(verb string, who []agentRef, more string) {
		if len(who) == 0 {
			return
		}
		names := fmt.Sprintf("%d agents", len(who))
		if len(who) <= 8 {
			var called []string
			for _, a := range who {
				called = append(called, a.called)
			}
			names = strings.Join(called, ", ")
		}
		parts = append(parts, verb+" "+names+more)
	}
	say("adds", f.Added, "")
	say("from this epoch on only:", f.FromNow, "")
	say("lets", f.Lifted, " read all epochs")
	say("removes", f.Removed, "")
	say("makes admins of", f.AddedAdmins, "")
	say("makes admins no longer of", f.RemovedAdmins, "")
	if len(f.Resolves) > 0 {
		parts = append(parts, "takes in "+count(len(f.Resolves), "version")+" that lost")
	}
	if f.NewRecovery {
		parts = append(parts, "sets a recovery key")
	}
	switch {
	case f.NewKeys && len(parts) == 0:
		return "makes new keys"
	case f.NewKeys:
		parts = append(parts, "with new keys")
	case len(parts) == 0:
		return "changes nothing"
	}
	return strings.Join(parts, "; ")
}

// write shows the facts to people.
func (f *groupFacts) write(w io.Writer) {
	fmt.Fprintf(w, "id       %s\n", f.ID)
	if f.Name != "" {
		fmt.Fprintf(w, "name     %s\n", printable(f.Name))
	}
	fmt.Fprintf(w, "version  %s\nepoch    %d\n", versionText(f.Version), f.Epoch)
	for _, m := range f.Members {
		more := ""
		if m.Admin {
			more = ", admin"
		}
		if m.Since > 1 {
			more += fmt.Sprintf(", since version %d", m.Since)
		}
		if m.From > 0 {
			more += fmt.Sprintf(", reads from epoch %d on", m.From)
		}
		if m.Revoked {
			more += ", revoked by the operator of its box"
		}
		if m.OldKeys {
			more += ", recovered since: its former keys open the group until it is renewed"
		}
		fmt.Fprintf(w, "member   %s%s\n", printable(m.called), more)
	}
	for _, inner := range f.Cycles {
		fmt.Fprintf(w, "cycle    %s contains itself, through %s: l2p group remove %s %s\n", f.called(), inner.called, f.called(), inner.called)
	}
	for _, l := range f.Lags {
		fmt.Fprintf(w, "lag      %s is sealed to epoch %d of %s, which has %d: l2p group renew %s\n", l.Outer.called, l.SealedTo, l.Inner.called, l.Epoch, l.Outer.called)
	}
	for i := range f.Forks {
		f.Forks[i].write(w, f.called())
	}
	for _, e := range f.Epochs {
		for i := range e.Steps {
			s := &e.Steps[i]
			fmt.Fprintf(w, "history  epoch %d, version %s, %s by %s: %s\n", e.Epoch, versionText(s.Version), s.Time, s.By.called, s.changes())
		}
	}
}

// called is how to name the group to another command.
func (f *groupFacts) called() string {
	if f.Name != "" {
		return printable(f.Name)
	}
	return f.ID
}
