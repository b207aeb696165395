package envelope

import (
	"bytes"
	"io"
	"math/bits"
)

// padMark is the first byte of the padding that hides how long a content is.
// Behind it are zeros, up to a length that many contents share.
const padMark = 0x80

// paddedSize returns how long a content of n bytes is with its padding, of
// which there is at least one byte.
func paddedSize(n uint64) uint64 { return padme(n + 1) }

// padme returns the smallest of Padmé's lengths that is not below n, which is
// at most 12 % more: Nikitin et al., "Reducing Metadata Leakage from Encrypted
// Files and Communication with PURBs", PoPETs 2019 (4), algorithm 1. In binary
// a length has no more significant digits than its number of digits takes to
// write down, so that there are few of them.
func padme(n uint64) uint64 {
	if n < 2 {
		return n
	}
	exponent := bits.Len64(n) - 1
	low := exponent - bits.Len(uint(exponent)) // digits that are zero
	if low <= 0 {
		return n
	}
	mask := uint64(1)<<low - 1
	return (n + mask) &^ mask
}

// A padder reads a content and then its padding.
type padder struct {
	src    io.Reader
	n      uint64 // bytes of content so far
	left   uint64 // bytes of padding
	marked bool   // the padding's first byte has been read
	ended  bool   // src has
}

func (p *padder) Read(buf []byte) (int, error) {
	if !p.ended {
		n, err := p.src.Read(buf)
		p.n += uint64(n)
		if err != io.EOF {
			return n, err
		}
		p.ended, p.left = true, paddedSize(p.n)-p.n
		if n > 0 {
			return n, nil
		}
	}
	if p.left == 0 {
		return 0, io.EOF
	}
	buf = buf[:min(uint64(len(buf)), p.left)]
	clear(buf)
	if !p.marked && len(buf) > 0 {
		buf[0], p.marked = padMark, true
	}
	p.left -= uint64(len(buf))
	return len(buf), nil
}

// An unpadder writes a content without its padding. What could be padding it
// keeps back, and needs no more than a number for that.
type unpadder struct {
	dst   io.Writer
	n     uint64 // bytes so far, all together
	held  bool   // a mark is kept back
	zeros uint64 // and so many zeros behind it
}

func (u *unpadder) Write(data []byte) (int, error) {
	u.n += uint64(len(data))
	end := len(bytes.TrimRight(data, "\x00")) // behind the last byte that isn't zero
	if end == 0 && u.held {
		u.zeros += uint64(len(data))
		return len(data), nil
	}
	if len(data) == 0 {
		return 0, nil
	}
	if err := u.release(); err != nil {
		return 0, err
	}
	content := data
	if end > 0 && data[end-1] == padMark {
		content = data[:end-1]
		u.held, u.zeros = true, uint64(len(data)-end)
	}
	if len(content) > 0 {
		if n, err := u.dst.Write(content); err != nil {
			return n, err
		}
	}
	return len(data), nil
}

// release writes what was kept back and wasn't padding.
func (u *unpadder) release() error {
	if !u.held {
		return nil
	}
	u.held = false
	if _, err := u.dst.Write([]byte{padMark}); err != nil {
		return err
	}
	zeros := make([]byte, min(u.zeros, ChunkSize))
	for ; u.zeros > 0; u.zeros -= uint64(len(zeros)) {
		zeros = zeros[:min(u.zeros, ChunkSize)]
		if _, err := u.dst.Write(zeros); err != nil {
			return err
		}
	}
	return nil
}

// Close checks that all ended with the padding that it must have. It doesn't
// close dst.
func (u *unpadder) Close() error {
	if !u.held || u.n != paddedSize(u.n-1-u.zeros) {
		return errPadding()
	}
	return nil
}

func errPadding() error { return Errorf(Corrupt, "the content's padding is not as it must be") }

// Content returns a writer that passes on to dst the content of what it is
// given: the plaintexts of all segments, in order, up to the final one. Close
// checks that they were whole, and doesn't close dst. Errors of dst are
// returned as they are, wrong padding is one of kind Corrupt.
func (o *Opener) Content(dst io.Writer) io.WriteCloser {
	if o.header != nil && o.header.Padded() {
		return &unpadder{dst: dst}
	}
	return unpadded{dst}
}

// unpadded is an unpadder for a content without padding.
type unpadded struct{ io.Writer }

func (unpadded) Close() error { return nil }
