package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func inspectCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what an envelope says of itself",
		ArgsUsage: "[FILE]",
		Category:  "files",
		Description: "Reads an envelope from FILE or standard input to its end, checks the signatures of all of it, and shows what everybody can see; no key is needed.\n" +
			"With --ref it looks at one in the network, whose content it doesn't fetch.\n" +
			"With --particulars it also shows what only readers see: title, file name and readers.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "particulars", Aliases: []string{"p"}, Usage: "show what only readers see, too", DisableDefaultText: true},
			&cli.StringFlag{Name: "ref", Usage: "look at `[OWNER/]NAME` in the network"},
			&cli.Uint64Flag{Name: "version", Usage: "with --ref, look at version `N`", DefaultText: "the newest"},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			switch {
			case err != nil:
				return err
			case c.IsSet("ref") && len(args) > 0:
				return usagef(c, "it is either a file or --ref")
			case c.IsSet("version") && !c.IsSet("ref"):
				return usagef(c, "a file is one version, so --version needs --ref")
			case c.IsSet("ref"):
				if err := checkVersion(c); err != nil {
					return err
				}
				return s.inspectRef(c)
			}
			return s.inspectFile(c, args)
		},
	}
}

func (s *session) inspectFile(c *cli.Context, args []string) error {
	in, err := s.openInput(args)
	if err != nil {
		return err
	}
	defer in.Close()
	r, form, err := envelope.Sniff(in)
	if err != nil {
		return err
	}
	if form == envelope.FormAge {
		v := envelopeFacts{Format: "age"}
		return s.result(v, func(w io.Writer) { fmt.Fprintln(w, "a plain age file, which nobody signed") })
	}
	signed, err := envelope.ReadHeader(r)
	if err != nil {
		return err
	}
	facts, err := s.inspect(c.Context, signed, c.Bool("particulars"))
	if err != nil {
		return err
	}
	damage := facts.check(r, signed)
	if damage != nil {
		facts.Damage = damage.Error()
	}
	if err := s.result(facts, facts.write); err != nil {
		return err
	}
	return damage
}

// inspectRef shows what the header of an envelope in the network says.
func (s *session) inspectRef(c *cli.Context) error {
	ref, node, err := s.refAt(c.Context, c.String("ref"))
	if err != nil {
		return err
	}
	record, err := s.versionOrNewest(c, node, ref)
	if err != nil {
		return err
	}
	facts, err := s.inspect(c.Context, record.Signed, c.Bool("particulars"))
	if err != nil {
		return err
	}
	return s.result(facts, facts.write)
}

// envelopeFacts are what inspect shows. The manual page says what each is.
type envelopeFacts struct {
	Format      string            `json:"format"`
	Hash        string            `json:"hash,omitempty"`
	Author      string            `json:"author,omitempty"`
	AuthorName  string            `json:"authorName,omitempty"`
	AuthorState string            `json:"authorState,omitempty"`
	AuthorSince string            `json:"authorSince,omitempty"`
	Writer      string            `json:"writer,omitempty"`
	WriterName  string            `json:"writerName,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	OwnerName   string            `json:"ownerName,omitempty"`
	Name        string            `json:"name,omitempty"`
	Version     uint64            `json:"version,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Time        string            `json:"time,omitempty"`
	Public      bool              `json:"public,omitempty"`
	Deleted     bool              `json:"deleted,omitempty"`
	Size        *uint64           `json:"size,omitempty"`
	Padded      bool              `json:"padded,omitempty"`
	Segments    uint64            `json:"segments,omitempty"`
	Damage      string            `json:"damage,omitempty"`
	Particulars *particularsFacts `json:"particulars,omitempty"`

	called, writer, owner string // for people
}

// particularsFacts are what only readers see.
type particularsFacts struct {
	Title     string        `json:"title,omitempty"`
	FileName  string        `json:"fileName,omitempty"`
	MediaType string        `json:"mediaType,omitempty"`
	Readers   []readerFacts `json:"readers"`
	OpenedAs  string        `json:"openedAs,omitempty"`
}

