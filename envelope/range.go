package envelope

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
)

// A Range is a part of a content, in bytes counted from 0, as HTTP has it
// (RFC 9110, 14.1.2). [ParseRange] makes one.
type Range struct {
	first, last uint64 // both included; last is maxRange where it is open
	suffix      uint64 // not 0: the last so many bytes, whatever first and last say
}

const maxRange = 1<<64 - 1

// ParseRange parses "0-499", the first 500 bytes; "500-", all from byte 500
// on; "-500", the last 500. An error is of kind Usage.
func ParseRange(text string) (Range, error) {
	malformed := WithHint(Errorf(Usage, "%.40q is no range of bytes", text), "say it as 0-499, 500- or -500")
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return Range{}, malformed
	}
	first, errFirst := strconv.ParseUint(from, 10, 63)
	last, errLast := strconv.ParseUint(to, 10, 63)
	switch {
	case from == "" && errLast == nil && last > 0:
		return Range{suffix: last}, nil
	case errFirst == nil && to == "":
		return Range{first: first, last: maxRange}, nil
	case errFirst == nil && errLast == nil && first <= last:
		return Range{first: first, last: last}, nil
	}
	return Range{}, malformed
}

// in returns the first byte of the range in a content of n bytes, and the one
// behind its last.
func (r Range) in(n uint64) (from, to uint64, err error) {
	from, to = r.first, n
	if r.last < n {
		to = r.last + 1
	}
	if r.suffix > 0 {
		from, to = n-min(n, r.suffix), n
	}
	if from >= to {
		return 0, 0, Errorf(Usage, "there is nothing in that range: the content has %d bytes", n)
	}
	return from, to, nil
}

// SegmentsAt returns where in a file segment 0 begins, behind the header.
func SegmentsAt(header *Signed) int64 { return int64(len(appendHeader(nil, header))) }

// OpenRange is [Open] for a part of the content. It reads the header and the
// segments that it needs from src, which has size bytes, and is not armored:
// that is an error of kind Usage. See [Opener.Range].
func OpenRange(ctx context.Context, dst io.Writer, src io.ReaderAt, size int64, part Range, opts OpenOptions) (*Opener, error) {
	input := io.NewSectionReader(src, 0, size)
	r := bufio.NewReader(input)
	begin, _ := r.Peek(len(ageIntro))
	var o *Opener
	if string(begin) == ageIntro {
		var err error
		if o, err = newAgeOpener(r, opts.Identities); err != nil {
			return nil, err
		}
	} else if !bytes.HasPrefix(begin, []byte(Magic)) {
		return nil, WithHint(Errorf(Usage, "only what is an envelope from its first byte on can be opened in the middle"), "open all of it")
	} else {
		s, err := ReadHeader(r)
		if err != nil {
			return nil, err
		}
		if o, err = NewOpener(ctx, s, opts); err != nil {
			return nil, err
		}
	}
	read, err := input.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	at := read - int64(r.Buffered())
	return o, o.Range(ctx, dst, io.NewSectionReader(src, at, size-at), size-at, part)
}

// Range writes a part of the content to dst. src is what stands behind the
// header, the segments' frames, of size bytes. Only those segments are read
// that hold the part, each is proven before anything of it is written, and of
// the others nothing is known. If the end matters and the header doesn't say
// where it is, the final segment is read, too; and if there is padding, all
// segments that have some.
//
// Errors are of kind Usage if the part begins behind the end, and Corrupt also
// if size isn't that of the envelope. Errors of dst are returned as they are.
func (o *Opener) Range(ctx context.Context, dst io.Writer, src io.ReaderAt, size int64, part Range) error {
	p, err := o.place(src, size)
	if err != nil {
		return err
	}
	n := p.content
	if o.header != nil && o.header.Padded() {
		if n, err = p.unpadded(ctx); err != nil {
			return err
		}
	} else if part.suffix > 0 && (o.header == nil || o.header.Size == nil) {
		if err := p.segments(ctx, p.n-1, p.n, func(uint64, []byte) error { return nil }); err != nil {
			return err
		}
	}
	from, to, err := part.in(n)
	if err != nil {
		return err
	}
	return p.segments(ctx, from/SegmentPlainSize, (to-1)/SegmentPlainSize+1, func(at uint64, plain []byte) error {
		if end := at + uint64(len(plain)); end > to {
			plain = plain[:to-at]
		}
		if at < from {
			plain = plain[from-at:]
		}
		_, err := dst.Write(plain)
		return err
	})
}

