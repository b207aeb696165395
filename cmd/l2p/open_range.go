package main

import (
	"context"
	"io"

	"l2p/envelope"
)

// A part is what --range asks for of a file.
type part struct {
	bytes envelope.Range
	file  *io.SectionReader
}

// partOf returns what text, from --range, says of the input; nil for "". It
// has to be a file: a pipe has no middle to begin in.
func partOf(in *input, text string) (*part, error) {
	if text == "" {
		return nil, nil
	}
	bytes, err := envelope.ParseRange(text)
	if err != nil {
		return nil, err
	}
	noFile := envelope.WithHint(envelope.Errorf(envelope.Usage, "--range needs a file, and this is none"), "keep it in a file first, or open all of it")
	if in.file == nil {
		return nil, noFile
	}
	info, err := in.file.Stat()
	if err != nil {
		return nil, fileError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, noFile
	}
	at, err := in.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fileError(err)
	}
	return &part{bytes, io.NewSectionReader(in.file, at, max(info.Size()-at, 0))}, nil
}

// open writes the part of the envelope that has the given header to dst.
func (p *part) open(ctx context.Context, o *envelope.Opener, dst io.Writer, header *envelope.Signed) error {
	begin := make([]byte, len(envelope.Magic))
	if _, err := p.file.ReadAt(begin, 0); err != nil {
		return fileError(err)
	}
	if string(begin) != envelope.Magic {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "--range can't look into text, which this envelope is kept as"), "open all of it")
	}
	at := envelope.SegmentsAt(header)
	size := p.file.Size() - at
	return o.Range(ctx, dst, io.NewSectionReader(p.file, at, size), size, p.bytes)
}