// readerFacts are one reader.
type readerFacts struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`

	called string // for people
}

// inspect gathers what a header says, and its particulars if they are wanted.
func (s *session) inspect(ctx context.Context, signed *envelope.Signed, particulars bool) (*envelopeFacts, error) {
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return nil, err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	f := &envelopeFacts{
		Format: "l2p-envelope/1", Hash: signed.Hash().String(), Author: h.Author.String(), Owner: h.Owner.String(),
		Name: h.Name, Version: h.Version, Time: rfc3339(h.Time), Public: h.Public(), Deleted: h.Deleted, Size: h.Size, Padded: h.Padded(),
		called: dir.called(ctx, h.Author), owner: dir.called(ctx, h.Owner),
	}
	if !h.Parent.IsZero() {
		f.Parent = h.Parent.String()
	}
	if h.Writer() != h.Author {
		f.Writer, f.writer = h.Writer().String(), dir.called(ctx, h.Writer())
	}
	if err := f.judge(ctx, dir, h, signed); err != nil {
		return nil, err
	}
	if !particulars || h.Deleted {
		return f, nil
	}
	o, err := s.opener(ctx, signed, true)
	if err != nil {
		return nil, err
	}
	p := o.Particulars()
	f.Particulars = &particularsFacts{Title: p.Title, FileName: p.FileName, MediaType: p.MediaType, Readers: []readerFacts{}}
	if !o.Reader().IsZero() {
		f.Particulars.OpenedAs = o.Reader().String()
	}
	for _, id := range p.Readers {
		f.Particulars.Readers = append(f.Particulars.Readers, readerFacts{id.String(), dir.knownName(ctx, id), dir.called(ctx, id)})
	}
	return f, nil
}

// What inspect says of an author.
const (
	authorVerified = "verified"
	authorChanged  = "changed"
	authorRevoked  = "revoked"
	authorUnknown  = "unknown"
)

// judge finds out how far the author is to be believed. A signature that is
// wrong is an error.
func (f *envelopeFacts) judge(ctx context.Context, dir *directory, h *envelope.Header, signed *envelope.Signed) error {
	err := h.Verify(ctx, signed, dir)
	if is(err, envelope.NotFound) {
		f.AuthorState = authorUnknown
		f.called = f.Author + ", unknown: not known here, so not checked"
		return nil
	}
	if err != nil {
		return err
	}
	f.AuthorName, f.OwnerName = dir.knownName(ctx, h.Author), dir.knownName(ctx, h.Owner)
	if f.Writer != "" {
		f.writer += ", verified"
		f.WriterName = dir.knownName(ctx, h.Writer())
	}
	f.AuthorState = authorVerified
	doubt, err := h.RevokedBy(ctx, signed, dir)
	if err != nil {
		return err
	}
	if doubt != nil {
		f.AuthorState = authorRevoked
		f.called += ", REVOKED: whoever stole the key that signed it, which was replaced on " + day(doubt) + ", can have written it"
	} else if doubt, err = keyChanged(ctx, dir, h, signed); err != nil {
		return err
	} else if doubt != nil {
		f.AuthorState = authorChanged
		f.called += ", verified by an earlier key: there is another since " + day(doubt)
	}
	if doubt != nil {
		f.AuthorSince = rfc3339(doubt.Time)
		return nil
	}
	name, err := dir.revokedAuthor(ctx, h)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		f.called += fmt.Sprintf(", verified; whether the operator of its box has revoked it can't be told: %v", err)
	case name != "":
		f.AuthorState = authorRevoked
		f.called += ", REVOKED: the operator of the box has revoked " + name + ", whose keys somebody else may have"
	default:
		f.called += ", verified"
	}
	return nil
}

// keyChanged returns the document by which the author has another key than the
// one that signed, or nil.
func keyChanged(ctx context.Context, dir *directory, h *envelope.Header, signed *envelope.Signed) (*envelope.Document, error) {
	chain, err := dir.Chain(ctx, h.Author)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(signed.Signatures, func(sig envelope.Signature) bool { return sig.Algorithm == envelope.Ed25519 })
	by := envelope.FindVersion(chain, signed.Signatures[i].Version) // Verify has found it
	for _, later := range chain {
		if later.Version > by.Version && !later.SigningKey().Equal(by.SigningKey()) {
			return later, nil
		}
	}
	return nil, nil
}

// knownName returns an agent's name if it is known to be the agent's, else "".
func (d *directory) knownName(ctx context.Context, id envelope.AgentID) string {
	chain, err := d.Chain(ctx, id)
	if err != nil {
		return ""
	}
	if name := chain[len(chain)-1].Name; name != "" && d.isName(ctx, name, id) {
		return name
	}
	return ""
}

// check reads all segments and checks that each proves itself, that they are
// as many bytes as the header says, and that nothing follows.
func (f *envelopeFacts) check(r *bufio.Reader, signed *envelope.Signed) error {
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return err
	}
	full := envelope.MaxSegmentSize
	if h.Public() {
		full = envelope.SegmentPlainSize
	}
	var (
		buf   = make([]byte, envelope.MaxSegmentSize)
		n     uint64
		total uint64
	)
	defer func() { f.Segments = n }()
	for final := h.Deleted; !final; {
		seg, err := envelope.ReadSegment(r, envelope.SegmentID{Key: [32]byte(h.SegmentKey), Index: n}, buf)
		if err != nil {
			return err
		}
		if err := seg.Verify(); err != nil {
			return err
		}
		n, total = n+1, total+uint64(len(seg.Data))
		if final = seg.Final; !final && len(seg.Data) != full {
			return envelope.Errorf(envelope.Corrupt, "segment %d has %d bytes, and only the last may be short", n-1, len(seg.Data))
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return envelope.Errorf(envelope.Corrupt, "something follows the last segment")
	}
	if h.Size != nil && *h.Size != total {
		return envelope.Errorf(envelope.Corrupt, "the header says %d bytes of payload, but there are %d", *h.Size, total)
	}
	f.Size = &total
	return nil
}

// write shows the facts to people.
func (f *envelopeFacts) write(w io.Writer) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	line("author", "%s", f.called)
	if f.Writer != "" {
		line("writer", "%s", f.writer)
	}
	if f.Owner != f.Author {
		line("owner", "%s", f.owner)
	}
	if f.Name != "" {
		line("name", "%s", f.Name)
		line("version", "%d", f.Version)
	}
	if f.Parent != "" {
		line("parent", "%s", f.Parent)
	}
	line("time", "%s (by the author's clock)", f.Time)
	switch {
	case f.Deleted:
		line("readers", "none: the owner removed it")
	case f.Public:
		line("readers", "everybody")
	case f.Particulars == nil:
		line("readers", "sealed (--particulars shows them to readers)")
	}
	if f.Size != nil {
		padded := ""
		if f.Padded {
			padded = ", padded"
		}
		line("size", "%d bytes of payload%s", *f.Size, padded)
	}
	switch {
	case f.Damage != "":
		line("content", "DAMAGED: %s", f.Damage)
	case f.Segments > 0:
		line("content", "%s, all signatures hold", count(int(f.Segments), "segment"))
	}
	line("hash", "%s", f.Hash)
	if f.Particulars == nil {
		return
	}
	for _, t := range []struct{ what, text string }{
		{"title", f.Particulars.Title}, {"file name", f.Particulars.FileName}, {"media type", f.Particulars.MediaType},
	} {
		if t.text != "" {
			line(t.what, "%s", t.text)
		}
	}
	for _, reader := range f.Particulars.Readers {
		line("reader", "%s", reader.called)
	}
}
