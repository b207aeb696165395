package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// A keeper is the process that `l2p unlock` leaves in the background: it keeps
// unlocked keys in memory and gives them to the same user's commands, over a
// socket in the keystore. It ends when it has none left. The protocol is
// "Sessions" in docs/keys.md.
type keeper struct {
	store  *keystore.Store
	socket string
	pulse  time.Duration // see keeperPulse

	mu    sync.Mutex
	vault vault
	ended bool       // nothing is kept any more
	last  []net.Conn // closed when the process has cleaned up: who locked waits for that

	changed chan struct{} // holds one when the vault changed
}

const (
	// keeperGrace is how long a new keeper waits for the first keys.
	keeperGrace = 10 * time.Second
	// keeperPulse is the most time between two looks at whether the kept keys
	// have expired or are out of date, and the socket is still there.
	keeperPulse = 10 * time.Second
	// keeperPatience is how long a request and its answer may take.
	keeperPatience = 5 * time.Second

	keeperSocketName = "unlocked.sock"
	keeperLockName   = "unlocked.lock"
)

// keepUnlockedCommand is what `l2p unlock` starts. It says ready on standard
// output when it listens, or when another keeper does.
func keepUnlockedCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:   "keep-unlocked",
		Usage:  "keep keys unlocked in the background (l2p unlock starts it)",
		Hidden: true,
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			hardenProcess()
			store, err := s.store()
			if err != nil {
				return err
			}
			socket, err := s.keeperSocket()
			if err != nil {
				return err
			}
			lock, err := lockKeeper(c.Context, filepath.Join(s.keystoreDir(), keeperLockName), socket)
			if err != nil {
				return err
			}
			ready := func() error {
				_, err := io.WriteString(s.stdout, "ready\n")
				return err
			}
			if lock == nil {
				return ready() // another was quicker
			}
			defer lock.Close()
			k, l, err := newKeeper(store, socket)
			if err != nil {
				return err
			}
			if err := ready(); err != nil {
				l.Close()
				return err
			}
			k.serve(c.Context, l)
			return nil
		},
	}
}

// lockKeeper takes the lock of a keystore's one keeper. If one that answers has
// it, the lock is nil; one that is about to end is waited for.
func lockKeeper(ctx context.Context, path, socket string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, keeperPatience)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, envelope.Errorf(envelope.Other, "cannot lock %s: %w", quoted(path), err)
		}
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			f.Close()
			return nil, nil
		}
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			f.Close()
			return nil, envelope.Errorf(envelope.Unavailable, "another process holds %s", quoted(path))
		}
	}
}

// newKeeper returns a keeper and what it is to serve. The caller holds the
// keepers' lock, so a socket that is there already is a dead one's.
func newKeeper(store *keystore.Store, socket string) (*keeper, *net.UnixListener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fileError(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, nil, envelope.Errorf(envelope.Other, "cannot listen on %s: %w", quoted(socket), err)
	}
	// Its directory is closed to others, so there is no moment at which they
	// could connect.
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return nil, nil, fileError(err)
	}
	return &keeper{store: store, socket: socket, pulse: keeperPulse, vault: newVault(now), changed: make(chan struct{}, 1)}, l, nil
}

