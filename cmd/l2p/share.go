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

func shareCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "share",
		Usage:     "give an envelope more readers",
		ArgsUsage: "[OWNER/]NAME",
		Category:  "network",
		Description: "Publishes a version with the same content for more readers. The content isn't moved, whatever its size.\n" +
			"Who reads it already stays a reader. To take readers away use `l2p unshare`.\n" +
			"With --file it reads an envelope from FILE and writes one for more readers to standard output or to -o.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "to", Aliases: []string{"t"}, Usage: "for `READER`, an agent or a group, too; as often as there are readers"},
			&cli.StringSliceFlag{Name: "readers", Aliases: []string{"R"}, Usage: "for the readers in `FILE`, too, one a line; # begins a comment"},
			&cli.BoolFlag{Name: "renew", Usage: "publish it though nobody is new, for readers whose keys have changed", DisableDefaultText: true},
			&cli.StringFlag{Name: "file", Usage: "share the envelope in `FILE`, - for standard input"},
			outputFlag(),
			&cli.BoolFlag{Name: "armor", Aliases: []string{"a"}, Usage: "with --file, write text", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			least := 1
			if c.IsSet("file") {
				least = 0
			}
			args, err := operands(c, least, least)
			if err != nil {
				return err
			}
			names, err := namedReaders(c, "to")
			if err != nil {
				return err
			}
			if len(names) == 0 && !c.Bool("renew") {
				return usagef(c, "nobody to share with: name readers with --to or --readers")
			}
			if c.IsSet("file") {
				return s.shareFile(c, names)
			}
			if c.IsSet("output") || c.Bool("armor") {
				return usagef(c, "-o and -a need --file")
			}
			return s.share(c.Context, args[0], names, c.Bool("renew"))
		},
	}
}

func unshareCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "unshare",
		Usage:     "take readers away from an envelope",
		ArgsUsage: "[OWNER/]NAME",
		Category:  "network",
		Description: "Whoever could read it once has its key, so the content is fetched, sealed anew for the other readers, and published as the next version.\n" +
			"What was read stays read, and the versions before stay readable to those who could read them.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "from", Aliases: []string{"to", "t"}, Usage: "no longer for `READER`, an agent or a group; as often as there are such readers"},
			&cli.StringSliceFlag{Name: "readers", Aliases: []string{"R"}, Usage: "no longer for the readers in `FILE`, one a line; # begins a comment"},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			names, err := namedReaders(c, "from")
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return usagef(c, "from whom? name readers with --from or --readers")
			}
			return s.unshare(c.Context, args[0], names)
		},
	}
}

// shareResult is what share and unshare print with --json.
type shareResult struct {
	Owner   string   `json:"owner"`
	Name    string   `json:"name"`
	Version uint64   `json:"version"`
	Hash    string   `json:"hash"`
	Readers []string `json:"readers"` // ids, of those who can read it now
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed bool     `json:"changed"` // whether a version was published
	Copies  uint     `json:"copies,omitempty"`
	Want    uint     `json:"want,omitempty"`
}

// A sharing is what share and unshare know of an envelope before they ask for keys.
type sharing struct {
	ref  envelope.Ref
	node *netq.Client
	dir  *directory
	old  *envelope.Record
}

// sharing finds the envelope, and refuses what can't get other readers.
func (s *session) sharing(ctx context.Context, text string) (*sharing, error) {
	sh := new(sharing)
	var err error
	if sh.ref, sh.node, err = s.refAt(ctx, text); err != nil {
		return nil, err
	}
	if sh.dir, err = s.directory(ctx); err != nil {
		return nil, err
	}
	if err := s.checkOwner(ctx, sh.ref.Owner); err != nil {
		return nil, err
	}
	if sh.old, err = s.newestRecord(ctx, sh.node, sh.ref); err != nil {
		return nil, err
	}
	name := printable(sh.ref.Name)
	switch {
	case sh.old.Header.Deleted:
		return nil, envelope.Errorf(envelope.NotFound, "%s is removed", name)
	case sh.old.Header.Public():
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is for everybody", name), "to seal what comes next, `l2p put` it --to its readers")
	}
	return sh, nil
}

