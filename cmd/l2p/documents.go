package main

import (
	"bytes"

	"l2p/envelope"
	"l2p/keystore"
)

// documentsMagic begins a file of an agent's public documents (docs/keys.md).
const documentsMagic = "l2p-documents/v1\n"

// maxDocuments bounds the documents in one file.
const maxDocuments = 1 << 12

// A documentsFile is what follows the magic: all documents of one agent, oldest
// first, each the encoding of an envelope.Signed.
type documentsFile struct {
	Documents [][]byte `cbor:"1,keyasint"`
}

// encodeDocuments returns a file of a chain as the network has it.
func encodeDocuments(chain []*envelope.Document) ([]byte, error) {
	var f documentsFile
	for _, d := range chain {
		f.Documents = append(f.Documents, d.Signed().Encode())
	}
	data, err := envelope.Encode(f)
	if err != nil {
		return nil, envelope.Errorf(envelope.Other, "cannot encode the documents: %w", err)
	}
	if len(data) > keystore.MaxExportSize {
		return nil, envelope.Errorf(envelope.Full, "the documents have %d bytes, more than the limit of %d", len(data), keystore.MaxExportSize)
	}
	return append([]byte(documentsMagic), data...), nil
}

// isDocuments reports whether data is meant as a file of documents.
func isDocuments(data []byte) bool { return bytes.HasPrefix(data, []byte(documentsMagic)) }

// parseDocuments decodes such a file. It checks the documents' form only.
func parseDocuments(data []byte) ([]*envelope.Document, error) {
	data, ok := bytes.CutPrefix(data, []byte(documentsMagic))
	if !ok {
		return nil, envelope.Errorf(envelope.Corrupt, "this is not a file of documents")
	}
	var f documentsFile
	if err := envelope.Decode(data, keystore.MaxExportSize, &f); err != nil {
		return nil, err
	}
	if len(f.Documents) == 0 || len(f.Documents) > maxDocuments {
		return nil, envelope.Errorf(envelope.Corrupt, "a file of documents has 1 to %d, not %d", maxDocuments, len(f.Documents))
	}
	var chain []*envelope.Document
	for _, encoded := range f.Documents {
		d, err := envelope.ParseDocument(encoded)
		if err != nil {
			return nil, err
		}
		chain = append(chain, d)
	}
	return chain, nil
}
