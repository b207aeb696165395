package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
)

func getCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "fetch an envelope from the network and open it",
		ArgsUsage: "[OWNER/]NAME",
		Category:  "network",
		Description: "A file goes to -o, to standard output with -o -, or to the file name that its author gave it.\n" +
			"A folder is unpacked as a new folder; with -o - its archive (tar) is written.\n" +
			"Nothing is there under its name before all of it is complete and proven.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `PATH`, the file or folder that it becomes; - is standard output"},
			&cli.Uint64Flag{Name: "version", Usage: "get version `N`", DefaultText: "the newest"},
			&cli.StringFlag{Name: "from", Usage: "insist that `AGENT` wrote it, or a group owns it"},
			&cli.BoolFlag{Name: "force", Usage: "replace what is there already", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			if err := checkVersion(c); err != nil {
				return err
			}
			if c.String("output") == "-" && s.json {
				return usagef(c, "standard output takes the content, so --json has no place beside -o -")
			}
			return s.get(c, args[0])
		},
	}
}

func (s *session) get(c *cli.Context, text string) error {
	ctx, output, force := c.Context, c.String("output"), c.Bool("force")
	if err := checkDestination(output, force); err != nil {
		return err
	}
	ref, node, err := s.refAt(ctx, text)
	if err != nil {
		return err
	}
	record, err := s.versionOrNewest(c, node, ref)
	if err != nil {
		return err
	}
	if err := s.checkFrom(ctx, record.Signed, c.String("from")); err != nil {
		return err
	}
	opener, err := s.openRecord(ctx, record)
	if err != nil {
		return err
	}
	return s.fetch(ctx, node, record, opener, output, force)
}

// versionOrNewest gets the version of an envelope that --version says.
func (s *session) versionOrNewest(c *cli.Context, node *netq.Client, ref envelope.Ref) (*envelope.Record, error) {
	if !c.IsSet("version") {
		return s.newestRecord(c.Context, node, ref)
	}
	return s.record(c.Context, node, ref, c.Uint64("version"))
}

// checkVersion refuses a --version that none has.
func checkVersion(c *cli.Context) error {
	if c.IsSet("version") && c.Uint64("version") == 0 {
		return usagef(c, "versions are counted from 1")
	}
	return nil
}

// checkDestination refuses what -o names where neither a file nor a folder could
// go, so that nobody unlocks keys in vain.
func checkDestination(output string, force bool) error {
	if output == "" || output == "-" {
		return nil
	}
	if info, err := os.Stat(output); err == nil && info.IsDir() {
		return checkNotThere(output, force)
	}
	_, err := os.Stat(filepath.Dir(output))
	return fileError(err)
}

// openRecord opens an envelope's header with what identities there are.
func (s *session) openRecord(ctx context.Context, record *envelope.Record) (*envelope.Opener, error) {
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	name := printable(record.Ref.Name)
	if record.Header.Deleted {
		return nil, envelope.WithHint(envelope.Errorf(envelope.NotFound, "%s was removed by %s on %s", name, dir.short(ctx, record.Header.Author), formatTime(record.Header.Time)),
			"--version gets an earlier version as long as it is kept")
	}
	opts := envelope.OpenOptions{Documents: dir}
	if !record.Header.Public() {
		if opts.Identities, err = s.identities(ctx, true); err != nil {
			return nil, err
		}
	}
	opener, err := envelope.NewOpener(ctx, record.Signed, opts)
	if is(err, envelope.NotReader) {
		return nil, envelope.Errorf(envelope.NotReader, "%s is sealed for others: none of your identities opens it", name)
	}
	if err != nil {
		return nil, err
	}
	s.warnAuthor(ctx, opener)
	return opener, nil
}

// fetch gets the payload and writes it where it belongs.
func (s *session) fetch(ctx context.Context, node *netq.Client, record *envelope.Record, opener *envelope.Opener, output string, force bool) error {
	folder := opener.Particulars().MediaType == folderMediaType
	var size uint64
	if opener.Header().Size != nil {
		size = *opener.Header().Size
	}
	bar := s.newProgress(record.Ref.Name, size)
	defer bar.end()
	if output == "-" {
		out, err := s.createOutput("", textOutput, nil)
		if err != nil {
			return err
		}
		return out.finish(fetchPayload(ctx, node, opener, out, bar))
	}
	dest := output
	if output == "" {
		var err error
		if dest, err = outputName(record, opener); err != nil {
			return err
		}
	}
	// A file that -o names is replaced, as in all commands.
	if err := checkNotThere(dest, force || output != "" && !folder); err != nil {
		return err
	}
	if folder {
		if err := s.fetchFolder(ctx, node, opener, dest, force, bar); err != nil {
			return err
		}
	} else {
		out, err := s.createOutput(dest, binaryOutput, nil)
		if err != nil {
			return err
		}
		if err := out.finish(fetchPayload(ctx, node, opener, out, bar)); err != nil {
			return err
		}
	}
	bar.end()
	return s.printGot(ctx, record, opener, dest)
}

// fetchFolder unpacks a folder while it arrives.
func (s *session) fetchFolder(ctx context.Context, node *netq.Client, opener *envelope.Opener, dest string, force bool, bar *progress) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when all is fetched, or when the pipe is closed below
		defer close(done)
		w.CloseWithError(fetchPayload(ctx, node, opener, w, bar))
	}()
	err := unpackFolder(ctx, s, r, dest, force)
	r.Close()
	cancel()
	<-done
	return err
}

// outputName returns the file name that the author gave the content, or else
// the last part of the envelope's name. It is refused where it could do harm in
// the current folder.
func outputName(record *envelope.Record, opener *envelope.Opener) (string, error) {
	name := opener.Particulars().FileName
	if name == "" {
		name = path.Base(record.Ref.Name)
	}
	if checkEntryName(name) != nil || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || !filepath.IsLocal(name) {
		return "", envelope.WithHint(envelope.Errorf(envelope.Usage, "the author calls the file %s, which is no safe name", quoted(name)), "say where it belongs with -o")
	}
	return name, nil
}

// getResult is what get prints with --json.
type getResult struct {
	Owner      string `json:"owner"`
	OwnerName  string `json:"ownerName,omitempty"`
	Name       string `json:"name"`
	Version    uint64 `json:"version"`
	Author     string `json:"author"`
	AuthorName string `json:"authorName,omitempty"`
	Writer     string `json:"writer,omitempty"` // of the content, where that is another
	WriterName string `json:"writerName,omitempty"`
	Title      string `json:"title,omitempty"`
	Path       string `json:"path"`
	Folder     bool   `json:"folder"`
}

func (s *session) printGot(ctx context.Context, record *envelope.Record, opener *envelope.Opener, dest string) error {
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	p := opener.Particulars()
	result := getResult{
		Owner: record.Ref.Owner.String(), OwnerName: dir.knownName(ctx, record.Ref.Owner), Name: record.Ref.Name, Version: record.Version.N,
		Author: record.Header.Author.String(), AuthorName: dir.knownName(ctx, record.Header.Author),
		Title: p.Title, Path: dest, Folder: p.MediaType == folderMediaType,
	}
	by := dir.short(ctx, record.Header.Writer())
	if record.Header.Writer() != record.Header.Author {
		result.Writer, result.WriterName = record.Header.Writer().String(), dir.knownName(ctx, record.Header.Writer())
		by += ", shared by " + dir.short(ctx, record.Header.Author) + ","
	}
	return s.result(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s version %d by %s is in %s\n", dir.place(ctx, record.Ref), record.Version.N, by, printable(dest))
	})
}
