// Package wire is the vocabulary of the node protocol: its messages, their
// encoding and limits, the certificates that admit a node to a network, and
// tickets. One could write a peer in another language from this page and
// docs/protocol.md.
//
// Peers speak QUIC (RFC 9000) with TLS 1.3, one request and one reply on each
// bidirectional stream. A message is
//
//	type          2 bytes   what it is, see [Type]
//	reserved      2 bytes   zero
//	body length   4 bytes
//	data length   4 bytes
//	body                    CBOR, core deterministic encoding
//	data                    bytes whose meaning the type says: a record, a segment's frame
//
// with all integers unsigned and big-endian. The sender ends its side of the
// stream behind the data; more bytes are an error. The reply has the type that
// belongs to the request ([Type.Reply]), or is [TypeError]. The one
// exception is [TypeGossip], after which the stream is a plain byte stream in
// both directions.
//
// Every type has limits for body and data ([Type.Limits]); a length is compared
// with its limit before anything of that length is read or allocated.
//
// The package does no I/O of its own beyond the Reader or Writer that it is
// given. It must not know sockets, TLS, the store, or any secret keys but those
// that it is handed to sign a certificate.
package wire
