package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"l2p/envelope"
	"l2p/keystore"
)

// start is when this process began, about.
var start = time.Now()

// errNoKeeper says that nothing is unlocked.
var errNoKeeper = envelope.Errorf(envelope.Unavailable, "no keys are unlocked")

// askKeeper sends the keystore's keeper a request, with the secret to keep if
// there is one, and returns its answer, with the secret that it gives. That there
// is no keeper is errNoKeeper.
func (s *session) askKeeper(ctx context.Context, req keeperRequest, secret []byte) (*keeperAnswer, []byte, error) {
	path, err := s.keeperSocket()
	if err != nil {
		return nil, nil, err
	}
	dialer := net.Dialer{Timeout: keeperPatience}
	c, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil, errNoKeeper // there is no socket, or a dead one's
	}
	if err != nil {
		return nil, nil, envelope.Errorf(envelope.Unavailable, "the process that keeps keys unlocked: %w", err)
	}
	defer c.Close()
	conn := c.(*net.UnixConn)
	if err := samePeer(conn); err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(keeperPatience))
	if err = writeMessage(conn, req); err == nil && secret != nil {
		err = writeFrame(conn, secret)
	}
	var answer keeperAnswer
	if err == nil {
		err = readMessage(conn, &answer)
	}
	var given []byte
	if err == nil && req.Op == opGive && answer.Until != 0 {
		given, err = readFrame(conn, keystore.MaxPlain, func(n int) []byte { return make([]byte, n) })
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return nil, nil, errNoKeeper // it ended just now
	case err != nil:
		return nil, nil, envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the process that keeps keys unlocked doesn't answer: %w", err),
			"end it: its command line ends in keep-unlocked")
	case answer.Error != "":
		return nil, nil, envelope.Errorf(envelope.Other, "the process that keeps keys unlocked refuses: %s", quoted(answer.Error))
	}
	if req.Op == opDrop {
		// If that was all, the connection ends when the process has cleaned up.
		_, _ = io.Copy(io.Discard, conn)
	}
	return &answer, given, nil
}

// keepUnlocked hands an agent's secrets to the keystore's keeper, which it starts if
// need be, and returns until when they are kept.
func (s *session) keepUnlocked(ctx context.Context, a *keystore.Agent, secrets *keystore.Secrets, lasts time.Duration) (time.Time, error) {
	stamp, err := s.keystore.Stamp(a)
	if err != nil {
		return time.Time{}, err
	}
	plain, err := secrets.Plain()
	if err != nil {
		return time.Time{}, err
	}
	defer clear(plain)
	req := keeperRequest{Op: opKeep, Agent: a.ID(), Stamp: stamp, For: lasts.Milliseconds()}
	for try := 1; ; try++ {
		answer, _, err := s.askKeeper(ctx, req, plain)
		if err == nil {
			return time.UnixMilli(answer.Until), nil
		}
		if !errors.Is(err, errNoKeeper) || try == 3 {
			return time.Time{}, err
		}
		if err := s.startKeeper(ctx); err != nil {
			return time.Time{}, err
		}
	}
}

// startKeeper starts the process that keeps keys unlocked and waits until it listens. It
// lives on when the run ends.
func (s *session) startKeeper(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return envelope.Errorf(envelope.Other, "cannot find this program: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return envelope.Errorf(envelope.Other, "pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(program, "--home", s.home, "keep-unlocked")
	cmd.Dir = "/" // so that it keeps no file system busy
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ctrl-C is for this run alone
	closeOnExec()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return envelope.Errorf(envelope.Other, "cannot start the process that keeps keys unlocked: %w", err)
	}
	_ = cmd.Process.Release()
	_ = r.SetReadDeadline(time.Now().Add(2 * keeperPatience))
	said, _ := bufio.NewReader(io.LimitReader(r, 4<<10)).ReadString('\n')
	if said == "ready\n" {
		return nil
	}
	return envelope.Errorf(envelope.Other, "the process that keeps keys unlocked did not start: %s",
		printable(strings.TrimPrefix(strings.TrimSpace(said), "l2p: ")))
}

// fromKeeper returns the secrets of an agent if they are unlocked, and else
// nil: then the passphrase is needed.
func (s *session) fromKeeper(ctx context.Context, a *keystore.Agent) *keystore.Secrets {
	stamp, err := s.keystore.Stamp(a)
	if err != nil {
		return nil // unlocking will say so
	}
	answer, plain, err := s.askKeeper(ctx, keeperRequest{Op: opGive, Agent: a.ID(), Stamp: stamp}, nil)
	if err != nil || answer.Until == 0 {
		if err != nil && !errors.Is(err, errNoKeeper) && !is(err, envelope.Usage) {
			s.remark("%v", err)
		}
		return nil
	}
	defer clear(plain)
	secrets, err := s.keystore.Resume(a, plain)
	if err != nil {
		s.remark("the keys kept unlocked are of no use: %v", err)
		return nil
	}
	return secrets
}
