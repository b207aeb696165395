package store

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"l2p/envelope"
)

// writerEnv makes the test binary a process that writes to the store in the
// named directory until it is killed.
const writerEnv = "L2P_TEST_STORE_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver prints a line for each put once it has been acknowledged.
func writeForEver(dir string) error {
	s, err := Open(dir, Options{Statfs: plenty})
	if err != nil {
		return err
	}
	t := new(testing.B) // fixtures fail only where the machine does
	var print sync.Mutex
	say := func(format string, args ...any) {
		print.Lock()
		defer print.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	errs := make(chan error)
	for range 4 {
		go func() {
			w, doc := newUser(t, 2*inlineLimit)
			if _, err := s.PutRecord(doc, anyRecord); err != nil {
				errs <- err
				return
			}
			say("record %d %x %d %s %s", doc.Ref.Kind, doc.Ref.Owner[:], doc.Version.N, doc.Version.Hash, "-")
			for i := 0; ; i++ {
				name := fmt.Sprint("course-", i)
				header, ids, frames := w.envelope(t, name, envelope.Version{}, 3000)
				if _, err := s.PutSegment(ids[0], w.id, frames[0], 0); err != nil {
					errs <- err
					return
				}
				say("segment %x %d", ids[0].Key, ids[0].Index)
				if _, err := s.PutRecord(header, anyRecord); err != nil {
					errs <- err
					return
				}
				say("record %d %x %d %s %s", header.Ref.Kind, header.Ref.Owner[:], header.Version.N, header.Version.Hash, name)
			}
		}()
	}
	return <-errs
}

func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acknowledged []string
	for round, lines := range []int{1, 7, 60, 200} {
		acknowledged = append(acknowledged, writeAndKill(t, dir, lines)...)
		// As it is, and then with an index made of what is there.
		for _, prepare := range []func(){func() {}, func() { rebuild(t, dir) }} {
			prepare()
			s := open(t, dir)
			mend(t, s)
			for _, line := range acknowledged {
				checkAcknowledged(t, s, line)
			}
			if files, st := len(listFiles(t, s, segmentDir)), s.Stats(); files != int(st.Segments) || st.Damaged != 0 {
				t.Errorf("%d files of segments, counted as %+v", files, st)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// writeAndKill starts a writer, kills it when it has said so many lines, and
// returns all that it had said.
func writeAndKill(t *testing.T, dir string, lines int) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), writerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	in := bufio.NewScanner(out)
	for in.Scan() {
		said = append(said, in.Text())
		if len(said) == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return said
}

func checkAcknowledged(t *testing.T, s *Store, line string) {
	t.Helper()
	var what, owner, hash, name string
	var kind, n uint64
	var err error
	if strings.HasPrefix(line, "segment ") {
		if _, err = fmt.Sscanf(line, "segment %s %d", &hash, &n); err == nil {
			id := envelope.SegmentID{Index: n}
			copy(id.Key[:], unhex(t, hash))
			_, err = s.Segment(id)
		}
	} else if _, err = fmt.Sscanf(line, "%s %d %s %d %s %s", &what, &kind, &owner, &n, &hash, &name); err == nil {
		ref := envelope.Ref{Kind: envelope.RecordKind(kind), Owner: envelope.AgentID(unhex(t, owner)), Name: strings.TrimPrefix(name, "-")}
		_, err = s.Record(ref, envelope.Version{N: n, Hash: envelope.Hash(unhex(t, hash))}, false)
	}
	if err != nil {
		t.Errorf("acknowledged %q: %v", line, err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != envelope.HashSize {
		t.Fatalf("%q is no hash: %v", s, err)
	}
	return b
}
