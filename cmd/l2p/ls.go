package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

func lsCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list envelopes in the network",
		ArgsUsage: "[OWNER|@BOX ...]",
		Category:  "network",
		Description: "Lists what an OWNER has (a person or group), or all owners that a BOX has names for; without arguments, what you have.\n" +
			"READ says whether you can open it: yes, sealed (for others), or keys locked, where only your keys could tell: `l2p unlock` unlocks them.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "list what all boxes of the network have", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, -1)
			if err != nil {
				return err
			}
			if c.Bool("all") && len(args) > 0 {
				return usagef(c, "--all lists everything, so it takes no names")
			}
			return s.ls(c.Context, args, c.Bool("all"))
		},
	}
}

// lsRow is one envelope of ls.
type lsRow struct {
	Owner      string `json:"owner"`
	OwnerName  string `json:"ownerName,omitempty"`
	Name       string `json:"name"`
	Version    uint64 `json:"version"`
	Bytes      uint64 `json:"bytes"`    // of payload
	Time       string `json:"time"`     // by the author's clock
	Readable   string `json:"readable"` // yes, sealed or keys locked
	Author     string `json:"author"`
	AuthorName string `json:"authorName,omitempty"`
	Title      string `json:"title,omitempty"`

	owner, time, author string // as the table shows them
}

func (s *session) ls(ctx context.Context, args []string, all bool) error {
	node, err := s.memberNode(ctx)
	if err != nil {
		return err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	owners, err := s.owners(ctx, dir, args, all)
	if err != nil {
		return err
	}
	identities, unlocked, err := s.identitiesUnasked(ctx)
	if err != nil {
		return err
	}
	rows := []lsRow{}
	for _, owner := range owners {
		more, err := s.lsOwner(ctx, node, dir, owner, identities, unlocked)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	return s.result(rows, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, "nothing is there")
			return
		}
		cells := make([][]string, 0, len(rows))
		for _, r := range rows {
			cells = append(cells, []string{r.owner + "/" + r.Name, fmt.Sprint(r.Version), formatSize(r.Bytes), r.time, r.Readable, r.author})
		}
		table(w, []string{"NAME", "VERSION", "SIZE", "TIME", "READ", "AUTHOR"}, cells)
	})
}

// identitiesUnasked returns what opens envelopes if that needs no passphrase
// to be typed, and whether it could be told.
func (s *session) identitiesUnasked(ctx context.Context) ([]envelope.Identity, bool, error) {
	me, err := s.acting()
	if is(err, envelope.NotFound) && s.as == "" {
		return nil, true, nil // nobody, who reads nothing
	}
	if err != nil {
		return nil, false, err
	}
	if me.Locked && s.passphraseFile == "" && s.unlocked == nil {
		if s.unlocked = s.fromKeeper(ctx, me); s.unlocked == nil {
			return nil, false, nil
		}
	}
	identities, err := s.identities(ctx, true)
	return identities, true, err
}

// owners returns the agents that args name, each once.
func (s *session) owners(ctx context.Context, dir *directory, args []string, all bool) ([]envelope.AgentID, error) {
	if all {
		boxes, err := dir.allBoxes(ctx)
		if err != nil {
			return nil, err
		}
		for _, box := range boxes {
			args = append(args, "@"+box)
		}
	} else if len(args) == 0 {
		me, err := s.acting()
		if err != nil {
			return nil, envelope.WithHint(err, "or say whose envelopes to list, or --all")
		}
		return []envelope.AgentID{me.ID()}, nil
	}
	var owners []envelope.AgentID
	for _, arg := range args {
		var some []envelope.AgentID
		var err error
		if box, ok := strings.CutPrefix(arg, "@"); ok {
			some, err = s.boundBy(ctx, dir, box)
		} else {
			var id envelope.AgentID
			id, err = dir.resolve(ctx, arg)
			some = []envelope.AgentID{id}
		}
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			if !slices.Contains(owners, id) {
				owners = append(owners, id)
			}
		}
	}
	return owners, nil
}

// boundBy returns the agents that a box has names for.
func (s *session) boundBy(ctx context.Context, dir *directory, box string) ([]envelope.AgentID, error) {
	if err := envelope.CheckBoxName(box); err != nil {
		return nil, err
	}
	if dir.client == nil {
		return nil, dir.why
	}
	id, err := dir.box(ctx, box)
	if err != nil {
		return nil, err
	}
	var agents []envelope.AgentID
	for r, err := range dir.client.Records(ctx, wire.ListRecords{Kind: envelope.KindBinding, Owner: id, AllNames: true}) {
		if is(err, envelope.NotFound) {
			break
		}
		if err == nil {
			err = r.Binding.Verify(ctx, dir)
		}
		if err != nil {
			return nil, err
		}
		if !r.Binding.Agent.IsZero() {
			agents = append(agents, r.Binding.Agent)
		}
	}
	return agents, nil
}

// allBoxes returns the names of the network's boxes, ascending.
func (d *directory) allBoxes(ctx context.Context) ([]string, error) {
	if d.client == nil {
		return nil, d.why
	}
	if _, err := d.box(ctx, ""); err != nil && !is(err, envelope.NotFound) {
		return nil, err
	}
	names := make([]string, 0, len(d.boxes))
	for name := range d.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// lsOwner lists what one owner has.
func (s *session) lsOwner(ctx context.Context, node *netq.Client, dir *directory, owner envelope.AgentID, identities []envelope.Identity, unlocked bool) ([]lsRow, error) {
	called, ownerName := dir.short(ctx, owner), dir.knownName(ctx, owner)
	var rows []lsRow
	for r, err := range node.Records(ctx, wire.ListRecords{Kind: envelope.KindEnvelope, Owner: owner, AllNames: true}) {
		if is(err, envelope.NotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.Header.Deleted {
			continue
		}
		row := lsRow{
			Owner: owner.String(), OwnerName: ownerName, Name: r.Ref.Name, Version: r.Version.N, Time: rfc3339(r.Header.Time),
			Author: r.Header.Author.String(), AuthorName: dir.knownName(ctx, r.Header.Author),
			owner: called, time: formatTime(r.Header.Time), author: dir.short(ctx, r.Header.Author),
		}
		if r.Header.Size != nil {
			row.Bytes = *r.Header.Size
		}
		if row.Readable, row.Title, err = readable(ctx, r, dir, identities, unlocked); err != nil {
			s.warn("%s/%s is passed over: %v", called, r.Ref.Name, err)
			continue
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// readable says whether the identities open an envelope, which must be
// authentic, and then its title.
func readable(ctx context.Context, r *envelope.Record, docs envelope.Documents, identities []envelope.Identity, unlocked bool) (answer, title string, err error) {
	if !unlocked && !r.Header.Public() {
		return "keys locked", "", envelope.VerifyRecord(ctx, r, docs)
	}
	opener, err := envelope.NewOpener(ctx, r.Signed, envelope.OpenOptions{Identities: identities, Documents: docs})
	if is(err, envelope.NotReader) {
		return "sealed", "", nil
	}
	if err != nil {
		return "", "", err
	}
	return "yes", opener.Particulars().Title, nil
}
