// Command l2p shares sealed files in a federation of boxes: it makes agents
// and groups, seals and opens envelopes, and speaks to a node for everything
// that needs the network.
//
// Each subcommand is one file: its flags, one call, its output. What the calls
// do lives in the packages envelope, keystore and netq. The command must not
// know how a node works inside: it imports neither agentd nor what agentd is
// built of, so it stays light and can open nothing behind a node's back.
//
// The exit code is the number of the [envelope.ErrorKind] of what went wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(mainCode()) }

// exitInterrupted is the exit code after a signal, as shells expect it of SIGINT.
const exitInterrupted = 130

// exitNoReader is the exit code after whoever read the output has gone, as
// shells give it to a program that SIGPIPE ends.
const exitNoReader = 141

// goodbye is how long an interrupted command may take to end by itself. Some
// can't, since they wait in a read from a pipe. One that waits for an answer on
// the terminal gets no time at all.
const goodbye = time.Second

// mainCode runs the command line and returns the exit code. Where a signal ends
// the command, half-written files are removed first.
func mainCode() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := newSession(os.Stdin, os.Stdout, os.Stderr)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Caught, it fails the write, so that what is half done is tidied up first.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	done := make(chan int, 1)
	go func() { done <- run(ctx, s, os.Args[1:]) }()

	select {
	case code := <-done:
		return code
	case <-signals:
	}
	cancel()
	patience := goodbye
	if s.prompting() {
		patience = 0
	}
	select {
	case code := <-done:
		s.abandon()
		if code == 0 {
			return 0 // the signal came too late
		}
		return exitInterrupted
	case <-signals: // a second ctrl-C: no more patience
	case <-time.After(patience):
	}
	s.abandon()
	fail(s, s.interrupted())
	return exitInterrupted
}