// serve answers requests until nothing is kept any more, the socket is gone or
// ctx is done. Then all keys are forgotten.
func (k *keeper) serve(ctx context.Context, l *net.UnixListener) {
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return // closed
			}
			handlers.Go(func() { k.handle(conn) })
		}
	})
	own, _ := os.Lstat(k.socket)
	born := now()
	looked := born
	for {
		if at := now(); at.elapsed-looked.elapsed >= k.pulse { // not after each request
			k.refresh()
			looked = at
		}
		k.mu.Lock()
		left, next := k.vault.next(k.pulse)
		there, err := os.Lstat(k.socket)
		if err != nil || !os.SameFile(own, there) {
			l.SetUnlinkOnClose(false) // what may be there now is another's
			k.ended = true
		}
		if left == 0 && (k.vault.used || now().elapsed-born.elapsed >= keeperGrace) {
			k.ended = true
		}
		ended := k.ended
		k.mu.Unlock()
		if ended {
			break
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-k.changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	k.mu.Lock()
	k.ended = true
	k.vault.drop()
	k.mu.Unlock()
	l.Close() // removes the socket
	handlers.Wait()
	for _, conn := range k.last {
		conn.Close()
	}
}

// refresh forgets keys that are no longer those of the keystore, because they
// or their passphrase were changed.
func (k *keeper) refresh() {
	k.mu.Lock()
	stamps := k.vault.stamps()
	k.mu.Unlock()
	for id, kept := range stamps {
		var stamp envelope.Hash
		a, err := k.store.Agent(id)
		if err == nil {
			stamp, err = k.store.Stamp(a)
		}
		if err != nil || stamp != kept {
			k.mu.Lock()
			k.vault.dropIf(id, kept)
			k.mu.Unlock()
		}
	}
}

// handle answers one request.
func (k *keeper) handle(conn *net.UnixConn) {
	keepOpen := false
	defer func() {
		if !keepOpen {
			conn.Close()
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(keeperPatience))
	if samePeer(conn) != nil {
		return
	}
	var req keeperRequest
	if readMessage(conn, &req) != nil {
		return
	}
	var plain []byte
	if req.Op == opKeep {
		var err error
		if plain, err = readFrame(conn, keystore.MaxPlain, newLockedMemory); err != nil {
			return
		}
	}
	answer, secret, ended := k.answer(req, plain)
	if answer == nil {
		return // it has ended: whoever asks starts another
	}
	defer clear(secret)
	select {
	case k.changed <- struct{}{}:
	default:
	}
	if writeMessage(conn, answer) != nil || secret != nil && writeFrame(conn, secret) != nil {
		return
	}
	if ended { // serve waits for this function, and closes the connection when it has cleaned up
		k.mu.Lock()
		k.last, keepOpen = append(k.last, conn), true
		k.mu.Unlock()
	}
}

// answer does what a request asks for. It takes over plain, what is to be kept, and
// returns what is to be given, which the caller clears; a nil answer where
// the keeper has ended. ended tells that it does now.
func (k *keeper) answer(req keeperRequest, plain []byte) (answer *keeperAnswer, secret []byte, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		freeLockedMemory(plain)
		return nil, nil, false
	}
	answer = &keeperAnswer{}
	switch req.Op {
	case opKeep:
		lasts := time.Duration(req.For) * time.Millisecond
		if lasts <= 0 || lasts > maxUnlocked {
			freeLockedMemory(plain)
			answer.Error = "malformed request"
			break
		}
		answer.Until = k.vault.keep(req.Agent, req.Stamp, plain, lasts).UnixMilli()
	case opGive:
		var until time.Time
		if secret, until = k.vault.give(req.Agent, req.Stamp); secret != nil {
			answer.Until = until.UnixMilli()
		}
	case opList:
	case opDrop:
		if req.Agent.IsZero() {
			answer.Dropped = k.vault.drop()
		} else {
			answer.Dropped = k.vault.drop(req.Agent)
		}
		left, _ := k.vault.next(k.pulse)
		k.ended = left == 0 && k.vault.used
		ended = k.ended
	default:
		answer.Error = "malformed request"
	}
	answer.Unlocked = k.vault.list()
	return answer, secret, ended
}

// keeperSocket returns where the keystore's keeper listens: in the keystore, so
// that all of the user's sessions on this machine find it, or, as sockets may
// have short paths only, in $XDG_RUNTIME_DIR.
func (s *session) keeperSocket() (string, error) {
	const most = 100 // bytes; Linux takes 107, macOS 103
	path := filepath.Join(s.keystoreDir(), keeperSocketName)
	if len(path) <= most {
		return path, nil
	}
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	info, err := os.Stat(runtime)
	short := filepath.Join(runtime, "l2p-"+envelope.HashOf("l2p keystore path v1\n", []byte(s.keystoreDir())).String()[:16]+".sock")
	if err != nil || info.Mode().Perm()&0o077 != 0 || len(short) > most || !filepath.IsAbs(short) {
		return "", envelope.WithHint(envelope.Errorf(envelope.Usage, "the path %s is too long for a socket, and XDG_RUNTIME_DIR names no private directory", quoted(path)),
			"take a shorter --home")
	}
	return short, nil
}
