package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
	"l2p/testdata/vectors"
)

const testdata = "../../testdata"

// kinds are the vectors' words for what must come of them.
var kinds = map[string]envelope.ErrorKind{
	"usage":   envelope.Usage,
	"denied":  envelope.Denied,
	"corrupt": envelope.Corrupt,
	"full":    envelope.Full,
}

// runVectors checks that each vector of a folder ends as it says.
func runVectors(t *testing.T, folder string, judge func(t *testing.T, v vectors.Vector) error) {
	t.Parallel()
	for _, v := range vectors.Read(t, testdata, folder) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			err := judge(t, v)
			if v.Expect == "ok" {
				if err != nil {
					t.Errorf("%s: %v", v.Fields["why"], err)
				}
				return
			}
			kind, known := kinds[v.Expect]
			switch {
			case !known:
				t.Errorf("vector expects %q, which nobody knows", v.Expect)
			case err == nil:
				t.Errorf("accepted though: %s", v.Fields["why"])
			case envelope.KindOf(err) != kind:
				t.Errorf("%s: error of kind %d, not %d: %v", v.Fields["why"], envelope.KindOf(err), kind, err)
			}
		})
	}
}

// key reads a public key, or a hash, from a vector's line.
func key(t *testing.T, v vectors.Vector, name string) ed25519.PublicKey {
	t.Helper()
	b, err := hex.DecodeString(v.Fields[name])
	if err != nil || len(b) != ed25519.PublicKeySize {
		t.Fatalf("vector has no %s (%v)", name, err)
	}
	return b
}

func TestCredentialsVectors(t *testing.T) {
	runVectors(t, "credentials", func(t *testing.T, v vectors.Vector) error {
		now, err := strconv.ParseInt(v.Fields["time"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		creds, err := wire.ParseCredentials(v.Body)
		if err != nil {
			return err
		}
		if network := creds.Network(); !bytes.Equal(network[:], key(t, v, "network")) {
			t.Errorf("network is %x", network[:])
		}
		_, _, err = wire.VerifyCredentials(creds, key(t, v, "node"), time.Unix(now, 0))
		return err
	})
}

func TestRevocationVectors(t *testing.T) {
	runVectors(t, "revocation", func(t *testing.T, v vectors.Vector) error {
		s, err := envelope.ParseSigned(v.Body, wire.MaxCertSize)
		if err != nil {
			return err
		}
		r, err := wire.ParseRevocation(s)
		if err != nil {
			return err
		}
		signer := key(t, v, "root")
		if r.Left {
			signer = key(t, v, "box")
		}
		_, err = wire.VerifyRevocation(s, signer)
		return err
	})
}

func TestGossipKeyVectors(t *testing.T) {
	runVectors(t, "gossipkey", func(t *testing.T, v vectors.Vector) error {
		s, err := envelope.ParseSigned(v.Body, wire.MaxCertSize)
		if err != nil {
			return err
		}
		_, err = wire.VerifyGossipKey(s, key(t, v, "root"))
		return err
	})
}

func TestRequestVectors(t *testing.T) {
	runVectors(t, "request", func(_ *testing.T, v vectors.Vector) error {
		_, _, err := wire.ParseJoinRequest(v.Body)
		return err
	})
}

func TestTicketVectors(t *testing.T) {
	runVectors(t, "ticket", func(_ *testing.T, v vectors.Vector) error {
		_, err := wire.ParseTicket(string(v.Body))
		return err
	})
}

func TestMessageVectors(t *testing.T) {
	bodies := map[wire.Type]func() any{
		wire.TypeError:      func() any { return new(wire.Error) },
		wire.TypeOK:         func() any { return new(wire.Empty) },
		wire.TypeHello:      func() any { return new(wire.Hello) },
		wire.TypePutRecord:  func() any { return new(wire.PutRecord) },
		wire.TypeGetRecord:  func() any { return new(wire.GetRecord) },
		wire.TypePutSegment: func() any { return new(wire.PutSegment) },
		wire.TypePing:       func() any { return new(wire.Empty) },
	}
	runVectors(t, "message", func(t *testing.T, v vectors.Vector) error {
		r := bytes.NewReader(v.Body)
		m, err := wire.ReadMessage(r, wire.Unlimited)
		if err != nil {
			return err
		}
		if err := wire.ReadEnd(r); err != nil {
			return err
		}
		newBody, ok := bodies[m.Type]
		if !ok {
			t.Fatalf("no body for type %d", m.Type)
		}
		body := newBody()
		if err := m.Decode(body); err != nil {
			return err
		}
		again, err := wire.AppendMessage(nil, m.Type, body, len(m.Data))
		if err != nil {
			return err
		}
		if !bytes.Equal(append(again, m.Data...), v.Body) {
			t.Error("writing the message again gives other bytes")
		}
		return nil
	})
}
