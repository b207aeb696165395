package main

import (
	"io"
	"os"

	"l2p/envelope"
)

// An input is what a command reads: a file or standard input.
type input struct {
	io.Reader
	file *os.File // nil where standard input is no file, as in tests
}

// openInput opens the file that args names, or standard input if args is empty
// or "-".
func (s *session) openInput(args []string) (*input, error) {
	if len(args) == 0 || args[0] == "-" {
		f, ok := s.stdin.(*os.File)
		if ok {
			widen(f)
		}
		return &input{Reader: s.stdin, file: f}, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, fileError(err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is a directory", quoted(args[0])), "archive it first: tar c DIR | l2p …")
	}
	return &input{Reader: f, file: f}, nil
}

// Close closes the input. What was read is checked elsewhere.
func (in *input) Close() {
	if in.file != nil {
		in.file.Close()
	}
}

// source returns what Seal reads: the file itself if there is one, since a
// regular file is read in parallel and tells its size.
func (in *input) source() io.Reader {
	if in.file != nil {
		return in.file
	}
	return in.Reader
}
