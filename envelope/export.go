package envelope

import (
	"context"
	"io"
)

// Export reads a sealed envelope from src up to its end, takes off what isn't
// age's, and writes the age file inside to dst, byte for byte: any age program
// with the right identity opens it. src may be armored. No key is needed.
//
// Export checks each segment before it writes it. It doesn't check who signed
// the header, and the age file doesn't say. A public envelope has no age file
// inside: that is an error of kind Usage. A tombstone is one of kind NotFound.
func Export(dst io.Writer, src io.Reader) error {
	r, form, err := Sniff(src)
	if err != nil {
		return err
	}
	if form == FormAge {
		return Errorf(Usage, "this is an age file already")
	}
	s, err := ReadHeader(r)
	if err != nil {
		return err
	}
	h, err := ParseHeader(s)
	switch {
	case err != nil:
		return err
	case h.Deleted:
		return errDeleted()
	case h.Public():
		return WithHint(Errorf(Usage, "a public envelope isn't sealed, so there is no age file inside"), "open it")
	}
	if _, _, err := splitAge(h.Age); err != nil {
		return err
	}
	if _, err := dst.Write(h.Age); err != nil {
		return err
	}
	p := pipeline{
		key:  [32]byte(h.SegmentKey),
		read: func(b *batch) error { return readFrame(b, r, h) },
		work: func(b *batch) error { return b.segment.Verify() },
		emit: func(b *batch) error {
			_, err := dst.Write(b.segment.Data)
			return err
		},
	}
	return p.run(context.Background())
}
