// Package netq is how nodes and clients of l2p talk: requests and replies over
// QUIC with mutual TLS, and gossip packets beside them, all through one UDP
// socket.
//
// A node calls [Listen] and then [Endpoint.Serve]; it reaches other nodes with
// [Endpoint.Node] and [Conn.Call]. A program such as the command line calls
// [DialClient].
//
// Who somebody is, is an Ed25519 key: each side presents a self-signed
// certificate for its key, and TLS proves that it has the key. The certificate
// of a node also carries the node's credentials. Whether a peer may come in,
// [Config.Authorize] decides inside the handshake, on both sides, before any
// request is read. The protocol is docs/protocol.md; its messages are package
// wire.
//
// The package bounds what a peer can cost: connections, handshakes, streams,
// bytes that wait, and time. Input of a peer never makes it panic, and a panic
// in a handler ends that request only.
//
// It must not know what requests mean: nothing of the ring, the store,
// membership or the keystore.
package netq
