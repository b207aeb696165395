package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

func historyCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "list all versions of an envelope",
		ArgsUsage: "[OWNER/]NAME",
		Category:  "network",
		Description: "Versions with one number are a fork: somebody published at the same time, or while the network was cut in two.\n" +
			"Of these the one marked with * wins: the smaller hash decides, not the time.",
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
			dir, err := s.directory(ctx)
			if err != nil {
				return err
			}
			var records []*envelope.Record
			for r, err := range node.Records(ctx, wire.ListRecords{Kind: envelope.KindEnvelope, Owner: ref.Owner, Name: ref.Name, History: true}) {
				if is(err, envelope.NotFound) {
					break
				}
				if err == nil {
					err = envelope.VerifyRecord(ctx, r, dir)
				}
				if err != nil {
					return err
				}
				records = append(records, r)
			}
			if len(records) == 0 && s.incomplete.Load() {
				return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "too few nodes answer to know whether there is such a thing"), "try again when more nodes are up (l2p status)")
			}
			if len(records) == 0 {
				return dir.noEnvelope(ctx, ref, 0)
			}
			return s.printHistory(c, dir, records)
		},
	}
}

// historyRow is one version of history.
type historyRow struct {
	Version    uint64 `json:"version"`
	Hash       string `json:"hash"`
	Parent     string `json:"parent,omitempty"`
	Wins       bool   `json:"wins"` // among those with its number
	Bytes      uint64 `json:"bytes"`
	Time       string `json:"time"` // by the author's clock
	Author     string `json:"author"`
	AuthorName string `json:"authorName,omitempty"`
	Deleted    bool   `json:"deleted,omitempty"`
}

func (s *session) printHistory(c *cli.Context, dir *directory, records []*envelope.Record) error {
	wins := make(map[uint64]envelope.Version) // of each number
	versions := make(map[uint64]int)          // with each number
	for _, r := range records {
		versions[r.Version.N]++
		if have, ok := wins[r.Version.N]; !ok || r.Version.Newer(have) {
			wins[r.Version.N] = r.Version
		}
	}
	rows := make([]historyRow, 0, len(records))
	cells := make([][]string, 0, len(records))
	for _, r := range records {
		entry := historyRow{
			Version: r.Version.N, Hash: r.Version.Hash.String(), Wins: wins[r.Version.N] == r.Version,
			Time: rfc3339(r.Header.Time), Author: r.Header.Author.String(), AuthorName: dir.knownName(c.Context, r.Header.Author), Deleted: r.Header.Deleted,
		}
		if !r.Parent.IsZero() {
			entry.Parent = r.Parent.String()
		}
		if r.Header.Size != nil {
			entry.Bytes = *r.Header.Size
		}
		rows = append(rows, entry)
		size := formatSize(entry.Bytes)
		if entry.Deleted {
			size = "removed"
		}
		cells = append(cells, []string{fmt.Sprint(entry.Version) + mark(entry.Wins && versions[entry.Version] > 1), size, formatTime(r.Header.Time), dir.short(c.Context, r.Header.Author), r.Version.Hash.Short()})
	}
	return s.result(rows, func(w io.Writer) {
		table(w, []string{"VERSION", "SIZE", "TIME", "AUTHOR", "HASH"}, cells)
	})
}
