package main

import (
	"context"

	"l2p/envelope"
)

// startNode starts the own node in the background and waits until it listens.
func (s *session) startNode(ctx context.Context) error {
	return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "no node is running in %s", quoted(s.nodeDir())), "start agentd")
}