// unlockShared opens the envelope and returns its Opener and who signs a new version.
func (s *session) unlockShared(ctx context.Context, sh *sharing) (o *envelope.Opener, author, owner envelope.Signer, err error) {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	author = secrets
	identities, err := s.identities(ctx, true)
	if err != nil {
		return nil, nil, nil, err
	}
	if owner, err = s.ownerSigner(ctx, sh.ref.Owner, identities); err != nil {
		return nil, nil, nil, err
	}
	o, err = envelope.NewOpener(ctx, sh.old.Signed, envelope.OpenOptions{Identities: identities, Documents: sh.dir})
	switch {
	case is(err, envelope.NotReader):
		err = envelope.WithHint(envelope.Errorf(envelope.NotReader, "none of your identities opens version %d of %s", sh.old.Version.N, printable(sh.ref.Name)),
			"only who can read it can share it; or `l2p put` it anew")
	case err == nil && o.Author() == envelope.Revoked:
		err = errRevoked(fmt.Sprintf("version %d of %s", sh.old.Version.N, printable(sh.ref.Name)))
	}
	return o, author, owner, err
}

// errRevoked refuses to share what an author's old key signed: with the new key's
// signature it would look as if nothing were wrong.
func errRevoked(what string) error {
	return envelope.WithHint(envelope.Errorf(envelope.Denied, "%s was signed with a key that was revoked since, so perhaps by a thief", what),
		"look at it, and seal it anew if it is as it was")
}

func (s *session) share(ctx context.Context, text string, names []string, renew bool) error {
	sh, err := s.sharing(ctx, text)
	if err != nil {
		return err
	}
	more, err := s.recipients(ctx, names)
	if err != nil {
		return err
	}
	o, author, owner, err := s.unlockShared(ctx, sh)
	if err != nil {
		return err
	}
	before := o.Particulars().Readers
	readers, added, err := s.withMore(ctx, before, more)
	if err != nil {
		return err
	}
	result := newShareResult(sh, sh.old.Version)
	result.Readers, result.Added = idStrings(before), idStrings(added)
	if len(added) == 0 && !renew {
		return s.result(result, func(w io.Writer) {
			fmt.Fprintf(w, "%s stays at version %d: all of them can read it already\n", sh.dir.place(ctx, sh.ref), sh.old.Version.N)
		})
	}
	signed, err := o.Rewrap(envelope.RewrapOptions{Author: author, Owner: owner, Parent: sh.old.Version, Readers: readers})
	if err != nil {
		return err
	}
	reply, err := s.publish(ctx, sh.node, sh.ref, signed)
	if err != nil {
		return err
	}
	result.published(signed, readers, reply)
	return s.result(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s version %d, the same content, for %s%s, %s\n",
			sh.dir.place(ctx, sh.ref), result.Version, count(len(readers), "reader"), sh.listed(ctx, ", new: ", added), copiesSoFar(reply))
	})
}

