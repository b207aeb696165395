package envelope

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"strings"

	"filippo.io/age/armor"
)

// Armor is text around an envelope for channels that carry text only, as age
// has it: a first line, strict base64 in lines of 64 characters, the last
// of which may be shorter, and a last line.
const (
	ArmorBegin = "-----BEGIN L2P ENVELOPE-----"
	ArmorEnd   = "-----END L2P ENVELOPE-----"

	armorColumns  = 64
	armorLine     = armorColumns / 4 * 3 // bytes in a full line
	maxArmorSpace = 1024                 // bytes of white space around the armor
)

var armorEncoding = base64.StdEncoding.Strict()

// An ArmorWriter writes an envelope as text. Close it to complete the text;
// that does not close the destination.
type ArmorWriter struct {
	dst     io.Writer
	pending []byte // less than a line of data
	text    []byte // encoded lines, used again
	begun   bool
	err     error
}

// NewArmorWriter returns an ArmorWriter that writes to dst.
func NewArmorWriter(dst io.Writer) *ArmorWriter { return &ArmorWriter{dst: dst} }

// Write encodes p. A line is written when it is complete.
func (w *ArmorWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.begin()
	total := len(p)
	if n := len(w.pending); n > 0 {
		n = min(armorLine-n, len(p))
		w.pending = append(w.pending, p[:n]...)
		p = p[n:]
		if len(w.pending) == armorLine {
			w.line(w.pending)
			w.pending = w.pending[:0]
		}
	}
	for len(p) >= armorLine {
		w.line(p[:armorLine])
		p = p[armorLine:]
		if len(w.text) > 64<<10 {
			w.flush()
		}
	}
	w.pending = append(w.pending, p...)
	if w.flush(); w.err != nil {
		return 0, w.err
	}
	return total, nil
}

// Close writes what is left and the last line.
func (w *ArmorWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	w.begin()
	if len(w.pending) > 0 {
		w.line(w.pending)
	}
	w.text = append(w.text, ArmorEnd+"\n"...)
	if w.flush(); w.err != nil {
		return w.err
	}
	w.err = Errorf(Other, "armor is closed already")
	return nil
}

func (w *ArmorWriter) begin() {
	if !w.begun {
		w.begun = true
		w.text = append(w.text, ArmorBegin+"\n"...)
	}
}

func (w *ArmorWriter) line(data []byte) {
	w.text = append(armorEncoding.AppendEncode(w.text, data), '\n')
}

func (w *ArmorWriter) flush() {
	if len(w.text) > 0 && w.err == nil {
		_, w.err = w.dst.Write(w.text)
		w.text = w.text[:0]
	}
}

// An ArmorReader reads what an ArmorWriter has written. White space before the
// first and after the last line, and line ends of CR and LF, are passed over,
// since mail programs make them; anything else that differs is an error of
// kind Corrupt. It reads its source up to the end.
type ArmorReader struct {
	src   *bufio.Reader
	data  []byte // decoded and not yet read, part of buf
	buf   [armorLine]byte
	begun bool
	short bool // a line that wasn't full has been read: it was the last
	err   error
}

// NewArmorReader returns an ArmorReader that reads src.
func NewArmorReader(src io.Reader) *ArmorReader { return &ArmorReader{src: bufio.NewReader(src)} }

// Read decodes armor.
func (r *ArmorReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.data) == 0 {
			if n > 0 && r.src.Buffered() == 0 {
				break // what is there goes out before more is waited for
			}
			if r.err == nil {
				r.err = r.fill()
			}
			if r.err != nil {
				break
			}
		}
		m := copy(p[n:], r.data)
		r.data = r.data[m:]
		n += m
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, r.err
}

