package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"l2p/envelope"
	"l2p/netq/wire"
)

// bodies has one body of every type, with as many fields set as it can have.
func bodies() map[wire.Type]any {
	agent, node, network := envelope.AgentID{1}, envelope.NodeID{2}, envelope.NetworkID{3}
	hash, version := envelope.Hash{4}, envelope.Version{N: 5, Hash: envelope.Hash{6}}
	ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: agent, Name: "courses/intro"}
	segment := envelope.SegmentID{Key: [32]byte{7}, Index: 8}
	statement := wire.Statement{Kind: wire.StatementBox, Data: []byte("a certificate")}
	status := wire.NodeStatus{Node: node, Box: agent, BoxName: "a-tech", Addr: "10.0.0.1:9011", Alive: true, Share: 0.25, Self: true}
	replica := wire.Replica{Node: node, State: wire.Holds, Has: version}
	welcome := wire.Welcome{Network: network, Node: node, Box: agent, BoxName: "a-tech", Software: "test", Operator: true}
	return map[wire.Type]any{
		wire.TypeError:        wire.Error{Kind: envelope.Conflict, Text: "somebody was first", Hint: "try again"},
		wire.TypeOK:           wire.Empty{},
		wire.TypeHello:        wire.Hello{Agent: agent},
		wire.TypeWelcome:      welcome,
		wire.TypePutRecord:    wire.PutRecord{Kind: envelope.KindBinding, Repair: true},
		wire.TypePutReply:     wire.PutReply{Copies: 2, Want: 3},
		wire.TypeGetRecord:    wire.GetRecord{Ref: ref, N: 4},
		wire.TypeRecordReply:  wire.RecordReply{Stale: true, Forks: []envelope.Version{version}},
		wire.TypeListRecords:  wire.ListRecords{Kind: envelope.KindEnvelope, Owner: agent, Name: "n", AllNames: true, History: true, Bare: true, AfterName: "m", AfterN: 9},
		wire.TypeRecords:      wire.RecordsReply{More: true, Stale: true},
		wire.TypeMemberships:  wire.Memberships{Agent: agent, After: agent},
		wire.TypeHasRecords:   wire.HasRecords{Records: []wire.RecordID{{Ref: ref, Version: version}}},
		wire.TypePutSegment:   wire.PutSegment{ID: segment, Owner: agent},
		wire.TypeGetSegment:   wire.GetSegment{ID: segment},
		wire.TypeSegmentReply: wire.Empty{},
		wire.TypeHasSegments:  wire.HasSegments{IDs: []envelope.SegmentID{segment, {}}},
		wire.TypeHasReply:     wire.HasReply{Have: []bool{true, false}},
		wire.TypeLiveKeys:     wire.LiveKeys{Owner: agent, After: make([]byte, 32)},
		wire.TypeLiveReply:    wire.LiveKeysReply{Keys: [][]byte{make([]byte, 32)}, More: true},
		wire.TypeStatus:       wire.Empty{},
		wire.TypeStatusReply: wire.StatusReply{Welcome: welcome, Founder: true, Nodes: []wire.NodeStatus{status}, Records: 1,
			Segments: 2, Bytes: 3, DiskFree: 4, K: 3, W: 2, R: 2, Uptime: 5, Pending: 6, Behind: 7},
		wire.TypeRing:         wire.Ring{Ref: &ref},
		wire.TypeRingReply:    wire.RingReply{Nodes: []wire.NodeStatus{status}, Record: []wire.Replica{replica}, Segments: [][]wire.Replica{{replica}}},
		wire.TypeRoster:       wire.RosterRequest{Have: []envelope.Hash{hash}, Statements: []wire.Statement{statement}},
		wire.TypeRosterReply:  wire.RosterReply{Network: network, RootKey: []byte("key"), Statements: []wire.Statement{statement}, Want: []envelope.Hash{hash}},
		wire.TypeInit:         wire.Init{BoxName: "a-tech"},
		wire.TypeInvite:       wire.Invite{BoxName: "e-build", TTL: 3600},
		wire.TypeInviteReply:  wire.InviteReply{Ticket: "l2pticket1", Expires: 1},
		wire.TypeJoin:         wire.Join{Ticket: "l2pticket1", Addr: "host:1", Network: network, BoxName: "e-build"},
		wire.TypeJoinReply:    wire.JoinReply{Waiting: true, Request: hash, Network: network, BoxName: "e-build", Boxes: 2},
		wire.TypeLookAt:       wire.LookAt{Addr: "host:1"},
		wire.TypeLookAtReply:  wire.LookAtReply{Network: network, BoxName: "a-tech"},
		wire.TypePending:      wire.Empty{},
		wire.TypePendingReply: wire.PendingReply{Requests: []wire.PendingRequest{{Request: hash, BoxName: "e-build", Box: agent, Addr: "host:1", Time: 1}}},
		wire.TypeAdmit:        wire.Admit{Request: hash, Refuse: true},
		wire.TypeLeave:        wire.Empty{},
		wire.TypeBind:         wire.Bind{Name: "adam", Agent: agent, Replace: true, Revoke: true},
		wire.TypeStop:         wire.Empty{},
		wire.TypeReserve:      wire.Reserve{Kind: envelope.KindEnvelope, Release: true},
		wire.TypeReserveReply: wire.ReserveReply{Granted: true},
		wire.TypeExpel:        wire.Expel{Box: agent},
		wire.TypeExpelReply:   wire.ExpelReply{Told: 1, Others: 2},
		wire.TypePing:         wire.Empty{},
		wire.TypeGossip:       wire.Empty{},
		wire.TypeAsk:          wire.Ask{Request: []byte("request"), Secret: make([]byte, 16)},
		wire.TypeAdmission:    wire.Admission{RootKey: []byte("key"), Statements: []wire.Statement{statement}, GossipKey: make([]byte, 32), Peers: []wire.Peer{{Node: node, Addr: "host:1"}}},
	}
}

