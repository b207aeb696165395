package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// stopTimeout is how long a node may take to stop.
const stopTimeout = 30 * time.Second

func stopCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "stop",
		Usage:    "stop the own node",
		Category: "boxes",
		Description: "Waits until the node has ended. Its data stay, and any command that needs it starts it again.\n" +
			"That no node runs is no error.",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			dir := s.nodeDir()
			if s.nodeAddr == "" {
				if runs, err := nodeRuns(dir); err != nil {
					return err
				} else if !runs {
					return s.printStopped("", "no node runs in "+dir)
				}
			}
			node, err := s.node(c.Context)
			if err != nil {
				return err
			}
			if err := node.Stop(c.Context); err != nil {
				return err
			}
			if s.nodeAddr == "" { // else its state is elsewhere
				if err := waitStopped(c.Context, dir); err != nil {
					return err
				}
			}
			id := node.Welcome().Node.String()
			return s.printStopped(id, "stopped "+id)
		},
	}
}

// printStopped says which node was stopped, "" for none.
func (s *session) printStopped(node, text string) error {
	result := struct {
		Stopped string `json:"stopped,omitempty"` // the node's id
	}{node}
	return s.result(result, func(w io.Writer) { fmt.Fprintln(w, printable(text)) })
}

// waitStopped waits until no node runs in a state directory.
func waitStopped(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, pollSlowest) {
		if runs, err := nodeRuns(dir); err != nil || !runs {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the node still runs"), "look into %s", quoted(logPath(dir)))
		}
	}
}
