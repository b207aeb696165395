package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"filippo.io/age"

	"l2p/envelope"
)

// A writer is an agent who signs what tests store.
type writer struct {
	key ed25519.PrivateKey
	id  envelope.AgentID // zero until its first document is signed
	age string
}

func (w *writer) Agent() envelope.AgentID        { return w.id }
func (w *writer) DocumentVersion() uint64        { return 1 }
func (w *writer) PrivateKey() ed25519.PrivateKey { return w.key }

func newKeys(t testing.TB) *writer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &writer{key: key, age: identity.Recipient().String()}
}

func (w *writer) document(kind envelope.AgentKind) *envelope.Document {
	return &envelope.Document{
		Format: 1, Kind: kind, Version: 1, Time: time.Now().UnixMilli(),
		Keys:      []envelope.SigningKey{{Algorithm: envelope.Ed25519, Key: w.key.Public().(ed25519.PublicKey)}},
		Recipient: w.age,
	}
}

// newUser returns a user and the record of its document, with locked secrets
// of the given size.
func newUser(t testing.TB, locked int) (*writer, *envelope.Record) {
	w := newKeys(t)
	d := w.document(envelope.User)
	var attachments [][]byte
	if locked > 0 {
		attachments = [][]byte{make([]byte, locked)}
		rand.Read(attachments[0])
		d.Locked = envelope.AttachmentHash(attachments[0])
	}
	d = sign(t, d, attachments, w)
	w.id = d.ID()
	return w, record(t, envelope.KindDocument, d.Signed())
}

func sign(t testing.TB, d *envelope.Document, attachments [][]byte, by ...envelope.Signer) *envelope.Document {
	t.Helper()
	d, err := envelope.SignDocument(d, attachments, by...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func record(t testing.TB, kind envelope.RecordKind, s *envelope.Signed) *envelope.Record {
	t.Helper()
	r, err := envelope.NewRecord(kind, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// header returns the header of a small public envelope, the version behind parent.
func (w *writer) header(t testing.TB, name string, parent envelope.Version) *envelope.Record {
	t.Helper()
	r, _, _ := w.envelope(t, name, parent, 1)
	return r
}

// envelope seals a public envelope and returns its header and its segments' frames.
func (w *writer) envelope(t testing.TB, name string, parent envelope.Version, size int) (*envelope.Record, []envelope.SegmentID, [][]byte) {
	t.Helper()
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: w, Name: name, Parent: parent, Public: true})
	if err != nil {
		t.Fatal(err)
	}
	var ids []envelope.SegmentID
	var frames [][]byte
	content := make([]byte, size)
	rand.Read(content)
	n, err := sealer.Segments(context.Background(), bytes.NewReader(content), func(s *envelope.Segment) error {
		ids = append(ids, s.ID)
		frames = append(frames, s.AppendFrame(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sealer.Header(&n)
	if err != nil {
		t.Fatal(err)
	}
	return record(t, envelope.KindEnvelope, s), ids, frames
}

// anyRecord accepts every record.
func anyRecord([]envelope.Version) error { return nil }

// plenty is a disk with room.
func plenty(string) (free, total uint64, err error) { return 1 << 40, 1 << 41, nil }

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{Statfs: plenty})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore returns a store in a directory of its own, closed at the end.
func newStore(t testing.TB) *Store {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s *Store, records ...*envelope.Record) {
	t.Helper()
	for _, r := range records {
		if _, err := s.PutRecord(r, anyRecord); err != nil {
			t.Fatal(err)
		}
	}
}

func wantKind(t testing.TB, err error, kind envelope.ErrorKind) {
	t.Helper()
	if err == nil || envelope.KindOf(err) != kind {
		t.Fatalf("error is %v, want one of kind %d", err, kind)
	}
}
