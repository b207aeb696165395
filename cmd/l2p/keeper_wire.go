package main

import (
	"encoding/binary"
	"io"

	"l2p/envelope"
)

// What a keeper can be asked. A connection carries one request and its answer.
const (
	opKeep = "keep" // the secret in the frame that follows
	opGive = "give" // a secret, in a frame after the answer if that has Until
	opList = "list" // what is kept
	opDrop = "drop" // forget Agent, or all where it is zero
)

// A keeperRequest is the first frame of a connection.
type keeperRequest struct {
	Op    string           `cbor:"1,keyasint"`
	Agent envelope.AgentID `cbor:"2,keyasint"`
	Stamp envelope.Hash    `cbor:"3,keyasint"` // of the agent's secrets in the keystore
	For   int64            `cbor:"4,keyasint"` // milliseconds to keep it
}

// A keeperAnswer is the keeper's first frame.
type keeperAnswer struct {
	Error    string      `cbor:"1,keyasint"`
	Until    int64       `cbor:"2,keyasint"` // Unix milliseconds; 0: nothing is kept for Agent and Stamp
	Dropped  int         `cbor:"3,keyasint"`
	Unlocked []keptAgent `cbor:"4,keyasint"`
}

// A keptAgent is an agent whose keys are kept.
type keptAgent struct {
	Agent envelope.AgentID `cbor:"1,keyasint"`
	Until int64            `cbor:"2,keyasint"` // Unix milliseconds
}

// maxKeeperMessage is the most bytes of a request or answer, without secrets:
// room for a thousand agents.
const maxKeeperMessage = 64 << 10

func writeMessage(w io.Writer, v any) error {
	data, err := envelope.Encode(v)
	if err != nil {
		return err
	}
	return writeFrame(w, data)
}

func readMessage(r io.Reader, v any) error {
	data, err := readFrame(r, maxKeeperMessage, func(n int) []byte { return make([]byte, n) })
	if err != nil {
		return err
	}
	return envelope.Decode(data, maxKeeperMessage, v)
}

// writeFrame writes the length of data in 4 bytes, the highest first, and data.
func writeFrame(w io.Writer, data []byte) error {
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(data)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// readFrame reads what writeFrame wrote, at most limit bytes, into memory that
// alloc makes, and nowhere else.
func readFrame(r io.Reader, limit int, alloc func(int) []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(limit) {
		return nil, envelope.Errorf(envelope.Corrupt, "frame of %d bytes", n)
	}
	data := alloc(int(n))
	if _, err := io.ReadFull(r, data); err != nil {
		clear(data)
		return nil, err
	}
	return data, nil
}
