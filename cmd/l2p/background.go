package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"l2p/envelope"
)

// A background is an agentd that this run has started. It lives on when the
// run ends.
type background struct {
	log  string
	from int64         // where in the log its lines begin
	done chan struct{} // closed when it ended
	err  error         // valid then: nil, or an error of the kind of its exit code
}

// ended returns a channel that is closed when the agentd has ended. Of nil it
// never is.
func (b *background) ended() <-chan struct{} {
	if b == nil {
		return nil
	}
	return b.done
}

// failure says why the agentd ended, in its own last words.
func (b *background) failure() error {
	kind := envelope.Unavailable
	if b.err != nil {
		kind = envelope.KindOf(b.err)
	}
	return envelope.WithHint(envelope.Errorf(kind, "agentd ended at once: %s", lastLine(b.log, b.from)), "look into %s", quoted(b.log))
}

func logPath(dir string) string { return filepath.Join(dir, "agentd.log") }

// flagsPath names the file with agentd's flags, one on a line, so that a node
// which is started again listens where it did before.
func flagsPath(dir string) string { return filepath.Join(dir, "agentd.flags") }

// setAgentdFlags keeps the flags with which agentd is started from now on.
func (s *session) setAgentdFlags(listen string, noMDNS bool) error {
	if strings.Contains(listen, "\n") {
		return envelope.Errorf(envelope.Usage, "--listen %s is no HOST:PORT", quoted(listen))
	}
	var flags strings.Builder
	if listen != "" {
		flags.WriteString("--listen=" + listen + "\n")
	}
	if noMDNS {
		flags.WriteString("--no-mdns\n")
	}
	if flags.Len() == 0 {
		return nil
	}
	if err := os.MkdirAll(s.nodeDir(), 0o700); err != nil {
		return fileError(err)
	}
	out, err := s.createOutput(flagsPath(s.nodeDir()), safeOutput, nil)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, flags.String())
	return out.finish(err)
}

func agentdFlags(dir string) ([]string, error) {
	flags := []string{"--state=" + dir}
	f, err := os.Open(flagsPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return flags, nil
	}
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		flags = append(flags, lines.Text())
	}
	return flags, fileError(lines.Err())
}

// findAgentd finds the program agentd, beside l2p or else in PATH.
func findAgentd() (string, error) {
	if own, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(own); err == nil {
			own = real
		}
		beside := filepath.Join(filepath.Dir(own), "agentd")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	found, err := exec.LookPath("agentd")
	if err != nil {
		return "", envelope.WithHint(envelope.Errorf(envelope.Unavailable, "the node doesn't run, and there is no agentd to start"),
			"install agentd beside l2p or in PATH, or name a node with --node")
	}
	return found, nil
}

// startAgentd starts an agentd that outlives this run, with its log in the
// state directory.
func (s *session) startAgentd(dir string) (*background, error) {
	program, err := findAgentd()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fileError(err)
	}
	flags, err := agentdFlags(dir)
	if err != nil {
		return nil, err
	}
	b := &background{log: logPath(dir), done: make(chan struct{})}
	log, err := os.OpenFile(b.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fileError(err)
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil {
		b.from = info.Size()
	}
	s.remark("starting agentd in the background (log: %s)", b.log)
	// What an agentd that was killed has left would only mislead. One that
	// starts this very moment writes it later.
	if err := os.Remove(filepath.Join(dir, "endpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fileError(err)
	}
	cmd := exec.Command(program, flags...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ctrl-C is for l2p alone
	closeOnExec()
	if err := cmd.Start(); err != nil {
		return nil, envelope.Errorf(envelope.Unavailable, "agentd can't be started: %w", withoutCall(err))
	}
	go func() {
		// Ends with the agentd, or with this program.
		defer close(b.done)
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) && exit.ExitCode() > 0 {
			b.err = envelope.Errorf(envelope.ErrorKind(exit.ExitCode()), "%w", err)
		} else if err != nil {
			b.err = envelope.Errorf(envelope.Unavailable, "%w", err)
		}
	}()
	return b, nil
}

// lastLine returns the last line of a file behind the offset from, or says
// that there is none.
func lastLine(path string, from int64) string {
	const most = 4096
	f, err := os.Open(path)
	if err != nil {
		return "it left no log"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		from = max(from, info.Size()-most)
	}
	text, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, from, most), most))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return "it said nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimPrefix(lines[len(lines)-1], "agentd: ")
}
