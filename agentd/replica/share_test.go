package replica

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"l2p/envelope"
)

// TestSharedSegmentsStay: segments live as long as any version of an envelope
// has their key, also when only a later header does.
func TestSharedSegmentsStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam := newWriter(t)
		must(t, c.order[0].putDocument(adam))
		v1, share := adam.sealForShare(t, "course")
		must(t, c.order[0].putCourse(v1))
		v2 := share()
		must(t, c.order[1].putHeader(v2))
		time.Sleep(grace + 2*defaultPause)
		synctest.Wait()
		c.order[2].wantCourse(v2)
		old, _, err := c.order[2].GetRecord(t.Context(), v1.rec.Ref, 1)
		if err != nil || !bytes.Equal(old, v1.rec.Signed.Encode()) {
			t.Errorf("version 1 is gone: %v", err)
		}
		for _, n := range c.order {
			must(t, n.Store.DeleteRecord(v1.rec.Ref, v1.rec.Version))
		}
		time.Sleep(2 * defaultPause)
		c.order[0].wantCourse(v2)
		for range 3 {
			c.join(c.add())
		}
		settled()
		c.order[5].wantCourse(v2)
		c.wantCopies(v2)
	})
}

// TestNobodyTakesSegments: a reader, who could make every other part of the
// header, doesn't get the segments as their own.
func TestNobodyTakesSegments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		adam, eve := newWriter(t), newWriter(t)
		must(t, c.order[0].putDocument(adam))
		must(t, c.order[0].putDocument(eve))
		v1, _ := adam.sealForShare(t, "course")
		must(t, c.order[0].putCourse(v1))
		taken := *v1.rec.Header
		taken.Author, taken.Owner = eve.id, eve.id
		body, err := envelope.Encode(&taken)
		must(t, err)
		signed := &envelope.Signed{Body: body, Signatures: []envelope.Signature{envelope.Sign(eve, envelope.DomainHeader, body)}}
		rec, err := envelope.NewRecord(envelope.KindEnvelope, signed)
		must(t, err)
		for _, n := range c.order {
			wantKind(t, n.putHeader(course{rec: rec}), envelope.Corrupt)
		}
	})
}

// sealForShare is seal for a reader, and returns what makes the version that
// follows, with the same segments.
func (w *writer) sealForShare(t testing.TB, name string) (course, func() course) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	readers := []envelope.Recipient{{Agent: w.id, Age: identity.Recipient()}}
	sealer, err := envelope.NewSealer(envelope.SealOptions{Author: w, Name: name, Readers: readers})
	must(t, err)
	var c course
	size, err := sealer.Segments(t.Context(), bytes.NewReader(make([]byte, 2*envelope.SegmentPlainSize+5)), func(s *envelope.Segment) error {
		c.ids = append(c.ids, s.ID)
		c.frames = append(c.frames, s.AppendFrame(nil))
		return nil
	})
	must(t, err)
	signed, err := sealer.Header(&size)
	must(t, err)
	c.rec, err = envelope.NewRecord(envelope.KindEnvelope, signed)
	must(t, err)
	return c, func() course {
		t.Helper()
		opts := envelope.OpenOptions{Identities: []envelope.Identity{{Agent: w.id, Age: identity}}, AllowUnknownAuthor: true}
		opener, err := envelope.NewOpener(t.Context(), signed, opts)
		must(t, err)
		again, err := opener.Rewrap(envelope.RewrapOptions{Author: w, Parent: c.rec.Version, Readers: readers})
		must(t, err)
		rec, err := envelope.NewRecord(envelope.KindEnvelope, again)
		must(t, err)
		return course{rec, c.ids, c.frames}
	}
}
