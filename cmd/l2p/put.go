package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// wantedCopies is how many nodes keep an envelope in a network that has enough.
const wantedCopies = 3

func putCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "put",
		Usage:     "publish a file or folder, sealed for its readers",
		ArgsUsage: "[OWNER/]NAME FILE|FOLDER|-",
		Category:  "network",
		Description: "Seals FILE, FOLDER or standard input (-) and stores it as the next version of NAME.\n" +
			"Nobody sees anything of it before all of it is safe on enough nodes.\n" +
			"Without --to, --readers or --public the readers of the version before stay.\n" +
			"OWNER is a group whose members share what it has; else it is who publishes.",
		Flags: append(readerFlags(),
			&cli.StringFlag{Name: "owner", Usage: "publish in the name of `GROUP`"},
			&cli.StringFlag{Name: "title", Usage: "a `TEXT` that only readers see"},
			&cli.StringFlag{Name: "media-type", Usage: "what it is, such as `application/pdf`, for readers only"},
			&cli.BoolFlag{Name: "pad", Usage: "hide the size: make it up to 12 % larger, as many other sizes", DisableDefaultText: true},
		),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 2, 2)
			if err != nil {
				return err
			}
			return s.put(c, args[0], args[1])
		},
	}
}

// putResult is what put prints with --json.
type putResult struct {
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Hash    string `json:"hash"`
	Bytes   uint64 `json:"bytes"` // stored, of one copy
	Readers int    `json:"readers"`
	Public  bool   `json:"public"`
	Copies  uint   `json:"copies"`
	Want    uint   `json:"want"`
}

func (s *session) put(c *cli.Context, name, path string) error {
	ctx := c.Context
	names, err := s.readerNames(c)
	if err != nil {
		return err
	}
	src, err := s.openPayload(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close()
	ref, err := s.putRef(ctx, name, c.String("owner"))
	if err != nil {
		return err
	}
	node, err := s.memberNode(ctx)
	if err != nil {
		return err
	}
	if err := s.checkOwner(ctx, ref.Owner); err != nil {
		return err
	}
	parent, err := s.parentRecord(ctx, node, ref)
	if err != nil && !is(err, envelope.NotFound) {
		return err
	}
	opts := envelope.SealOptions{Name: ref.Name, Public: c.Bool("public"), Title: c.String("title"), FileName: src.name, MediaType: src.mediaType, Pad: c.Bool("pad")}
	if c.IsSet("media-type") {
		opts.MediaType = c.String("media-type")
	}
	if parent != nil {
		opts.Parent = parent.Version
	}
	asBefore := len(names) == 0 && !opts.Public && parent != nil && !parent.Header.Deleted
	if !asBefore {
		if opts.Readers, err = s.readers(c, names); err != nil {
			return err
		}
	}
	// What needs no key is checked.
	if opts.Author, err = s.secrets(ctx); err != nil {
		return err
	}
	identities, err := s.identities(ctx, true)
	if err != nil {
		return err
	}
	if opts.Owner, err = s.ownerSigner(ctx, ref.Owner, identities); err != nil {
		return err
	}
	if asBefore {
		if err := s.readersAsBefore(ctx, parent, identities, &opts); err != nil {
			return err
		}
	}
	// An author made before there was a network may not be known to it yet, but
	// then the node has let us in as its operator.
	if node.Welcome().Operator {
		if err := s.publishAgent(ctx, node, opts.Author.Agent()); err != nil {
			return err
		}
	}
	left := "readers see nothing of it"
	if parent != nil && !parent.Header.Deleted {
		left = fmt.Sprintf("readers still see version %d", parent.Version.N)
	}
	reply, signed, err := s.putEnvelope(ctx, node, ref, src, opts, left+", and after a day the nodes drop what was sent")
	if err != nil {
		return err
	}
	return s.printPut(ctx, ref, signed, opts, reply)
}

// putRef returns the place that put writes to.
func (s *session) putRef(ctx context.Context, name, owner string) (envelope.Ref, error) {
	ref, err := s.ref(ctx, name)
	if err != nil || owner == "" {
		return ref, err
	}
	if parsed, err := parseRef(name); err != nil || parsed.owner != "" {
		return ref, envelope.Errorf(envelope.Usage, "%s names an owner already, so --owner has no place", quoted(name))
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return ref, err
	}
	ref.Owner, err = dir.resolve(ctx, owner)
	return ref, err
}

// mostNamed is how many readers a remark names.
const mostNamed = 5

// readersAsBefore sets the readers that the version before has.
func (s *session) readersAsBefore(ctx context.Context, parent *envelope.Record, identities []envelope.Identity, opts *envelope.SealOptions) error {
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	before, err := envelope.NewOpener(ctx, parent.Signed, envelope.OpenOptions{Identities: identities, Documents: dir})
	if is(err, envelope.NotReader) {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "you can't see who may read version %d", parent.Version.N), "name the readers with --to")
	}
	if err != nil {
		return err
	}
	if before.Author() == envelope.Revoked {
		return envelope.WithHint(
			envelope.Errorf(envelope.Denied, "version %d was signed with a key that was revoked since, so its readers may be a thief's choice", parent.Version.N),
			"name the readers with --to")
	}
	if parent.Header.Public() {
		s.remark("nobody is named with --to, so it is for everybody, as version %d is", parent.Version.N)
		opts.Public = true
		return nil
	}
	var called []string
	for _, id := range before.Particulars().Readers {
		r, err := s.reader(ctx, id.String())
		if err != nil {
			return err
		}
		opts.Readers = append(opts.Readers, r)
		called = append(called, dir.short(ctx, id))
	}
	slices.Sort(called)
	if more := len(called) - mostNamed; more > 0 {
		called = append(called[:mostNamed], fmt.Sprintf("%d more", more))
	}
	s.remark("nobody is named with --to, so it is for the readers of version %d: %s", parent.Version.N, strings.Join(called, ", "))
	return nil
}

