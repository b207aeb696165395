package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// groupFacts are what commands show of a group.
type groupFacts struct {
	agentFacts
	Epoch   uint64        `json:"epoch"`
	Members []memberFacts `json:"members"`
	Epochs  []epochFacts  `json:"epochs,omitempty"`
}

type memberFacts struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"` // claimed
	Kind  string `json:"kind,omitempty"`
	Admin bool   `json:"admin,omitempty"`

	called string
}

// epochFacts are one epoch of a group's history.
type epochFacts struct {
	Epoch   uint64   `json:"epoch"`
	First   uint64   `json:"firstVersion"`
	Added   []string `json:"added,omitempty"`   // ids, during the epoch
	Removed []string `json:"removed,omitempty"` // ids, whose leaving began it

	members int
	removed []string // for people
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
				f := groupFacts{agentFacts: factsOf(d), Epoch: d.Group.Epoch}
				f.Members = []memberFacts{}
				for _, m := range d.Group.Members {
					f.Members = append(f.Members, memberFacts{ID: m.ID.String(), Admin: d.IsAdmin(m.ID)})
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
			f := dir.groupFacts(c.Context, d)
			chain, err := dir.store.Chain(c.Context, d.ID())
			if err != nil {
				return err
			}
			f.Epochs = dir.epochsOf(c.Context, chain)
			return s.result(f, func(w io.Writer) { f.write(w) })
		},
	}
}

// groupFacts gathers what a group's document says, and what is known of its
// members.
func (d *directory) groupFacts(ctx context.Context, doc *envelope.Document) groupFacts {
	f := groupFacts{agentFacts: factsOf(doc), Epoch: doc.Group.Epoch, Members: []memberFacts{}}
	for _, m := range doc.Group.Members {
		member := memberFacts{ID: m.ID.String(), Admin: doc.IsAdmin(m.ID)}
		if known, err := d.newest(ctx, m.ID); err == nil {
			member.Name, member.Kind = known.Name, known.Kind.String()
		}
		member.called = d.called(ctx, m.ID)
		f.Members = append(f.Members, member)
	}
	return f
}

// epochsOf tells a group's history from its documents, oldest first.
func (d *directory) epochsOf(ctx context.Context, chain []*envelope.Document) []epochFacts {
	var epochs []epochFacts
	for i, doc := range chain {
		if i == 0 || doc.Group.Epoch != chain[i-1].Group.Epoch {
			epochs = append(epochs, epochFacts{Epoch: doc.Group.Epoch, First: doc.Version})
		}
		e := &epochs[len(epochs)-1]
		e.members = len(doc.Group.Members)
		if i == 0 {
			continue
		}
		for _, m := range chain[i-1].Group.Members {
			if _, still := doc.Member(m.ID); !still {
				e.Removed = append(e.Removed, m.ID.String())
				e.removed = append(e.removed, d.called(ctx, m.ID))
			}
		}
		for _, m := range doc.Group.Members {
			if _, before := chain[i-1].Member(m.ID); !before {
				e.Added = append(e.Added, m.ID.String())
			}
		}
	}
	return epochs
}

// write shows the facts to people.
func (f *groupFacts) write(w io.Writer) {
	fmt.Fprintf(w, "id       %s\n", f.ID)
	if f.Name != "" {
		fmt.Fprintf(w, "name     %s\n", printable(f.Name))
	}
	fmt.Fprintf(w, "version  %d\nepoch    %d\n", f.Version, f.Epoch)
	for _, m := range f.Members {
		admin := ""
		if m.Admin {
			admin = ", admin"
		}
		fmt.Fprintf(w, "member   %s%s\n", printable(m.called), admin)
	}
	for _, e := range f.Epochs {
		fmt.Fprintf(w, "history  epoch %d from version %d, %s in the end", e.Epoch, e.First, count(e.members, "member"))
		for _, gone := range e.removed {
			fmt.Fprintf(w, ", without %s", printable(gone))
		}
		fmt.Fprintln(w)
	}
}
