package main

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"l2p/envelope"
	"l2p/keystore"
	"l2p/netq"
)

// A session is one run of l2p: the streams it reads and writes, what the
// global flags say, and what is opened on first use (the keystore, the
// connection to the node) and closed at the end.
type session struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	// What the global flags say; see globalFlags.
	home           string // directory of everything l2p keeps
	nodeAddr       string // "<l2pnode1…>@host:port"; empty: the node of home
	as             string // agent to act as, a name or an id; empty: the keystore's default
	json           bool
	quiet          bool
	passphraseFile string

	keystore *keystore.Store   // use store
	unlocked *keystore.Secrets // use secrets
	client   *netq.Client      // use node or nodeIfUp
	noNode   error             // why nodeIfUp found none
	dir      *directory        // use directory

	incomplete atomic.Bool // a list lacks what nodes have that don't answer

	closers []func() error // run in reverse order at the end

	mu         sync.Mutex
	unfinished map[string]bool // temporary files and folders to remove if a signal ends the run
	restore    func()          // gives the terminal back as it was; nil: nothing is asked on it
	left       string          // what an interruption leaves; see leaves
}

func newSession(stdin io.Reader, stdout, stderr io.Writer) *session {
	return &session{stdin: stdin, stdout: stdout, stderr: stderr, unfinished: make(map[string]bool)}
}

// keystoreDir is where agents' keys are.
func (s *session) keystoreDir() string { return filepath.Join(s.home, "keystore") }

// nodeDir is the state directory of the own node.
func (s *session) nodeDir() string { return filepath.Join(s.home, "node") }

// setHome checks and completes what --home says.
func (s *session) setHome() error {
	if s.home == "" {
		dir, err := os.UserHomeDir()
		if err != nil {
			return envelope.WithHint(envelope.Errorf(envelope.Usage, "no home directory: %w", err),
				"say where l2p keeps its files with --home DIR or L2P_HOME")
		}
		s.home = filepath.Join(dir, ".l2p")
	}
	abs, err := filepath.Abs(s.home)
	if err != nil {
		return envelope.Errorf(envelope.Other, "--home: %w", err)
	}
	s.home = abs
	return nil
}

// onClose has f called when the run ends, after everything opened later.
func (s *session) onClose(f func() error) { s.closers = append(s.closers, f) }

// close releases what the run opened.
func (s *session) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		_ = s.closers[i]() // only releases: what matters was synced before
	}
	s.closers = nil
}

// willFinish notes a temporary file or folder that must not outlive the run.
func (s *session) willFinish(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfinished[path] = true
}

// finished forgets a temporary file that is renamed or removed.
func (s *session) finished(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unfinished, path)
}

// onTerminal notes how to give the terminal back as it was, or with nil that it
// is.
func (s *session) onTerminal(restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore = restore
}

// prompting reports whether an answer is awaited on the terminal.
func (s *session) prompting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restore != nil
}

// leaves notes what to tell if the run is interrupted from here on: what it
// leaves behind; "" for nothing.
func (s *session) leaves(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = what
}

// interrupted is the error of a run that a signal ended.
func (s *session) interrupted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := envelope.Errorf(envelope.Other, "interrupted")
	if s.left != "" {
		err = envelope.WithHint(err, "%s", s.left)
	}
	return err
}

// abandon cleans up after a run that a signal ended: it removes temporary files
// and folders and gives the terminal back as it was.
func (s *session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restore != nil {
		s.restore()
	}
	for path := range s.unfinished {
		removeTree(path)
	}
}
