package main

import (
	"context"

	"l2p/envelope"
)

// opener returns what opens the segments of the envelope with the given header,
// for the agent that the command acts as. Keys are unlocked only if they are
// needed. The agent's own are tried first, then those of the groups that the
// keystore knows, which it has to search; then a node, if one is up, is asked
// for others.
func (s *session) opener(ctx context.Context, header *envelope.Signed, allowUnknownAuthor bool) (*envelope.Opener, error) {
	dir, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	opts := envelope.OpenOptions{Documents: dir, AllowUnknownAuthor: allowUnknownAuthor}
	o, err := envelope.NewOpener(ctx, header, opts) // enough for a public envelope
	if is(err, envelope.NotReader) {
		own, locked := s.secrets(ctx)
		if locked != nil {
			return nil, locked
		}
		opts.Identities = own.Identities()
		o, err = envelope.NewOpener(ctx, header, opts)
	}
	for _, online := range []bool{false, true} {
		if !is(err, envelope.NotReader) || online && dir.client == nil {
			break
		}
		var more error
		if opts.Identities, more = s.identities(ctx, online); more != nil {
			return nil, more
		}
		o, err = envelope.NewOpener(ctx, header, opts)
	}
	if is(err, envelope.NotReader) && dir.client == nil {
		err = envelope.WithHint(err, "if it is for a group that is new here, a node is needed to ask: %v", dir.why)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// authorship says in a line who wrote an envelope.
func (s *session) authorship(ctx context.Context, o *envelope.Opener) string {
	h := o.Header()
	if o.Author() == envelope.Unknown {
		return "says that " + h.Author.String() + " signed it, which can't be checked: the agent is not known here"
	}
	text := "signed by " + s.dir.called(ctx, h.Author)
	if h.Writer() != h.Author {
		text = "written by " + s.dir.called(ctx, h.Writer()) + ", and shared by " + s.dir.called(ctx, h.Author)
	}
	if h.Owner != h.Author {
		text += " for " + s.dir.called(ctx, h.Owner)
	}
	return text
}
