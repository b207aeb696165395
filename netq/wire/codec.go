package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"

	"l2p/envelope"
)

// PreambleSize is the length of what precedes every message's body, in bytes.
const PreambleSize = 12

// A Preamble says what the message behind it is and how long.
type Preamble struct {
	Type Type
	Body int // bytes
	Data int // bytes
}

// Limits are the greatest lengths of a message's parts, in bytes.
type Limits struct {
	Body int
	Data int
}

// Unlimited lowers no type's own limits.
var Unlimited = Limits{Body: math.MaxInt32, Data: math.MaxInt32}

// A Message is one request or reply as it was received.
type Message struct {
	Type Type
	Body []byte // CBOR
	Data []byte
}

// Decode reads the body into v, which must be a pointer to the type that
// belongs to m.Type. A body that is not exactly one value in core
// deterministic encoding is an error of kind Corrupt.
func (m *Message) Decode(v any) error { return DecodeBody(m.Type, m.Body, v) }

// DecodeBody reads the body of a message of type t into v, as [Message.Decode] does.
func DecodeBody(t Type, body []byte, v any) error {
	return envelope.Decode(body, t.Limits().Body, v)
}

// AppendMessage appends preamble and body of a message to dst. The sender
// writes dataLen bytes of data behind them.
func AppendMessage(dst []byte, t Type, body any, dataLen int) ([]byte, error) {
	if body == nil {
		body = Empty{}
	}
	b, err := envelope.Encode(body)
	if err != nil {
		return dst, envelope.Errorf(envelope.Usage, "encoding a %s message: %w", t, err)
	}
	p := Preamble{Type: t, Body: len(b), Data: dataLen}
	if err := p.Check(Unlimited); err != nil {
		return dst, err
	}
	dst = p.append(dst)
	return append(dst, b...), nil
}

// WriteMessage writes one message. A nil body is the empty map.
func WriteMessage(w io.Writer, t Type, body any, data []byte) error {
	head, err := AppendMessage(nil, t, body, len(data))
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = w.Write(data)
	}
	return err
}

// ReadMessage reads one message whose parts are within the limits of its type
// and within l. A message that breaks the format is an error of kind
// Corrupt, one over a limit of kind Full, one of an unknown type of kind Usage;
// an end of input before the first byte is io.EOF; errors of r are passed on.
func ReadMessage(r io.Reader, l Limits) (*Message, error) {
	p, err := ReadPreamble(r)
	if err != nil {
		return nil, err
	}
	if err := p.Check(l); err != nil {
		return nil, err
	}
	return p.ReadRest(r)
}

// ReadPreamble reads a preamble. Its lengths are not checked yet: call
// [Preamble.Check] before [Preamble.ReadRest].
func ReadPreamble(r io.Reader) (Preamble, error) {
	var b [PreambleSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Preamble{}, truncated(err)
	}
	return ParsePreamble(b[:])
}

// ParsePreamble decodes the first PreambleSize bytes of b.
func ParsePreamble(b []byte) (Preamble, error) {
	if len(b) < PreambleSize {
		return Preamble{}, envelope.Errorf(envelope.Corrupt, "a message is cut off in its preamble")
	}
	t := Type(binary.BigEndian.Uint16(b))
	reserved := binary.BigEndian.Uint16(b[2:])
	body, data := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if reserved != 0 {
		return Preamble{}, envelope.Errorf(envelope.Corrupt, "a message's reserved bytes are %#x, not zero", reserved)
	}
	if body > math.MaxInt32 || data > math.MaxInt32 {
		return Preamble{}, envelope.Errorf(envelope.Full, "a message of type %s claims %d and %d bytes", t, body, data)
	}
	return Preamble{Type: t, Body: int(body), Data: int(data)}, nil
}

func (p Preamble) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Type))
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Body))
	return binary.BigEndian.AppendUint32(dst, uint32(p.Data))
}

// Check compares the lengths with the limits of the type and with l. Errors are
// of kind Usage for an unknown type, Full for a length over its limit.
func (p Preamble) Check(l Limits) error {
	if !p.Type.Known() {
		return envelope.WithHint(
			envelope.Errorf(envelope.Usage, "unknown message type %d", uint16(p.Type)),
			"one side may run an older version of l2p")
	}
	own := p.Type.Limits()
	if limit := min(own.Body, l.Body); p.Body > limit {
		return envelope.Errorf(envelope.Full, "the body of a %s message has %d bytes, over the limit of %d", p.Type, p.Body, limit)
	}
	if limit := min(own.Data, l.Data); p.Data > limit {
		return envelope.Errorf(envelope.Full, "the data of a %s message have %d bytes, over the limit of %d", p.Type, p.Data, limit)
	}
	return nil
}

// ReadRest reads the message behind p, which must have been checked.
func (p Preamble) ReadRest(r io.Reader) (*Message, error) {
	body, err := p.ReadBody(r, nil)
	if err != nil {
		return nil, err
	}
	data, err := p.ReadData(r)
	if err != nil {
		return nil, err
	}
	return &Message{Type: p.Type, Body: body, Data: data}, nil
}

// ReadBody reads the body behind p, which must have been checked. It uses buf
// if that has room.
func (p Preamble) ReadBody(r io.Reader, buf []byte) ([]byte, error) {
	return readFull(r, buf[:0], p.Body)
}

// ReadData reads the data behind the body.
func (p Preamble) ReadData(r io.Reader) ([]byte, error) { return readFull(r, nil, p.Data) }

// readFull appends n bytes of r to buf, which is empty. Beyond the size of a
// segment it makes room only as bytes arrive: who announces much must send it.
func readFull(r io.Reader, buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		room := min(n, max(2*len(buf), MaxSegmentData))
		buf = slices.Grow(buf, room-len(buf))
		got, err := io.ReadFull(r, buf[len(buf):room])
		if buf = buf[:len(buf)+got]; err != nil {
			return nil, truncatedInside(err)
		}
	}
	return buf, nil
}

// ReadEnd insists on the end of r.
func ReadEnd(r io.Reader) error {
	var b [1]byte
	switch n, err := io.ReadFull(r, b[:]); {
	case n > 0:
		return envelope.Errorf(envelope.Corrupt, "there are bytes behind the end of a message")
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

// truncated turns an end of input in the middle into an error of kind Corrupt
// and lets others pass.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return envelope.Errorf(envelope.Corrupt, "a message is cut off: %w", err)
	}
	return err
}

// truncatedInside is truncated where no end of input is in order.
func truncatedInside(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return truncated(err)
}

// EncodeRecords returns the data part of a [RecordsReply]: the CBOR array of
// the encodings of the records, as byte strings.
func EncodeRecords(records [][]byte) ([]byte, error) {
	if records == nil {
		records = [][]byte{}
	}
	data, err := envelope.Encode(records)
	if err == nil && len(data) > MaxRecordData {
		err = envelope.Errorf(envelope.Full, "a page of records has %d bytes, over the limit of %d", len(data), MaxRecordData)
	}
	return data, err
}

// DecodeRecords reads the data part of a [RecordsReply]. It checks no record.
func DecodeRecords(data []byte) ([][]byte, error) {
	var records [][]byte
	if err := envelope.Decode(data, MaxRecordData, &records); err != nil {
		return nil, err
	}
	return records, nil
}
