package main

import (
	"bytes"
	"encoding/binary"
)

// message encodes one message of the node protocol.
func message(kind, reserved uint16, body, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, reserved)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, body...), data...)
}

const (
	typeError      = 1
	typeOK         = 2
	typeHello      = 10
	typePutRecord  = 20
	typeGetRecord  = 22
	typePutSegment = 30
	typePing       = 70
)

func writeMessages(w *writer) {
	put := func(name, expect, why string, data []byte) { w.vector("message", name, expect, why, data) }
	empty := object()
	ref := object(pair{1, num(2)}, pair{2, bin(adam.id)}, pair{3, text("go-intro")})
	get := object(pair{1, ref})
	segmentID := object(pair{1, bin(public(signingKey("segment")))}, pair{2, num(0)})
	frame := sealed(hello).segments[0].encode()

	put("ok_ping", "ok", "a message that says nothing more", message(typePing, 0, empty, nil))
	put("ok_reply", "ok", "the plainest reply", message(typeOK, 0, empty, nil))
	put("ok_error", "ok", "a failure", message(typeError, 0, object(pair{1, num(3)}, pair{2, text("no such envelope")}, pair{3, text("see l2p ls")}), nil))
	put("ok_hello", "ok", "Adam calls", message(typeHello, 0, object(pair{1, bin(adam.id)}), nil))
	put("ok_hello_operator", "ok", "the operator calls", message(typeHello, 0, empty, nil))
	put("ok_get_record", "ok", "the newest version of a ref", message(typeGetRecord, 0, get, nil))
	put("ok_put_record", "ok", "a header", message(typePutRecord, 0, object(pair{1, num(2)}), named(sealed(hello), "go-intro", 1).header()))
	put("ok_put_segment", "ok", "a segment", message(typePutSegment, 0, object(pair{1, segmentID}, pair{2, bin(adam.id)}), frame))

	put("type_unknown", "usage", "a type that isn't known", message(999, 0, empty, nil))
	put("reserved", "corrupt", "reserved bytes that aren't zero", message(typePing, 1, empty, nil))
	put("preamble_cut", "corrupt", "cut within the preamble", message(typePing, 0, empty, nil)[:7])
	put("body_cut", "corrupt", "cut within the body", message(typeGetRecord, 0, get, nil)[:20])
	whole := message(typePutSegment, 0, object(pair{1, segmentID}, pair{2, bin(adam.id)}), frame)
	put("data_cut", "corrupt", "cut within the data", whole[:len(whole)-1])
	huge := func(offset int, n uint32) []byte {
		b := bytes.Clone(message(typeGetRecord, 0, get, nil))
		binary.BigEndian.PutUint32(b[offset:], n)
		return b
	}
	put("body_over", "full", "a body a byte over its limit", huge(4, 64<<10+1))
	put("body_max", "full", "a body of 4 GiB", huge(4, 0xffffffff))
	put("data_over", "full", "data where there must be none", huge(8, 1))
	put("data_max", "full", "data of 4 GiB", huge(8, 0xffffffff))
	put("body_empty", "corrupt", "no body at all", message(typeGetRecord, 0, nil, nil))
	put("body_trailing", "corrupt", "a byte behind the body's value", message(typeGetRecord, 0, append(bytes.Clone(get), 0), nil))
	put("body_unknown_key", "corrupt", "a key that isn't known", message(typeGetRecord, 0, object(pair{1, ref}, pair{9, num(1)}), nil))
	put("body_missing", "corrupt", "a key that must be there isn't", message(typeGetRecord, 0, empty, nil))
	put("body_zero", "corrupt", "a zero that should be absent", message(typeGetRecord, 0, object(pair{1, ref}, pair{2, num(0)}), nil))
}