// newBody returns a pointer to an empty body of the same type as v.
func newBody(v any) any { return reflect.New(reflect.TypeOf(v)).Interface() }

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	all := bodies()
	for n := range 1 << 16 {
		typ := wire.Type(n)
		body, ok := all[typ]
		if ok != typ.Known() {
			t.Fatalf("%s: known is %v, and the test has a body for it: %v", typ, typ.Known(), ok)
		}
		if !ok {
			continue
		}
		var data []byte
		if typ.Limits().Data > 0 {
			data = []byte("data")
		}
		var buf bytes.Buffer
		if err := wire.WriteMessage(&buf, typ, body, data); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		m, err := wire.ReadMessage(iotest.OneByteReader(&buf), wire.Unlimited)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		got := newBody(body)
		if err := m.Decode(got); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if m.Type != typ || !bytes.Equal(m.Data, data) || !reflect.DeepEqual(reflect.ValueOf(got).Elem().Interface(), body) {
			t.Errorf("%s came back as %s, %q, %+v", typ, m.Type, m.Data, got)
		}
	}
}

// Every request names the reply that answers it, and nothing is both.
func TestRequestsAndReplies(t *testing.T) {
	t.Parallel()
	for typ := range bodies() {
		switch reply := typ.Reply(); {
		case typ == wire.TypeGossip:
			if reply != 0 {
				t.Errorf("%s has a reply", typ)
			}
		case typ.From() == 0:
			if reply != 0 {
				t.Errorf("%s is a reply and has one", typ)
			}
		case !reply.Known() || reply.From() != 0:
			t.Errorf("%s is answered by %s", typ, reply)
		}
	}
}

