package main

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"l2p/envelope"
)

// An output takes the bytes that a command makes: standard output, or a file
// that appears under its name when it is complete, or never. Users of age know
// that -o replaces a file that exists; here it is replaced in one step.
type output struct {
	io.Writer
	s    *session
	file *os.File // nil: nothing to finish
	temp string   // name of file until it is finished; empty: written in place
	path string   // name it gets
}

// outputKind says what may be written to a terminal.
type outputKind int

const (
	binaryOutput outputKind = iota // nothing, unless -o - insists
	textOutput                     // what a terminal shows, unless -o - insists
	safeOutput                     // everything: it is armored or made here
)

// createOutput opens the output that -o says: "" is standard output, "-" too
// and takes anything to a terminal. input, if not nil, is what the command
// reads: it is refused as output.
func (s *session) createOutput(path string, kind outputKind, input *os.File) (*output, error) {
	if path == "" || path == "-" {
		out := &output{s: s, Writer: s.stdout}
		if f, ok := s.stdout.(*os.File); ok {
			widen(f)
		}
		if path == "" && isTerminal(s.stdout) {
			switch kind {
			case binaryOutput:
				return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "standard output is a terminal, and this is binary data"),
					"redirect it, name a file with -o, take text with -a, or insist with -o -")
			case textOutput:
				out.Writer = &terminalText{w: s.stdout}
			}
		}
		return out, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is a directory", quoted(path)), "name a file with -o")
	case err == nil && input != nil && sameFile(info, input):
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is both input and output", quoted(path)), "name another file with -o")
	case err == nil && !info.Mode().IsRegular(): // a pipe or device: there is nothing to rename
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, fileError(err)
		}
		return &output{s: s, Writer: f, file: f}, nil
	case err == nil: // what a symbolic link leads to is replaced, not the link
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, fileError(err)
		}
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return nil, fileError(err)
	}
	temp := filepath.Join(dir, ".l2p-"+rand.Text()+".tmp")
	mode := os.FileMode(0o666)
	if info != nil {
		mode = info.Mode().Perm()
	}
	s.willFinish(temp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		s.finished(temp)
		return nil, fileError(named(err, path))
	}
	return &output{s: s, Writer: &earlyWriter{f: f, path: path}, file: f, temp: temp, path: path}, nil
}

// An earlyWriter writes a file that will be synced, and has the disk begin
// while the rest is still being made.
type earlyWriter struct {
	f     *os.File
	path  string // name that it gets, for errors
	n     int64  // bytes written
	begun int64  // of these, bytes that the disk has been told of
}

// earlyPiece is what the disk is told of at once, in bytes.
const earlyPiece = 16 << 20

func (w *earlyWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if w.n += int64(n); w.n-w.begun >= earlyPiece {
		writeBack(w.f, w.begun, w.n-w.begun)
		w.begun = w.n
	}
	return n, named(err, w.path)
}

// named returns an error of a temporary file as one of the file that it was to
// become, which is the one that people know.
func named(err error, path string) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return &fs.PathError{Op: file.Op, Path: path, Err: file.Err}
	}
	return err
}

func sameFile(info os.FileInfo, f *os.File) bool {
	other, err := f.Stat()
	return err == nil && os.SameFile(info, other)
}

// finish makes the output durable under its name if err is nil, and else
// removes what there is of it. It returns err, or what went wrong here.
func (o *output) finish(err error) error {
	if o.file == nil {
		return fileError(err)
	}
	if o.temp == "" {
		if closeErr := o.file.Close(); err == nil {
			err = closeErr
		}
		return fileError(err)
	}
	defer o.s.finished(o.temp)
	if err == nil {
		err = named(o.file.Sync(), o.path)
	}
	if closeErr := o.file.Close(); err == nil {
		err = named(closeErr, o.path)
	}
	if err == nil {
		err = os.Rename(o.temp, o.path)
	}
	if err != nil {
		os.Remove(o.temp)
		return fileError(err)
	}
	return fileError(syncDir(filepath.Dir(o.path)))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalText passes on UTF-8 text and refuses what could drive a terminal.
type terminalText struct {
	w    io.Writer
	rest []byte // the beginning of a character, at most 3 bytes
}

func (t *terminalText) Write(p []byte) (int, error) {
	text := append(t.rest, p...)
	n := 0
	for n < len(text) && utf8.FullRune(text[n:]) {
		r, size := utf8.DecodeRune(text[n:])
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return 0, envelope.WithHint(envelope.Errorf(envelope.Usage, "standard output is a terminal, and this is not plain text"),
				"redirect it, or name a file with -o")
		}
		n += size
	}
	if _, err := t.w.Write(text[:n]); err != nil {
		return 0, err
	}
	t.rest = append([]byte(nil), text[n:]...)
	return len(p), nil
}
