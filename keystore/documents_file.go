package keystore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"l2p/envelope"
)

// wholeSuffix ends the name of the file of a group's document with its
// attachments, beside the file without. So it takes little to read a group's
// documents, of which each has the key boxes of all members.
const wholeSuffix = ".whole"

// versionName is the name of the file of a version of a chain.
func versionName(n uint64) string { return strconv.FormatUint(n, 10) }

// readDocument reads a document of an agent. A group's attachments are read
// when they are asked for.
func (s *Store) readDocument(id envelope.AgentID, name string) (*envelope.Document, error) {
	d, err := s.parsed.document(s.path(documentsDir, id.String(), name), func() ([]byte, error) {
		return s.readFile(envelope.MaxSignedSize, documentsDir, id.String(), name)
	})
	if err != nil || d.Group == nil {
		return d, err
	}
	if _, err := os.Stat(s.path(documentsDir, id.String(), name+wholeSuffix)); err != nil {
		return d, nil
	}
	return d.Later(func() [][]byte {
		data, err := s.readFile(envelope.MaxSignedSize, documentsDir, id.String(), name+wholeSuffix)
		if err != nil {
			return nil
		}
		whole, err := envelope.ParseSigned(data, envelope.MaxSignedSize)
		if err != nil {
			return nil
		}
		return whole.Attachments
	}), nil
}

// isGroup reports whether the first document of an agent is there and is of a
// group. It reads no more of it than it must: of those who know thousands of
// agents each command asks that for each.
func (s *Store) isGroup(id envelope.AgentID) (bool, error) {
	f, err := os.Open(s.path(documentsDir, id.String(), versionName(1)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fileError(err)
	}
	defer f.Close()
	var start [16]byte
	n, err := io.ReadFull(f, start[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return false, fileError(err)
	}
	if kind, ok := kindIn(start[:n]); ok {
		return kind == envelope.Group, nil
	}
	d, err := s.readDocument(id, versionName(1))
	return err == nil && d.Group != nil, err
}

// kindIn returns the kind that a document begins with. Encodings being
// deterministic, it is in one place: a Signed is a map whose key 1 is the body as
// a byte string, and the body is a map with the format, 1, under key 1 and the
// kind under key 2.
func kindIn(start []byte) (envelope.AgentKind, bool) {
	if len(start) < 2 || start[0]>>5 != 5 || start[1] != 1 {
		return 0, false
	}
	sizes := map[byte]int{0x58: 1, 0x59: 2, 0x5a: 4}
	body := start[2:]
	if len(body) < 1 || sizes[body[0]] == 0 || len(body) < 1+sizes[body[0]]+5 {
		return 0, false
	}
	body = body[1+sizes[body[0]]:]
	if body[0]>>5 != 5 || !bytes.Equal(body[1:4], []byte{1, 1, 2}) || body[4] > 23 {
		return 0, false
	}
	return envelope.AgentKind(body[4]), true
}

// writeDocument keeps a document of a chain.
func (s *Store) writeDocument(d *envelope.Document) error {
	return s.writeDocumentAs(versionName(d.Version), d)
}

func (s *Store) writeDocumentAs(name string, d *envelope.Document) error {
	id := d.ID().String()
	if d.Group == nil {
		return s.writeFile(d.Signed().Encode(), documentsDir, id, name)
	}
	whole := name + wholeSuffix
	if !d.HasAttachments() {
		if err := s.removeWhole(d.ID(), name); err != nil {
			return err
		}
	} else if err := s.writeFile(d.Signed().Encode(), documentsDir, id, whole); err != nil {
		return err
	}
	return s.writeFile(d.Bare().Signed().Encode(), documentsDir, id, name) // makes both count
}

// stripDocument drops the attachments of a document of a chain.
func (s *Store) stripDocument(d *envelope.Document) error {
	if d.Group != nil {
		return s.removeWhole(d.ID(), versionName(d.Version))
	}
	return s.writeDocument(d.Bare())
}

func (s *Store) removeDocument(id envelope.AgentID, name string) error {
	if err := os.Remove(s.path(documentsDir, id.String(), name)); err != nil {
		return fileError(err)
	}
	return s.removeWhole(id, name)
}

func (s *Store) removeWhole(id envelope.AgentID, name string) error {
	if err := os.Remove(s.path(documentsDir, id.String(), name+wholeSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError(err)
	}
	return nil
}

// maxParsed bounds the documents that are remembered.
const maxParsed = 4_096

// A parsedDocuments remembers the documents that were read, since a command
// asks for a chain many times. It notices when a file is another than before.
type parsedDocuments struct {
	mu     sync.Mutex
	byPath map[string]parsedDocument
}

type parsedDocument struct {
	file     fs.FileInfo
	document *envelope.Document
}

func (p *parsedDocuments) document(path string, read func() ([]byte, error)) (*envelope.Document, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err)
	}
	p.mu.Lock()
	have, ok := p.byPath[path]
	p.mu.Unlock()
	if ok && os.SameFile(have.file, info) && have.file.ModTime().Equal(info.ModTime()) && have.file.Size() == info.Size() {
		return have.document, nil
	}
	data, err := read()
	if err != nil {
		return nil, err
	}
	d, err := envelope.ParseDocument(data)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byPath == nil || len(p.byPath) >= maxParsed {
		p.byPath = make(map[string]parsedDocument)
	}
	p.byPath[path] = parsedDocument{info, d}
	return d, nil
}