// fill decodes the next line into r.data. At the end of the armor it returns
// io.EOF.
func (r *ArmorReader) fill() error {
	if !r.begun {
		if err := skipSpace(r.src); err != nil {
			return err
		}
		line, err := r.readLine()
		if err != nil {
			return err
		}
		if string(line) != ArmorBegin {
			return Errorf(Corrupt, "armor begins with the line %s", quoteShort(string(line)))
		}
		r.begun = true
	}
	line, err := r.readLine()
	if err != nil {
		return err
	}
	if string(line) == ArmorEnd {
		return r.end()
	}
	// A decoder that skips line ends, or takes a short line in the middle,
	// would allow several texts for one envelope.
	if r.short || len(line) == 0 || len(line) > armorColumns || bytes.ContainsAny(line, "\r\n") {
		return Errorf(Corrupt, "malformed line in armor")
	}
	n, err := armorEncoding.Decode(r.buf[:], line)
	if err != nil {
		return Errorf(Corrupt, "malformed base64 in armor")
	}
	r.data, r.short = r.buf[:n], n < armorLine
	return nil
}

// readLine returns the next line without its end.
func (r *ArmorReader) readLine() ([]byte, error) {
	line, err := r.src.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, Errorf(Corrupt, "a line in armor is too long")
	case err == io.EOF && len(line) == 0:
		return nil, Errorf(Corrupt, "armor is truncated")
	case err != nil && err != io.EOF:
		return nil, readError(err)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// end checks that only white space follows.
func (r *ArmorReader) end() error {
	if err := skipSpace(r.src); err != nil {
		return err
	}
	if err := atEnd(r.src); err != nil {
		return err
	}
	return io.EOF
}

// skipSpace passes over white space, up to the end of r or some other byte.
func skipSpace(r *bufio.Reader) error {
	for range maxArmorSpace {
		b, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(err)
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return r.UnreadByte()
		}
	}
	return Errorf(Corrupt, "too much white space around armor")
}

// A Form is what [Sniff] finds.
type Form int

const (
	FormEnvelope Form = iota // read on with [ReadHeader]
	FormAge                  // read on with [Open]
)

// Sniff tells an envelope from an age file, takes the armor off, and returns a
// reader of what is inside. It doesn't wait for more bytes than it needs.
// Anything else is an error of kind Corrupt. Who has no use for the header
// before the content calls [Open], which does all this.
func Sniff(src io.Reader) (*bufio.Reader, Form, error) {
	r := bufio.NewReaderSize(src, 64<<10)
	first, err := r.Peek(1)
	if err == nil && strings.ContainsRune(" \t\r\n-", rune(first[0])) {
		if err := skipSpace(r); err != nil {
			return nil, 0, err
		}
		text, err := r.Peek(len(ArmorBegin))
		switch {
		case err != nil && err != io.EOF:
			return nil, 0, readError(err)
		case string(text) == ArmorBegin:
			return bufio.NewReader(NewArmorReader(r)), FormEnvelope, nil
		case len(text) == len(ArmorBegin) && strings.HasPrefix(armor.Header, string(text)):
			return bufio.NewReader(ageArmor{armor.NewReader(r)}), FormAge, nil
		}
		return nil, 0, errNotEnvelope()
	}
	start, err := r.Peek(len(Magic))
	switch {
	case err != nil && err != io.EOF:
		return nil, 0, readError(err)
	case string(start) == Magic:
		return r, FormEnvelope, nil
	case len(start) == len(Magic) && strings.HasPrefix(ageIntro, string(start)):
		return r, FormAge, nil
	case len(start) == 0:
		return nil, 0, Errorf(Corrupt, "there is no envelope: the input is empty")
	}
	return nil, 0, errNotEnvelope()
}

func errNotEnvelope() error {
	return Errorf(Corrupt, "this is neither an envelope nor an age file")
}

// ageArmor gives the errors of age's armor reader their kind.
type ageArmor struct{ src io.Reader }

func (a ageArmor) Read(p []byte) (int, error) {
	n, err := a.src.Read(p)
	if e, ok := err.(*armor.Error); ok {
		err = Errorf(Corrupt, "malformed age file: %w", e)
	}
	return n, err
}