// putEnvelope seals src and stores it: the segments first and then, when all are
// safe, the header, with which it is there. left says what is so until then.
func (s *session) putEnvelope(ctx context.Context, node *netq.Client, ref envelope.Ref, src *source, opts envelope.SealOptions, left string) (wire.PutReply, *envelope.Signed, error) {
	sealer, err := envelope.NewSealer(opts)
	if err != nil {
		return wire.PutReply{}, nil, err
	}
	bar := s.newProgress(ref.Name, src.size)
	defer bar.end()
	s.leaves(left)
	size, worst, err := sendPayload(ctx, node, sealer, ref.Owner, src, bar)
	if err != nil {
		return worst, nil, envelope.WithHint(err, "%s", left)
	}
	signed, err := sealer.Header(&size)
	if err != nil {
		return worst, nil, err
	}
	bar.end()
	reply, err := s.publish(ctx, node, ref, signed)
	if err != nil {
		return worst, nil, err
	}
	if worst.Want > 0 && worst.Copies < reply.Copies {
		reply.Copies = worst.Copies
	}
	return reply, signed, nil
}

// publish stores an envelope's header, whose segments are safe, and remembers it
// as the newest.
func (s *session) publish(ctx context.Context, node *netq.Client, ref envelope.Ref, signed *envelope.Signed) (wire.PutReply, error) {
	header, err := envelope.ParseHeader(signed)
	if err != nil {
		return wire.PutReply{}, err
	}
	left := fmt.Sprintf("`l2p history` tells whether version %d is there all the same", header.Version)
	s.leaves(left)
	reply, err := node.PutRecord(ctx, envelope.KindEnvelope, signed.Encode())
	if is(err, envelope.Conflict) {
		return reply, envelope.WithHint(err, "somebody else was faster: see `l2p history`, and try again on top of the newest version")
	}
	if err != nil {
		return reply, envelope.WithHint(err, "%s", left)
	}
	s.leaves("")
	store, err := s.store()
	if err != nil {
		return reply, err
	}
	if err := store.Remember(ref, envelope.Version{N: header.Version, Hash: signed.Hash()}); err != nil {
		s.warn("published, but not remembered: %v", err)
	}
	return reply, nil
}

func (s *session) printPut(ctx context.Context, ref envelope.Ref, signed *envelope.Signed, opts envelope.SealOptions, reply wire.PutReply) error {
	header, err := envelope.ParseHeader(signed)
	if err != nil {
		return err
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	if reply.Want < wantedCopies {
		s.warn("the network has only %s, so this has %s and not %d; more boxes make it safer",
			count(int(reply.Want), "node"), count(int(reply.Want), "copy"), wantedCopies)
	}
	result := putResult{
		Owner: ref.Owner.String(), Name: ref.Name, Version: header.Version, Hash: signed.Hash().String(), Bytes: *header.Size,
		Readers: len(opts.Readers), Public: opts.Public, Copies: reply.Copies, Want: reply.Want,
	}
	return s.result(result, func(w io.Writer) {
		readers := "for everybody"
		if !opts.Public {
			readers = "for " + count(len(opts.Readers), "reader")
		}
		fmt.Fprintf(w, "%s version %d, %s, %s, %s\n",
			dir.place(ctx, ref), header.Version, readers, formatSize(*header.Size), copiesSoFar(reply))
	})
}

// copiesSoFar says how many copies there are. A put is acknowledged when
// enough nodes have it; the others follow.
func copiesSoFar(reply wire.PutReply) string {
	if reply.Copies < reply.Want {
		return fmt.Sprintf("%d of %d copies so far", reply.Copies, reply.Want)
	}
	return fmt.Sprintf("%d of %d copies", reply.Copies, reply.Want)
}

// count returns n things in words, such as "1 node", "3 nodes" or "2 boxes".
func count(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "x"):
		return fmt.Sprintf("%d %ses", n, thing)
	case strings.HasSuffix(thing, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(thing, "y"))
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// A source is what put seals: a file, a folder's archive or standard input.
type source struct {
	io.Reader
	name      string // base name; empty for standard input
	mediaType string
	size      uint64 // about; 0: unknown
	stop      func()
}

// Close ends the source. Nothing of it goes on after that.
func (src *source) Close() { src.stop() }

// openPayload opens a file, a folder or, for "-", standard input. Of a folder
// everything is looked at that could stop it later.
func (s *session) openPayload(ctx context.Context, path string) (*source, error) {
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fileError(err)
		}
		if info.IsDir() {
			return openFolder(ctx, path)
		}
	}
	in, err := s.openInput([]string{path})
	if err != nil {
		return nil, err
	}
	src := &source{Reader: in.source(), stop: in.Close}
	if path != "-" {
		src.name = filepath.Base(path)
	}
	if in.file != nil {
		if info, err := in.file.Stat(); err == nil && info.Mode().IsRegular() {
			src.size = uint64(info.Size())
		}
	}
	return src, nil
}

func openFolder(ctx context.Context, dir string) (*source, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fileError(err)
	}
	size, err := checkFolder(ctx, dir)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when the archive does, or when Close breaks the pipe
		defer close(done)
		w.CloseWithError(archiveFolder(ctx, w, dir))
	}()
	stop := func() {
		r.Close()
		<-done
	}
	src := &source{Reader: r, mediaType: folderMediaType, size: uint64(size), stop: stop}
	if name := filepath.Base(abs); name != string(filepath.Separator) {
		src.name = name
	}
	return src, nil
}