// A placed payload is one whose segments are in a file, whose size tells how
// many there are.
type placed struct {
	o       *Opener
	src     io.ReaderAt
	size    uint64 // of src, in bytes
	full    uint64 // size of a full segment there
	n       uint64 // segments, at least one
	content uint64 // bytes of plaintext, with the padding
}

func (o *Opener) place(src io.ReaderAt, size int64) (*placed, error) {
	layout, head := o.payload.layout, uint64(SegmentFrameHeader)
	if o.header == nil {
		head = 0 // an age file has no frames
	}
	p := &placed{o: o, src: src, size: uint64(max(size, 0)), full: head + uint64(layout.segment())}
	p.n = max(1, (p.size+p.full-1)/p.full)
	payload := p.size - min(p.size, p.n*head)
	if tail := p.size - (p.n-1)*p.full; tail < head || !layout.isSize(payload) {
		return nil, Errorf(Corrupt, "the envelope is truncated")
	}
	if o.header != nil && o.header.Size != nil && *o.header.Size != payload {
		return nil, Errorf(Corrupt, "the envelope has %d bytes of payload, not %d as its author says: it is truncated, or something follows", payload, *o.header.Size)
	}
	chunks := max(1, (payload+uint64(layout.chunk())-1)/uint64(layout.chunk()))
	p.content = payload - chunks*uint64(layout)
	return p, nil
}

// segments opens the segments from the first to the one before end and passes
// their plaintexts on, in order and with their place in the content.
func (p *placed) segments(ctx context.Context, first, end uint64, emit func(at uint64, plain []byte) error) error {
	src := io.NewSectionReader(p.src, int64(first*p.full), int64(p.size-first*p.full))
	line := pipeline{first: first, end: end, read: func(b *batch) error { return p.read(b, src) }}
	if p.o.header == nil {
		line.work = p.o.openAgeSegment
	} else {
		line.key = [32]byte(p.o.header.SegmentKey)
		line.work = func(b *batch) error {
			var err error
			b.out, err = p.o.Segment(b.outBuf[:0], &b.segment)
			return err
		}
	}
	line.emit = func(b *batch) error { return emit(b.segment.ID.Index*SegmentPlainSize, b.out) }
	return line.run(ctx)
}

// read reads one segment, and insists that the final one is where the file ends.
func (p *placed) read(b *batch, src io.Reader) error {
	final := b.segment.ID.Index == p.n-1
	if p.o.header == nil {
		b.segment.Final = final
		b.in = b.inBuf[:min(p.full, p.size-b.segment.ID.Index*p.full)]
		return readAll(src, b.in)
	}
	s, err := ReadSegment(src, b.segment.ID, b.inBuf)
	if err != nil {
		return err
	}
	b.segment = *s
	if s.Final != final {
		return Errorf(Corrupt, "the envelope does not end with segment %d as it should: it is truncated, or something follows", s.ID.Index)
	}
	return nil
}

// unpadded returns the number of bytes of content without the padding, which
// it looks for from the end.
func (p *placed) unpadded(ctx context.Context) (uint64, error) {
	for i := p.n; i > 0; i-- {
		mark := -1 // place of the last byte that isn't zero
		var last byte
		err := p.segments(ctx, i-1, i, func(_ uint64, plain []byte) error {
			if mark = len(bytes.TrimRight(plain, "\x00")) - 1; mark >= 0 {
				last = plain[mark]
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if mark < 0 {
			continue
		}
		if n := (i-1)*SegmentPlainSize + uint64(mark); last == padMark && p.content == paddedSize(n) {
			return n, nil
		}
		break
	}
	return 0, errPadding()
}
