package netq

import (
	"context"
	"errors"
	"net"

	"github.com/quic-go/quic-go"

	"l2p/envelope"
)

// Codes with which a connection is closed.
const (
	closeDone    quic.ApplicationErrorCode = 0 // nothing more to say
	closeBusy    quic.ApplicationErrorCode = 1 // too many connections
	closeDropped quic.ApplicationErrorCode = 2 // no longer admitted
)

// ErrRefused is in the chain of errors from peers that don't let this one in, or
// have dropped it.
var ErrRefused = errors.New("the node refuses this one")

// Codes with which one direction of a stream is cut off.
const (
	cutCancelled quic.StreamErrorCode = 1 // the caller gave up
	cutAnswered  quic.StreamErrorCode = 2 // the reply says why
)

// failure turns an error of QUIC or of a context into one with a kind. what
// says what was being done, and with whom.
func failure(ctx context.Context, err error, what string, peer net.Addr) error {
	if ours, ok := errors.AsType[*envelope.Error](err); ok {
		return ours
	}
	if ctx.Err() != nil {
		return envelope.Errorf(envelope.Unavailable, "%s %s: %w", what, peer, context.Cause(ctx))
	}
	if t, ok := errors.AsType[*quic.TransportError](err); ok && t.Remote && t.ErrorCode.IsCryptoError() {
		return envelope.Errorf(envelope.Denied, "%s %s: %w", what, peer, ErrRefused)
	}
	if t, ok := errors.AsType[*quic.TransportError](err); ok && t.Remote && t.ErrorCode == quic.ConnectionRefused {
		return envelope.Errorf(envelope.Unavailable, "%s %s: %s", what, peer, errBusy.Text)
	}
	if a, ok := errors.AsType[*quic.ApplicationError](err); ok && a.Remote {
		switch a.ErrorCode {
		case closeBusy:
			return envelope.Errorf(envelope.Unavailable, "%s %s: %s", what, peer, errBusy.Text)
		case closeDropped:
			return envelope.Errorf(envelope.Denied, "%s %s: %w", what, peer, ErrRefused)
		}
		return envelope.Errorf(envelope.Unavailable, "%s %s: the node has closed the connection", what, peer)
	}
	if s, ok := errors.AsType[*quic.StreamError](err); ok && s.Remote {
		return envelope.Errorf(envelope.Unavailable, "%s %s: the node gave the request up", what, peer)
	}
	return envelope.Errorf(envelope.Unavailable, "%s %s: no answer: %w", what, peer, err)
}