func (s *session) unshare(ctx context.Context, text string, names []string) error {
	sh, err := s.sharing(ctx, text)
	if err != nil {
		return err
	}
	gone, err := sh.dir.resolveAll(ctx, names)
	if err != nil {
		return err
	}
	o, author, owner, err := s.unlockShared(ctx, sh)
	if err != nil {
		return err
	}
	p := o.Particulars()
	for i, id := range gone {
		if !slices.Contains(p.Readers, id) {
			return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is none of the readers of version %d", quoted(names[i]), sh.old.Version.N),
				"who reads it as a member of a group is taken out of the group, with `l2p group remove`")
		}
	}
	left := slices.DeleteFunc(slices.Clone(p.Readers), func(id envelope.AgentID) bool { return slices.Contains(gone, id) })
	if len(left) == 0 {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "nobody would be left to read %s", printable(sh.ref.Name)), "`l2p rm` removes it")
	}
	opts := envelope.SealOptions{
		Author: author, Owner: owner, Name: sh.ref.Name, Parent: sh.old.Version,
		Title: p.Title, FileName: p.FileName, MediaType: p.MediaType, Pad: o.Header().Padded(),
	}
	if opts.Readers, err = s.recipients(ctx, idStrings(left)); err != nil {
		return err
	}
	s.remark("who could read it has its key, so it is sealed anew; what they have read stays read, and version %d and before stay readable to them", sh.old.Version.N)
	if writer := sh.old.Header.Writer(); writer != author.Agent() {
		s.remark("sealed by you, it is signed as yours, and no longer as that of %s", sh.dir.short(ctx, writer))
	}
	src := fetchSource(ctx, sh.node, o)
	defer src.Close()
	reply, signed, err := s.putEnvelope(ctx, sh.node, sh.ref, src, opts, fmt.Sprintf("version %d is still the newest, and after a day the nodes drop what was sent", sh.old.Version.N))
	if err != nil {
		return err
	}
	result := newShareResult(sh, sh.old.Version)
	result.Removed = idStrings(gone)
	result.published(signed, opts.Readers, reply)
	return s.result(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s version %d, sealed anew for %s%s, %s\n",
			sh.dir.place(ctx, sh.ref), result.Version, count(len(left), "reader"), sh.listed(ctx, ", no longer: ", gone), copiesSoFar(reply))
	})
}

// fetchSource returns an envelope's content, which is fetched while it is read.
func fetchSource(ctx context.Context, node *netq.Client, o *envelope.Opener) *source {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when all is fetched, or with stop
		defer close(done)
		w.CloseWithError(fetchPayload(ctx, node, o, w, nil))
	}()
	src := &source{Reader: r, stop: func() {
		cancel()
		r.Close()
		<-done
	}}
	if size := o.Header().Size; size != nil {
		src.size = *size
	}
	return src
}

// withMore returns the readers that there are before, with the keys that they
// have now, and more, and who of these is new.
func (s *session) withMore(ctx context.Context, before []envelope.AgentID, more []envelope.Recipient) (readers []envelope.Recipient, added []envelope.AgentID, err error) {
	if readers, err = s.recipients(ctx, idStrings(before)); err != nil {
		return nil, nil, err
	}
	for _, r := range more {
		if !slices.Contains(before, r.Agent) && !slices.Contains(added, r.Agent) {
			added = append(added, r.Agent)
			readers = append(readers, r)
		}
	}
	s.tellOfMany(len(readers))
	return readers, added, nil
}

// recipients returns as readers whom names mean.
func (s *session) recipients(ctx context.Context, names []string) ([]envelope.Recipient, error) {
	var readers []envelope.Recipient
	for _, name := range names {
		r, err := s.reader(ctx, name)
		if err != nil {
			return nil, err
		}
		readers = append(readers, r)
	}
	return readers, nil
}

func newShareResult(sh *sharing, v envelope.Version) *shareResult {
	return &shareResult{Owner: sh.ref.Owner.String(), Name: sh.ref.Name, Version: v.N, Hash: v.Hash.String(), Added: []string{}, Removed: []string{}}
}

// published notes the version that was published.
func (r *shareResult) published(signed *envelope.Signed, readers []envelope.Recipient, reply wire.PutReply) {
	r.Version, r.Hash, r.Changed, r.Copies, r.Want = r.Version+1, signed.Hash().String(), true, reply.Copies, reply.Want
	r.Readers = []string{}
	for _, reader := range readers {
		r.Readers = append(r.Readers, reader.Agent.String())
	}
	slices.Sort(r.Readers)
}

func idStrings(ids []envelope.AgentID) []string {
	list := []string{}
	for _, id := range ids {
		list = append(list, id.String())
	}
	slices.Sort(list)
	return list
}

// listed names agents behind what, if there are any.
func (sh *sharing) listed(ctx context.Context, what string, ids []envelope.AgentID) string {
	if len(ids) == 0 {
		return ""
	}
	var names []string
	for i, id := range ids {
		if i == mostNamed {
			names = append(names, fmt.Sprintf("%d more", len(ids)-i))
			break
		}
		names = append(names, sh.dir.short(ctx, id))
	}
	return what + strings.Join(names, " and ")
}
