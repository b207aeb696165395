package envelope_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/zeebo/blake3"

	"l2p/envelope"
	"l2p/testdata/vectors"
)

const testdata = "../testdata"

// kinds are the vectors' words for what must come of them.
var kinds = map[string]envelope.ErrorKind{
	"corrupt":    envelope.Corrupt,
	"not-found":  envelope.NotFound,
	"not-reader": envelope.NotReader,
}

// checkExpected compares what came of a vector with what must come of it.
func checkExpected(t *testing.T, v vectors.Vector, err error) {
	t.Helper()
	if v.Expect == "ok" {
		if err != nil {
			t.Errorf("%s: %v", v.Fields["why"], err)
		}
		return
	}
	kind, known := kinds[v.Expect]
	if !known {
		t.Fatalf("vector expects %q, which nobody knows", v.Expect)
	}
	switch {
	case err == nil:
		t.Errorf("accepted though %s", v.Fields["why"])
	case envelope.KindOf(err) != kind:
		t.Errorf("%s: error of kind %d, not %d: %v", v.Fields["why"], envelope.KindOf(err), kind, err)
	}
}

// actors are the agents of the vectors: one first document each.
type actors map[envelope.AgentID]*envelope.Document

func (a actors) Chain(_ context.Context, id envelope.AgentID) ([]*envelope.Document, error) {
	if d, ok := a[id]; ok {
		return []*envelope.Document{d}, nil
	}
	return nil, envelope.Errorf(envelope.NotFound, "no agent %s", id)
}

func readActors(t *testing.T) (all actors, byName map[string]envelope.AgentID) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testdata, "agents", "*.doc"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no agents (%v)", err)
	}
	all, byName = make(actors), make(map[string]envelope.AgentID)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := envelope.ParseDocument(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[d.ID()] = d
		name := filepath.Base(file)
		byName[name[:len(name)-len(".doc")]] = d.ID()
	}
	return all, byName
}

func TestDocumentVectors(t *testing.T) {
	t.Parallel()
	docs, _ := readActors(t)
	for _, v := range vectors.Read(t, testdata, "document") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			var encoded [][]byte
			if err := envelope.Decode(v.Body, len(v.Body), &encoded); err != nil {
				t.Fatal(err)
			}
			checkExpected(t, v, func() error {
				var chain []*envelope.Document
				for _, data := range encoded {
					d, err := envelope.ParseDocument(data)
					if err != nil {
						return err
					}
					chain = append(chain, d)
				}
				if got := hex.EncodeToString(idBytes(chain[0])); got != v.Fields["id"] {
					t.Errorf("id is %s, not %s", got, v.Fields["id"])
				}
				return envelope.VerifyChain(t.Context(), chain, docs)
			}())
		})
	}
}

func TestBindingVectors(t *testing.T) {
	t.Parallel()
	docs, _ := readActors(t)
	for _, v := range vectors.Read(t, testdata, "binding") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			r, err := envelope.ParseRecord(envelope.KindBinding, v.Body)
			if err == nil {
				err = envelope.VerifyRecord(t.Context(), r, docs)
			}
			checkExpected(t, v, err)
		})
	}
}

func idBytes(d *envelope.Document) []byte {
	id := d.ID()
	return id[:]
}

func TestEnvelopeVectors(t *testing.T) {
	t.Parallel()
	docs, byName := readActors(t)
	for _, v := range vectors.Read(t, testdata, "envelope") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			key, err := age.ParseX25519Identity(v.Fields["identity"])
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			_, err = envelope.Open(t.Context(), &out, bytes.NewReader(v.Body), envelope.OpenOptions{
				Identities: []envelope.Identity{{Agent: byName[v.Fields["reader"]], Age: key}},
				Documents:  docs,
			})
			checkExpected(t, v, err)
			if v.Expect != "ok" {
				return
			}
			sum := blake3.Sum256(out.Bytes())
			if got := base64.RawStdEncoding.EncodeToString(sum[:]); got != v.Fields["blake3"] {
				t.Errorf("plaintext of %d bytes has hash %s, not %s", out.Len(), got, v.Fields["blake3"])
			}
		})
	}
}
