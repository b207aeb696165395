package member

import (
	"bufio"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"l2p/envelope"
)

// Limits of a push/pull, in which two nodes tell each other all that they know.
const (
	maxPushPull      = 8 << 20 // bytes from the peer
	maxPushPullNodes = 32 << 10
	peekPushPull     = 64 // bytes that hold the header; no honest push/pull is shorter
)

// A pushPullStream is a stream on which a push/pull comes from the peer, and
// nothing else: memberlist would believe a number of nodes up to a million
// before it has seen one, and unpack compressed messages.
type pushPullStream struct {
	net.Conn
	in    *bufio.Reader
	first sync.Once
	bad   error

	close  sync.Once
	closed chan struct{}
}

func newPushPullStream(conn net.Conn) *pushPullStream {
	return &pushPullStream{Conn: conn, in: bufio.NewReaderSize(io.LimitReader(conn, maxPushPull), 4096), closed: make(chan struct{})}
}

// Read is called by one goroutine at a time.
func (s *pushPullStream) Read(b []byte) (int, error) {
	s.first.Do(func() {
		head, err := s.in.Peek(peekPushPull)
		if err != nil {
			s.bad = err
			return
		}
		s.bad = checkPushPull(head)
	})
	if s.bad != nil {
		return 0, s.bad
	}
	return s.in.Read(b)
}

// Close may be called more than once.
func (s *pushPullStream) Close() error {
	var err error
	s.close.Do(func() {
		err = s.Conn.Close()
		close(s.closed)
	})
	return err
}

// pushPullHeader is memberlist's.
type pushPullHeader struct {
	Nodes        int
	UserStateLen int
	Join         bool
}

// checkPushPull checks the beginning of a push/pull.
func checkPushPull(head []byte) error {
	if len(head) == 0 || head[0] != msgPushPull {
		return envelope.Errorf(envelope.Corrupt, "a gossip stream has no push/pull")
	}
	var h pushPullHeader
	if err := codec.NewDecoderBytes(head[1:], &codec.MsgpackHandle{}).Decode(&h); err != nil {
		return envelope.Errorf(envelope.Corrupt, "a push/pull has a malformed header")
	}
	if h.Nodes < 0 || h.Nodes > maxPushPullNodes || h.UserStateLen != 0 {
		return envelope.Errorf(envelope.Corrupt, "a push/pull says that it has %d nodes and %d bytes more", h.Nodes, h.UserStateLen)
	}
	return nil
}
