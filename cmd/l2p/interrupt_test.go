package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// TestInterrupted has the context end, as ctrl-C does, while the node is asked:
// nothing goes on, and one line says what is left.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		at   wire.Type
		args []string
		want string
	}{
		{"look-up of a document", wire.TypeListRecords, []string{"seal", "-t", "group"}, ""},
		{"look-up of a name", wire.TypeGetRecord, []string{"seal", "-t", "group@a-tech"}, ""},
		{"a free name", wire.TypeGetRecord, []string{"agent", "create", "new@a-tech"}, ""},
		{"groups", wire.TypeMemberships, []string{"get", "course", "-o", "-"}, ""},
		{"Hello", wire.TypeHello, []string{"agent", "show", "group"}, ""},
		{"a part", wire.TypePutSegment, []string{"put", "course", "-", "-t", "adam"}, "; readers still see version 1, and after a day the nodes drop what was sent"},
		{"a new one's part", wire.TypePutSegment, []string{"put", "other", "-", "-t", "adam"}, "; readers see nothing of it, and after a day the nodes drop what was sent"},
		{"a header", wire.TypePutRecord, []string{"put", "course", "-", "-t", "adam"}, "; `l2p history` tells whether version 2 is there all the same"},
		{"admission", wire.TypeJoin, []string{"join", "127.0.0.1:1", "--box", "e-build", "--fingerprint"}, "; the request to be admitted stays: run the same command again to go on with it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sh := newShell(t)
			sh.ok("group", "create", "group@a-tech", "-m", "eve@a-tech")
			sh.ok("put", "course", sh.file("x", "x"), "-t", "adam")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := 0
			sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
				if r.Type != test.at {
					return body, data, err
				}
				if asked++; r.Type == wire.TypeJoin && asked == 1 {
					return body, data, err
				}
				cancel()
				return nil, nil, envelope.Errorf(envelope.Unavailable, "too late")
			})
			if test.at == wire.TypeJoin {
				sh.node.alone, sh.node.waits = true, 100
				test.args = append(test.args, sh.node.network.String())
			}
			var out, errs bytes.Buffer
			s := newSession(strings.NewReader("hello"), &out, &errs)
			code := run(ctx, s, append([]string{"--home", sh.home}, test.args...))
			lines := strings.SplitAfter(strings.TrimSuffix(errs.String(), "\n"), "\n")
			if code == 0 || out.Len() > 0 || lines[len(lines)-1] != "l2p: interrupted"+test.want {
				t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
			}
			if len(lines) > 1 && test.at != wire.TypeJoin {
				t.Errorf("more than one line: %q", lines)
			}
		})
	}
}

// TestFailedPut says what a put leaves that fails without being interrupted.
func TestFailedPut(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type == wire.TypePutSegment {
			return nil, nil, envelope.Errorf(envelope.NotDurable, "not durable: 1 of 3 nodes has it")
		}
		return body, data, err
	})
	sh.fails(envelope.NotDurable, "nodes has it; readers see nothing of it, and after a day the nodes drop what was sent", "put", "course", sh.file("x", "x"), "--public")
}

// TestKeysLast has the keys of who acts locked and the passphrase nowhere: what is
// wrong without any key is said all the same.
func TestKeysLast(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.ok("agent", "create", "zoe@a-tech", "--passphrase-file", sh.file("secret", testPassphrase+"\n"))
	x := sh.file("x", "x")
	sh.ok("put", "course", x, "--public")
	for _, test := range []struct {
		kind envelope.ErrorKind
		text string
		args []string
	}{
		{envelope.Denied, "only adam@a-tech itself may write there", []string{"rm", "adam@a-tech/course"}},
		{envelope.NotFound, "no envelope", []string{"rm", "nothing"}},
		{envelope.Denied, "only adam@a-tech itself may write there", []string{"put", "adam@a-tech/course", x, "--public"}},
		{envelope.Usage, "nobody to seal for", []string{"put", "new", x}},
		{envelope.NotFound, "nobody", []string{"put", "new", x, "-t", "nobody"}},
		{envelope.NotFound, "no such file", []string{"put", "new", x + "?", "--public"}},
		{envelope.NotFound, "no envelope", []string{"get", "adam@a-tech/nothing"}},
		{envelope.Conflict, "exists already", []string{"get", "adam@a-tech/course", "-o", sh.home}},
		{envelope.NotFound, "passphrase-file names a file", []string{"put", "new", x, "-t", "eve"}}, // nothing else is wrong
	} {
		sh.fails(test.kind, test.text, append(test.args, "--as", "zoe", "--passphrase-file", x+".none")...)
	}
}

// TestSealForMyself needs nothing of the network, however slow that is.
func TestSealForMyself(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.lie(func(r *netq.Request, body any, data []byte, err error) (any, []byte, error) {
		if r.Type != wire.TypeHello {
			t.Errorf("the node is asked %s", r.Type)
		}
		return body, data, err
	})
	sh.ok("seal", "-t", "adam", "-o", sh.file("x.l2p", ""), sh.file("x", "x"))
}

// TestReaderGone: like `l2p get course -o - | head -c 5`.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	sh := newShell(t)
	sh.ok("put", "course", sh.file("x", strings.Repeat("content", 300_000)), "-t", "adam")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	for _, args := range [][]string{{"get", "course", "-o", "-"}, {"ls"}, {"ls", "--json"}} {
		var errs bytes.Buffer
		s := newSession(strings.NewReader(""), w, &errs)
		if code := run(t.Context(), s, append([]string{"--home", sh.home}, args...)); code != exitNoReader || errs.Len() > 0 {
			t.Errorf("l2p %q: exit code %d: %s", args, code, &errs)
		}
	}
}
