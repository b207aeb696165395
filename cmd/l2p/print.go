package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// fail prints err in one line on standard error and returns the exit code. No
// matter what the error quotes, it can't drive the terminal.
func fail(s *session, err error) int {
	fmt.Fprintf(s.stderr, "l2p: %s\n", printable(err.Error()))
	kind := envelope.KindOf(err)
	if kind < envelope.Other || kind > envelope.WrongNetwork {
		kind = envelope.Other // a node of a later version may know more kinds
	}
	return int(kind)
}

// remark writes one line for people to standard error, unless --quiet.
func (s *session) remark(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(s.stderr, "l2p: %s\n", printable(fmt.Sprintf(format, args...)))
	}
}

// warn writes one line to standard error even with --quiet.
func (s *session) warn(format string, args ...any) {
	fmt.Fprintf(s.stderr, "l2p: warning: %s\n", printable(fmt.Sprintf(format, args...)))
}

// result writes what a command found: v in JSON with --json, else whatever
// text writes. An error in writing is the command's error.
func (s *session) result(v any, text func(w io.Writer)) error {
	if s.json {
		enc := json.NewEncoder(s.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fileError(err)
		}
		return nil
	}
	w := &errWriter{w: s.stdout}
	text(w)
	if w.err != nil {
		return fileError(w.err)
	}
	return nil
}

// noResult refuses --json for a command whose output is content.
func (s *session) noResult(c *cli.Context) error {
	if s.json {
		return usagef(c, "%s has no result to write as JSON, so --json has no place", c.Command.HelpName)
	}
	return nil
}

// An errWriter keeps the first error of the writer below, so that text can be
// written line by line and checked once.
type errWriter struct {
	w   io.Writer
	err error
}

func (w *errWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// table writes rows in columns. Cells are made printable, whoever wrote them.
// There is a heading so that columns can gain company later; scripts use --json.
func table(w io.Writer, heading []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(heading, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// printable returns text as a terminal may see it.
func printable(text string) string { return envelope.SafeText(text) }

// maxQuoted is how many bytes of a name an error repeats.
const maxQuoted = 80

// quoted returns text from anywhere in quotes, escaped to ASCII and cut to a
// length that fits on a line.
func quoted(text string) string {
	if len(text) > maxQuoted {
		return fmt.Sprintf("%+q… (%d bytes)", text[:maxQuoted], len(text))
	}
	return fmt.Sprintf("%+q", text)
}

// is reports whether err is of the given kind.
func is(err error, kind envelope.ErrorKind) bool {
	return err != nil && envelope.KindOf(err) == kind
}
