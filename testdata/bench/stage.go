package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// A stage is what the programs work with: themselves, keys, and files.
type stage struct {
	dir       string
	l2p, age  string   // the programs
	env       []string // l2p's home
	identity  string   // age's, a file
	recipient string
	best      bestTimes
}

// bestTimes are l2p's medians that are compared with the limits.
type bestTimes struct {
	size       int64
	seal, open time.Duration
}

const smallSize = 1024

// newStage builds the programs and makes keys and files of size bytes in dir.
func newStage(dir string, size int64) (*stage, error) {
	s := &stage{dir: dir, l2p: filepath.Join(dir, "l2p"), age: filepath.Join(dir, "age"), identity: filepath.Join(dir, "identity"),
		env: []string{"L2P_HOME=" + filepath.Join(dir, "home"), "CGO_ENABLED=0"}} // static, as they are shipped
	s.best.size = size
	for program, pkg := range map[string]string{s.l2p: "./cmd/l2p", s.age: "filippo.io/age/cmd/age"} {
		if err := s.call("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, pkg); err != nil {
			return nil, err
		}
	}
	id, err := age.GenerateHybridIdentity() // what l2p's agents have
	if err != nil {
		return nil, err
	}
	s.recipient = id.Recipient().String()
	if err := os.WriteFile(s.identity, []byte(id.String()+"\n"), 0o600); err != nil {
		return nil, err
	}
	for _, name := range []string{"adam@a-tech", "eve@a-tech"} {
		if err := s.call(s.l2p, "agent", "create", "--no-passphrase", "--offline", "--quiet", name); err != nil {
			return nil, err
		}
	}
	for name, n := range map[string]int64{"large": size, "small": smallSize} {
		if err := writeNoise(s.path(name), n); err != nil {
			return nil, err
		}
		if err := s.call(s.l2p, "seal", "-t", "adam", "-o", s.path(name+".l2p"), s.path(name)); err != nil {
			return nil, err
		}
		if err := s.call(s.age, "-r", s.recipient, "-o", s.path(name+".age"), s.path(name)); err != nil {
			return nil, err
		}
	}
	return s, s.check()
}

// writeNoise makes a file of n bytes that nobody can compress.
func writeNoise(path string, n int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), n); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// check sees to it that both programs give back what was sealed.
func (s *stage) check() error {
	want, err := os.ReadFile(s.path("small"))
	if err != nil {
		return err
	}
	c := s.open("small", "file", "")
	for _, side := range []command{c.ours, c.theirs} {
		cmd := exec.Command(side.args[0], side.args[1:]...)
		cmd.Env = append(os.Environ(), side.env...)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s gave back something else (%v)", side.args[0], err)
		}
	}
	return nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) call(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, out)
	}
	return nil
}

// seal compares sealing a file for one reader. in and out are as in command,
// and "file" for a file as it is, out also "-o" for one that the program makes.
func (s *stage) seal(name, in, out string) comparison {
	return comparison{
		ours:   s.command(in, out, s.path(name), []string{s.l2p, "seal", "-t", "adam"}),
		theirs: s.command(in, out, s.path(name), []string{s.age, "-r", s.recipient}),
	}
}

func (s *stage) open(name, in, out string) comparison {
	return comparison{
		ours:   s.command(in, out, s.path(name+".l2p"), []string{s.l2p, "open", "--quiet"}),
		theirs: s.command(in, out, s.path(name+".age"), []string{s.age, "-d", "-i", s.identity}),
	}
}

func (s *stage) command(in, out, file string, args []string) command {
	c := command{args: args, env: s.env, in: in, out: out, from: file}
	if out == "-o" {
		c.made = s.path("made")
		c.args = append(c.args, "-o", c.made)
	}
	if in != "pipe" {
		c.args = append(c.args, file)
	}
	return c
}

// large returns the comparisons with the large file.
func (s *stage) large() []comparison {
	var all []comparison
	add := func(what string, c comparison, keep *time.Duration) {
		c.what, c.keepBest = what, keep
		all = append(all, c)
	}
	for _, v := range []struct {
		verb string
		of   func(name, in, out string) comparison
		keep *time.Duration
	}{{"seal", s.seal, &s.best.seal}, {"open", s.open, &s.best.open}} {
		add(v.verb+" file to null", v.of("large", "file", ""), v.keep)
		add(v.verb+" pipe to null", v.of("large", "pipe", ""), nil)
		add(v.verb+" pipe to pipe", v.of("large", "pipe", "pipe"), nil)
		add(v.verb+" file to file", v.of("large", "file", "-o"), nil)
	}
	return all
}

// small returns the comparisons with the small file, from start to end.
func (s *stage) small() []comparison {
	sealed, opened := s.seal("small", "file", ""), s.open("small", "file", "")
	sealed.what, opened.what = "seal 1 KiB", "open 1 KiB"
	return []comparison{sealed, opened}
}
