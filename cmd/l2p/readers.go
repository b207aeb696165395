package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// maxReadersFile bounds a file of readers, in bytes. An envelope has at most
// envelope.MaxReaders.
const maxReadersFile = 1 << 20

// readerFlags are the flags by which seal and put say who may read.
func readerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "to", Aliases: []string{"t"}, Usage: "for `READER`, an agent or a group; as often as there are readers"},
		&cli.StringSliceFlag{Name: "readers", Aliases: []string{"R"}, Usage: "for the readers in `FILE`, one a line; # begins a comment"},
		&cli.BoolFlag{Name: "public", Usage: "for everybody: signed, not encrypted", DisableDefaultText: true},
		&cli.BoolFlag{Name: "not-me", Usage: "leave out who seals", DisableDefaultText: true},
	}
}

// readerNames returns whom readerFlags name, and the agent that the command acts
// as unless --not-me; nobody for --public, and where nobody is named.
func (s *session) readerNames(c *cli.Context) ([]string, error) {
	names, err := namedReaders(c, "to")
	if err != nil {
		return nil, err
	}
	switch {
	case c.Bool("public") && c.Bool("pad"):
		return nil, usagef(c, "a public envelope hides nothing, so --pad has no place")
	case c.Bool("public") && (len(names) > 0 || c.Bool("not-me")):
		return nil, usagef(c, "a public envelope is for everybody, so --to, --readers and --not-me have no place")
	case len(names) == 0 && c.Bool("not-me"):
		return nil, usagef(c, "--not-me needs --to or --readers")
	case len(names) == 0 || c.Bool("not-me"):
		return names, nil
	}
	me, err := s.acting()
	if err != nil {
		return nil, err
	}
	return append(names, me.ID().String()), nil
}

// namedReaders returns whom the given flag and --readers name.
func namedReaders(c *cli.Context, flag string) ([]string, error) {
	names := c.StringSlice(flag)
	for _, file := range c.StringSlice("readers") {
		more, err := readReadersFile(file)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	return names, nil
}

// readers returns the recipients that go by names, each once: none for --public,
// else at least one.
func (s *session) readers(c *cli.Context, names []string) ([]envelope.Recipient, error) {
	if len(names) == 0 && !c.Bool("public") {
		hint := "name readers with --to or --readers, or say --public"
		if me, err := s.acting(); err == nil {
			hint = fmt.Sprintf("`-t %s` seals for yourself alone, and --public for everybody; more readers with --to or --readers", printable(title(me.Document)))
		}
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "nobody to seal for"), "%s", hint)
	}
	var readers []envelope.Recipient
	for _, name := range names {
		r, err := s.reader(c.Context, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(readers, func(have envelope.Recipient) bool { return have.Agent == r.Agent }) {
			readers = append(readers, r)
		}
	}
	s.tellOfMany(len(readers))
	return readers, nil
}

// tellOfMany suggests a group where there are many readers.
func (s *session) tellOfMany(readers int) {
	if readers >= envelope.ManyReaders {
		s.remark("each of %d readers makes the header larger, in every version; a group of them would be one reader", readers)
	}
}

// reader returns the recipient of an agent or group. For an own agent it asks no
// network: the keystore has all its keys.
func (s *session) reader(ctx context.Context, name string) (envelope.Recipient, error) {
	dir, err := s.directory(ctx)
	if err != nil {
		return envelope.Recipient{}, err
	}
	id, err := dir.resolve(ctx, name)
	if err != nil {
		return envelope.Recipient{}, err
	}
	if own, err := dir.store.Agent(id); err == nil {
		return envelope.RecipientOf(own.Document)
	}
	d, err := dir.newest(ctx, id)
	if err != nil {
		return envelope.Recipient{}, err
	}
	if d.Kind == envelope.Box {
		return envelope.Recipient{}, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is a box, and boxes read nothing", quoted(name)),
			"name its people or a group of them")
	}
	if err := keystore.CheckReader(ctx, dir, d); err != nil {
		return envelope.Recipient{}, dir.sayWhoRenews(ctx, err)
	}
	revoked, err := dir.revoked(ctx, id)
	if err != nil {
		return envelope.Recipient{}, err
	}
	if revoked != "" {
		return envelope.Recipient{}, envelope.WithHint(envelope.Errorf(envelope.Denied, "%s is revoked by the operator of its box: somebody else may have its keys", revoked),
			"leave it out until it is recovered and bound again")
	}
	s.warnOldKeys(ctx, d)
	return envelope.RecipientOf(d)
}

// readReadersFile returns the names in a file of readers.
func readReadersFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReadersFile+1))
	if err != nil {
		return nil, fileError(err)
	}
	if len(data) > maxReadersFile {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s has more than %d bytes, too many for a list of readers", quoted(path), maxReadersFile), "make a group")
	}
	var names []string
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if strings.ContainsAny(line, " \t,;") {
			return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "line %d of %s is not one reader: %s", n, quoted(path), quoted(line)),
				"write one name or id a line")
		}
		names = append(names, line)
	}
	if len(names) == 0 {
		return nil, envelope.Errorf(envelope.Usage, "no readers in %s", quoted(path))
	}
	return names, nil
}