func message(t *testing.T, typ wire.Type, body any, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := wire.WriteMessage(&buf, typ, body, data); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func preamble(typ, reserved uint16, body, data uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = binary.BigEndian.AppendUint16(b, reserved)
	b = binary.BigEndian.AppendUint32(b, body)
	return binary.BigEndian.AppendUint32(b, data)
}

// refusing fails the test when anything is read behind the preamble.
type refusing struct{ t *testing.T }

func (r refusing) Read([]byte) (int, error) {
	r.t.Error("read on behind a preamble that must be refused")
	return 0, io.EOF
}

func TestPreambleRefused(t *testing.T) {
	t.Parallel()
	const get, put = uint16(wire.TypeGetRecord), uint16(wire.TypePutRecord)
	tests := []struct {
		name     string
		preamble []byte
		limits   wire.Limits
		kind     envelope.ErrorKind
	}{
		{"reserved", preamble(get, 1, 1, 0), wire.Unlimited, envelope.Corrupt},
		{"type 0", preamble(0, 0, 1, 0), wire.Unlimited, envelope.Usage},
		{"unknown type", preamble(9999, 0, 1, 0), wire.Unlimited, envelope.Usage},
		{"body", preamble(get, 0, wire.MaxBody+1, 0), wire.Unlimited, envelope.Full},
		{"body, greatest", preamble(get, 0, 1<<32-1, 0), wire.Unlimited, envelope.Full},
		{"data where there are none", preamble(get, 0, 1, 1), wire.Unlimited, envelope.Full},
		{"data", preamble(put, 0, 1, wire.MaxRecordData+1), wire.Unlimited, envelope.Full},
		{"data, greatest", preamble(put, 0, 1, 1<<32-1), wire.Unlimited, envelope.Full},
		{"segment", preamble(uint16(wire.TypePutSegment), 0, 1, wire.MaxSegmentData+1), wire.Unlimited, envelope.Full},
		{"ask", preamble(uint16(wire.TypeAsk), 0, wire.MaxBody+1, 0), wire.Unlimited, envelope.Full},
		{"body over the caller's limit", preamble(get, 0, 11, 0), wire.Limits{Body: 10}, envelope.Full},
		{"data over the caller's limit", preamble(put, 0, 10, 11), wire.Limits{Body: 10, Data: 10}, envelope.Full},
	}
	for _, test := range tests {
		_, err := wire.ReadMessage(io.MultiReader(bytes.NewReader(test.preamble), refusing{t}), test.limits)
		if envelope.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s: error of kind %d, want %d: %v", test.name, envelope.KindOf(err), test.kind, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	whole := message(t, wire.TypePutRecord, wire.PutRecord{Kind: envelope.KindBinding}, []byte("record"))
	for n := range len(whole) {
		_, err := wire.ReadMessage(bytes.NewReader(whole[:n]), wire.Unlimited)
		if n == 0 {
			if err != io.EOF {
				t.Errorf("nothing at all: %v, want io.EOF", err)
			}
			continue
		}
		if envelope.KindOf(err) != envelope.Corrupt {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	broken := errors.New("the line is dead")
	for n := range len(whole) {
		_, err := wire.ReadMessage(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken)), wire.Unlimited)
		if !errors.Is(err, broken) {
			t.Errorf("a reader that fails after %d bytes: %v", n, err)
		}
	}
}

func TestReadEnd(t *testing.T) {
	t.Parallel()
	if err := wire.ReadEnd(strings.NewReader("")); err != nil {
		t.Error(err)
	}
	if err := wire.ReadEnd(strings.NewReader("x")); envelope.KindOf(err) != envelope.Corrupt {
		t.Errorf("trailing byte: %v", err)
	}
}

// widest remembers the widest buffer that it was given to fill.
type widest struct{ n int }

func (w *widest) Read(b []byte) (int, error) {
	w.n = max(w.n, len(b))
	return 0, io.EOF
}

// Who announces much and sends little must not cost much.
func TestAnnouncementCostsNothing(t *testing.T) {
	t.Parallel()
	var w widest
	head := preamble(uint16(wire.TypePutRecord), 0, 0, wire.MaxRecordData)
	if _, err := wire.ReadMessage(io.MultiReader(bytes.NewReader(head), &w), wire.Unlimited); envelope.KindOf(err) != envelope.Corrupt {
		t.Fatal(err)
	}
	if w.n == 0 || w.n > wire.MaxSegmentData {
		t.Errorf("an announcement of %d bytes makes room for %d", wire.MaxRecordData, w.n)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, records := range [][][]byte{{}, {{}}, {[]byte("one"), []byte("two")}} {
		data, err := wire.EncodeRecords(records)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.DecodeRecords(data)
		if err != nil || len(got) != len(records) {
			t.Fatalf("%q became %q, %v", records, got, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], records[i]) {
				t.Errorf("record %d of %q became %q", i, records, got[i])
			}
		}
	}
	if data, err := wire.EncodeRecords(nil); err != nil || !bytes.Equal(data, []byte{0x80}) {
		t.Errorf("no records: %x, %v", data, err)
	}
	if _, err := wire.EncodeRecords([][]byte{make([]byte, wire.MaxRecordData)}); envelope.KindOf(err) != envelope.Full {
		t.Errorf("a page over the limit: %v", err)
	}
	for _, bad := range []string{"", "\x81", "\x80\x80", "\xf6", "\x81\x61a", "\x9f\xff"} {
		if _, err := wire.DecodeRecords([]byte(bad)); envelope.KindOf(err) != envelope.Corrupt {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", wire.MaxErrorText)
	plain := errors.New("disk broken")
	tests := []struct {
		err  error
		want envelope.Error
	}{
		{envelope.Errorf(envelope.NotFound, "no such thing"), envelope.Error{Kind: envelope.NotFound, Text: "no such thing"}},
		{envelope.WithHint(envelope.Errorf(envelope.Full, "full"), "make room"), envelope.Error{Kind: envelope.Full, Text: "full", Hint: "make room"}},
		{envelope.Errorf(envelope.NotDurable, "one of two: %w", plain), envelope.Error{Kind: envelope.NotDurable, Text: "one of two: disk broken"}},
		{plain, envelope.Error{Kind: envelope.Other, Text: "disk broken"}},
		{errors.New("two\nlines\x1b[2J\u202e\xff"), envelope.Error{Kind: envelope.Other, Text: "two lines\uFFFD[2J\uFFFD\uFFFD"}},
		{errors.New(""), envelope.Error{Kind: envelope.Other, Text: "the other side gave no reason"}},
		{errors.New(long), envelope.Error{Kind: envelope.Other, Text: long[:wire.MaxErrorText-4] + "…"}},
		{&envelope.Error{Kind: 77, Text: "from the future"}, envelope.Error{Kind: envelope.Other, Text: "from the future"}},
	}
	for _, test := range tests {
		// Through the codec, as a peer gets it.
		raw := message(t, wire.TypeError, wire.ErrorOf(test.err), nil)
		m, err := wire.ReadMessage(bytes.NewReader(raw), wire.Unlimited)
		if err != nil {
			t.Fatal(err)
		}
		var e wire.Error
		if err := m.Decode(&e); err != nil {
			t.Fatal(err)
		}
		got, ok := errors.AsType[*envelope.Error](e.Err())
		if !ok || *got != test.want {
			t.Errorf("%v came back as %+v, want %+v", test.err, got, test.want)
		}
		if len(got.Text) > wire.MaxErrorText {
			t.Errorf("text of %d bytes", len(got.Text))
		}
	}
	// A peer that doesn't clean its text is cleaned here.
	if got := (wire.Error{Kind: envelope.Denied, Text: "a\x1b]0;b", Hint: "c\nd"}).Err().Error(); got != "a\uFFFD]0;b; c d" {
		t.Errorf("%q", got)
	}
}

func FuzzReadMessage(f *testing.F) {
	for typ, body := range bodies() {
		var buf bytes.Buffer
		if err := wire.WriteMessage(&buf, typ, body, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Add(preamble(uint16(wire.TypePutRecord), 0, 1<<31, 1<<31))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := wire.ReadMessage(bytes.NewReader(in), wire.Unlimited)
		if err != nil {
			if err != io.EOF && envelope.KindOf(err) == envelope.Other {
				t.Fatalf("an error without a kind: %v", err)
			}
			return
		}
		limits := m.Type.Limits()
		if len(m.Body) > limits.Body || len(m.Data) > limits.Data {
			t.Fatalf("%s with %d and %d bytes", m.Type, len(m.Body), len(m.Data))
		}
		if used := wire.PreambleSize + len(m.Body) + len(m.Data); used > len(in) {
			t.Fatalf("%d bytes out of %d", used, len(in))
		}
	})
}

// FuzzBody decodes a body as every type; what decodes must encode to the same.
func FuzzBody(f *testing.F) {
	all := bodies()
	for typ, body := range all {
		b, err := envelope.Encode(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(typ), b)
	}
	f.Fuzz(func(t *testing.T, n uint16, in []byte) {
		typ := wire.Type(n)
		body, ok := all[typ]
		if !ok {
			return
		}
		v := newBody(body)
		if err := wire.DecodeBody(typ, in, v); err != nil {
			if envelope.KindOf(err) != envelope.Corrupt {
				t.Fatalf("%s: %v", typ, err)
			}
			return
		}
		if again, err := envelope.Encode(v); err != nil || !bytes.Equal(again, in) {
			t.Fatalf("%s: %x decodes and encodes to %x, %v", typ, in, again, err)
		}
		if e, ok := v.(*wire.Error); ok {
			if s := e.Err().Error(); strings.ContainsAny(s, "\n\x1b") {
				t.Fatalf("an error text drives a terminal: %q", s)
			}
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add([]byte("\x82\x41a\x41b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		records, err := wire.DecodeRecords(in)
		if err != nil {
			return
		}
		if again, err := wire.EncodeRecords(records); err != nil || !bytes.Equal(again, in) {
			t.Fatalf("%x decodes and encodes to %x, %v", in, again, err)
		}
	})
}

// docs/protocol.md has a row for every type, with its reply.
func TestDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for typ := range bodies() {
		row := fmt.Sprintf("| %d | %s |", uint16(typ), typ)
		_, rest, found := strings.Cut(string(doc), "\n"+row)
		if !found {
			t.Errorf("docs/protocol.md has no row %q", row)
			continue
		}
		if reply := typ.Reply(); reply != 0 {
			line, _, _ := strings.Cut(rest, "\n")
			if !strings.Contains(line, fmt.Sprintf(" | %d | ", uint16(reply))) {
				t.Errorf("docs/protocol.md doesn't say that %s is answered by %s", typ, reply)
			}
		}
	}
}
