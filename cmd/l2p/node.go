package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"l2p/envelope"
	"l2p/netq"
)

const (
	// startTimeout is how long a node may take from its start to its answer.
	startTimeout = 20 * time.Second
	// pollSlowest is how often l2p looks at last whether its node has changed.
	pollSlowest = 200 * time.Millisecond
)

// nodeRuns reports whether an agentd runs in a state directory. It holds a lock
// as long as it lives, so that, unlike with the endpoint's file, there is
// nothing to be misled by after a crash.
func nodeRuns(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fileError(err)
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, fileError(err)
}

// startNode starts the own node, if it has been set up, and returns the
// connection to it.
func (s *session) startNode(ctx context.Context) (*netq.Client, error) {
	if !s.nodeIsSetUp() {
		if runs, err := nodeRuns(s.nodeDir()); err == nil && !runs {
			return nil, s.noNodeRuns()
		}
	}
	client, _, err := s.startAnyNode(ctx)
	return client, err
}

// nodeIsSetUp reports whether there is a node to start.
func (s *session) nodeIsSetUp() bool {
	_, err := os.Stat(filepath.Join(s.nodeDir(), "node.key"))
	return !errors.Is(err, fs.ErrNotExist)
}

// noNodeRuns is the error of commands that don't start the own node.
func (s *session) noNodeRuns() error {
	if s.nodeIsSetUp() {
		return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the node in %s doesn't run", quoted(s.nodeDir())), "`l2p status` starts it")
	}
	return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "there is no node in %s", quoted(s.nodeDir())),
		"make a network with `l2p init BOX`, join one with `l2p join TICKET`, or name a node with --node")
}

// startAnyNode starts the own node if none runs, and waits until it answers. It
// reports whether it has started it.
func (s *session) startAnyNode(parent context.Context) (node *netq.Client, started bool, err error) {
	ctx, cancel := context.WithTimeout(parent, startTimeout)
	defer cancel()
	var (
		dir   = s.nodeDir()
		child *background
		tries int
		last  = envelope.Errorf(envelope.Unavailable, "it doesn't listen")
	)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, pollSlowest) {
		runs, err := nodeRuns(dir)
		switch {
		case err != nil:
			return nil, false, err
		case runs:
			client, err := s.dialOnce(ctx)
			if err == nil {
				return client, child != nil, nil
			}
			if kind := envelope.KindOf(err); kind == envelope.Denied || kind == envelope.Usage || kind == envelope.Corrupt {
				return nil, false, err
			}
			last = err
		case child == nil:
			if child, err = s.startAgentd(dir); err != nil {
				return nil, false, err
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-child.ended():
			// Where another l2p was faster, its agentd will do.
			if tries++; envelope.KindOf(child.err) != envelope.Conflict || tries == 5 {
				return nil, false, child.failure()
			}
			child = nil
		case <-ctx.Done():
		}
		timer.Stop()
		if parent.Err() != nil {
			return nil, false, parent.Err()
		}
		if ctx.Err() != nil {
			return nil, false, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the own node doesn't answer: %w", last), "look into %s", quoted(logPath(dir)))
		}
	}
}

// dialOnce connects to the node as what the files say of it now.
func (s *session) dialOnce(ctx context.Context) (*netq.Client, error) {
	conf, err := s.clientConfig(ctx)
	if err != nil {
		return nil, err
	}
	return netq.DialClient(ctx, conf)
}

// memberNode is node for commands that need a network, too.
func (s *session) memberNode(ctx context.Context) (*netq.Client, error) {
	client, err := s.node(ctx)
	if err != nil {
		return nil, err
	}
	if client.Welcome().Network.IsZero() {
		return nil, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "this box is in no network yet"),
			"make one with `l2p init BOX`, or join one with `l2p join TICKET`")
	}
	return client, nil
}
