package main

import (
	"bytes"
	"testing"
)

func FuzzParseDocuments(f *testing.F) {
	f.Add([]byte(documentsMagic))
	f.Add([]byte(documentsMagic + "\xa1\x01\x81\x41\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := parseDocuments(data)
		if err != nil {
			return
		}
		again, err := encodeDocuments(chain)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x has a second encoding %x, %v", data, again, err)
		}
	})
}
