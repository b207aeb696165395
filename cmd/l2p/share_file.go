package main

import (
	"bufio"
	"io"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// shareFile writes the envelope that --file names with a header for more
// readers.
func (s *session) shareFile(c *cli.Context, names []string) error {
	if err := s.noResult(c); err != nil {
		return err
	}
	in, err := s.openInput([]string{c.String("file")})
	if err != nil {
		return err
	}
	defer in.Close()
	kind := binaryOutput
	if c.Bool("armor") {
		kind = safeOutput
	}
	out, err := s.createOutput(c.String("output"), kind, in.file)
	if err != nil {
		return err
	}
	if !c.Bool("armor") {
		return out.finish(s.shareTo(c, out, in, names))
	}
	armor := envelope.NewArmorWriter(out)
	if err := s.shareTo(c, armor, in, names); err != nil {
		return out.finish(err)
	}
	return out.finish(armor.Close())
}

func (s *session) shareTo(c *cli.Context, dst io.Writer, src io.Reader, names []string) error {
	ctx := c.Context
	r, form, err := envelope.Sniff(src)
	if err != nil {
		return err
	}
	if form == envelope.FormAge {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "this is a plain age file, which nobody signed"), "`l2p open` and `l2p seal` make an envelope of it")
	}
	old, err := s.sharedHeader(r)
	if err != nil {
		return err
	}
	more, err := s.recipients(ctx, names)
	if err != nil {
		return err
	}
	o, err := s.opener(ctx, old, false)
	if err != nil {
		return err
	}
	if o.Author() == envelope.Revoked {
		return errRevoked("this")
	}
	author, err := s.secrets(ctx)
	if err != nil {
		return err
	}
	readers, _, err := s.withMore(ctx, o.Particulars().Readers, more)
	if err != nil {
		return err
	}
	signed, err := o.Rewrap(envelope.RewrapOptions{Author: author, Readers: readers})
	if err != nil {
		return err
	}
	return o.Reframe(ctx, dst, r, signed)
}

// sharedHeader reads a header, and refuses one that can't get other readers.
func (s *session) sharedHeader(r *bufio.Reader) (*envelope.Signed, error) {
	signed, err := envelope.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	h, err := envelope.ParseHeader(signed)
	if err != nil {
		return nil, err
	}
	me, err := s.acting()
	if err != nil {
		return nil, err
	}
	switch {
	case h.Name != "":
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "this is version %d of %s", h.Version, quoted(h.Name)), "share it where it is: l2p share NAME")
	case h.Public():
		return nil, envelope.Errorf(envelope.Usage, "this is for everybody")
	case h.Owner != me.ID():
		return nil, envelope.WithHint(envelope.Errorf(envelope.Denied, "only who sealed it can give it more readers"), "to pass it on, open it and seal it as yours")
	}
	return signed, nil
}
