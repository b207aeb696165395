package envelope

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"

	agetest "c2sp.org/CCTV/age"
	"filippo.io/age"
	"filippo.io/age/armor"
)

// cctvVectors is how many vectors of C2SP's there are, by what they expect:
// none may be passed over unnoticed.
var cctvVectors = map[string]int{
	"success": 26, "no match": 13, "HMAC failure": 1, "header failure": 62, "armor failure": 26, "payload failure": 19,
}

// A cctvVector is one of C2SP's vectors for age: github.com/C2SP/CCTV/age.
type cctvVector struct {
	name       string
	expect     string
	payload    string // SHA-256 of what age releases
	fileKey    []byte
	identities []age.Identity
	scrypt     bool // locked with a passphrase
	armored    bool
	file       []byte
}

func readCCTV(t testing.TB) []cctvVector {
	t.Helper()
	names, err := fs.Glob(agetest.Vectors, "*")
	if err != nil {
		t.Fatal(err)
	}
	var list []cctvVector
	for _, name := range names {
		data, err := fs.ReadFile(agetest.Vectors, name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, parseCCTV(t, name, data))
	}
	return list
}

func parseCCTV(t testing.TB, name string, data []byte) cctvVector {
	t.Helper()
	v := cctvVector{name: name, scrypt: strings.Contains(name, "scrypt")}
	head, file, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s has no empty line", name)
	}
	v.file = file
	var err error
	for _, l := range strings.Split(string(head), "\n") {
		key, value, _ := strings.Cut(l, ": ")
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			v.payload = value
		case "file key":
			v.fileKey, err = hex.DecodeString(value)
		case "identity":
			var id age.Identity
			if id, err = age.ParseX25519Identity(value); err != nil {
				id, err = age.ParseHybridIdentity(value)
			}
			v.identities = append(v.identities, id)
		case "passphrase":
			var id age.Identity
			id, err = age.NewScryptIdentity(value)
			v.identities = append(v.identities, id)
		case "armored":
			v.armored = true
		case "compressed":
			v.file = inflated(t, v.file)
		case "comment":
		default:
			t.Fatalf("%s has a field %q, which this test doesn't know", name, key)
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", name, key, err)
		}
	}
	return v
}

func inflated(t testing.TB, data []byte) []byte {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return data
}

// byAge opens the vector with age itself, and returns what age releases, also
// where it fails in the end.
func (v cctvVector) byAge(t *testing.T) []byte {
	t.Helper()
	var src io.Reader = bytes.NewReader(v.file)
	if v.armored {
		src = armor.NewReader(src)
	}
	var released []byte
	r, err := age.Decrypt(src, v.identities...)
	if err == nil {
		released, err = io.ReadAll(r)
	}
	if (err == nil) != (v.expect == "success") {
		t.Fatalf("age itself says %v where %s is expected: this test is wrong", err, v.expect)
	}
	if sum := sha256.Sum256(released); v.payload != "" && hex.EncodeToString(sum[:]) != v.payload {
		t.Fatal("age itself releases something else: this test is wrong")
	}
	return released
}

// binary returns the vector's age file without armor; nil where the armor is
// what is wrong.
func (v cctvVector) binary(t *testing.T) []byte {
	t.Helper()
	if !v.armored {
		return v.file
	}
	data, err := io.ReadAll(armor.NewReader(bytes.NewReader(v.file)))
	if (err != nil) != (v.expect == "armor failure") {
		t.Fatalf("age's armor says %v where %s is expected", err, v.expect)
	}
	if err != nil {
		return nil
	}
	return data
}

// failure tells in the vectors' words what became of a plain age file.
func (v cctvVector) failure(err error) string {
	var inArmor *armor.Error
	switch {
	case err == nil:
		return "success"
	case KindOf(err) == NotReader:
		return "no match"
	case KindOf(err) != Corrupt:
		return "an error without its kind: " + err.Error()
	case errors.As(err, &inArmor):
		return "armor failure"
	case strings.HasSuffix(err.Error(), "bad header MAC"):
		return "HMAC failure"
	case strings.HasPrefix(err.Error(), "segment "):
		return "payload failure"
	case v.armored && err.Error() == errNotEnvelope().Error(): // Sniff knows no armor by its first line
		return "armor failure"
	default:
		return "header failure"
	}
}

// TestCCTV opens all of C2SP's vectors as plain age files. The failure must be
// the one that the vector names. Age releases chunks of 64 KiB as they decrypt;
// we release segments of 16 chunks, each when all of it has, so of what age
// releases of a bad file exactly the whole segments.
func TestCCTV(t *testing.T) {
	t.Parallel()
	counts := make(map[string]int)
	for _, v := range readCCTV(t) {
		counts[v.expect]++
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			want := v.byAge(t)
			if v.expect != "success" {
				want = want[:len(want)/SegmentPlainSize*SegmentPlainSize]
			}
			var opts OpenOptions
			for _, id := range v.identities {
				opts.Identities = append(opts.Identities, Identity{Age: id})
			}
			var out bytes.Buffer
			o, err := Open(t.Context(), &out, bytes.NewReader(v.file), opts)
			if got := v.failure(err); got != v.expect {
				t.Errorf("got %s (%v), want %s", got, err, v.expect)
			}
			if err == nil && (o.Header() != nil || o.Author() != Unsigned) {
				t.Error("it opened as something that somebody signed")
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%d bytes came out, want the %d of whole segments", out.Len(), len(want))
			}
		})
	}
	if !maps.Equal(counts, cctvVectors) {
		t.Errorf("there are other vectors than this test knows: %v", counts)
	}
}

// framed puts an age file's parts into our frame as Adam would, whatever is
// wrong with them: with the frame itself nothing is.
func (s *stage) framed(t *testing.T, ageHeader, payload, fileKey []byte) []byte {
	t.Helper()
	particulars, err := sealParticulars(&Particulars{Readers: []AgentID{s.eve.Agent()}}, fileKey, make([]byte, particularsSalt))
	if err != nil {
		t.Fatal(err)
	}
	key := seedOf("segments")
	h := &Header{Format: 1, Owner: s.adam.Agent(), Author: s.adam.Agent(), Age: ageHeader,
		SegmentKey: key.Public().(ed25519.PublicKey), Particulars: particulars, Origin: newOrigin(s.adam, s.adam.Agent(), key, PayloadSealed)}
	body := mustEncode(h)
	framed := appendHeader(nil, &Signed{Body: body, Signatures: []Signature{Sign(s.adam, DomainHeader, body)}})
	for i := uint64(0); ; i++ {
		n := min(len(payload), MaxSegmentSize)
		g := Segment{ID: SegmentID{[32]byte(h.SegmentKey), i}, Final: n == len(payload), Data: payload[:n]}
		g.sign(key)
		framed = g.AppendFrame(framed)
		if payload = payload[n:]; g.Final {
			return framed
		}
	}
}

// withAudience adds our stanza to an age header and computes its MAC anew, as
// somebody who knows the file key can.
func withAudience(t *testing.T, header, fileKey []byte, a audience) []byte {
	t.Helper()
	commitment, err := a.commitment(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	stanzas, _, ok := bytes.Cut(header, []byte("\n---"))
	if !ok {
		t.Fatal("an age header without its end")
	}
	key, err := hkdf.Key(sha256.New, fileKey, nil, "header", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	text := string(stanzas) + "\n-> " + audienceStanza + "\n" + base64.RawStdEncoding.EncodeToString(commitment) + "\n---"
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return []byte(text + " " + base64.RawStdEncoding.EncodeToString(mac.Sum(nil)) + "\n")
}

// ageParts cuts an age file where our frame does: header and nonce, payload. ok
// is false if age can't read the header, or if the nonce isn't all there.
func ageParts(file []byte) (header, payload []byte, ok bool) {
	header, err := age.ExtractHeader(bytes.NewReader(file))
	if n := len(header) + ageNonceSize; err == nil && n <= len(file) {
		return file[:n], file[n:], true
	}
	return file, nil, false
}

// canBe reports whether age could have written a payload of n bytes.
func canBe(n int) bool {
	rest := n % (ChunkSize + 16)
	return n == 16 || n > 0 && (rest == 0 || rest > 16)
}

// TestCCTVInTheFrame puts C2SP's vectors into our frame and takes them out
// again: byte for byte what went in, if age can read the header and the
// payload has a length that age could have written. Else the frame is refused.
// No vector opens in the frame, since none says for whom it was sealed.
func TestCCTVInTheFrame(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var exported, badHeader, badPayload, badArmor int
	for _, v := range readCCTV(t) {
		file := v.binary(t)
		if file == nil {
			badArmor++ // there is nothing to put into the frame
			continue
		}
		header, payload, ok := ageParts(file)
		switch {
		case !ok:
			badHeader++
		case !canBe(len(payload)):
			badPayload++
			ok = false
		default:
			exported++
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			fileKey := append(v.fileKey, make([]byte, fileKeySize)...)[:fileKeySize]
			framed := s.framed(t, header, payload, fileKey)
			var out bytes.Buffer
			switch err := Export(&out, bytes.NewReader(framed)); {
			case ok && (err != nil || !bytes.Equal(out.Bytes(), file)):
				t.Errorf("%d bytes of %d came out again, %v", out.Len(), len(file), err)
			case !ok && (KindOf(err) != Corrupt || !bytes.HasPrefix(file, out.Bytes())):
				t.Errorf("got %v, want kind %d", err, Corrupt)
			}
			want := Corrupt
			if v.expect == "no match" {
				want = NotReader
			}
			if out := refused(t, framed, s.opensWith(v.identities), want); len(out) != 0 {
				t.Error("something came out that isn't addressed to anybody")
			}
		})
	}
	if got, want := [4]int{exported, badHeader, badPayload, badArmor}, [4]int{87, 28, 6, 26}; got != want {
		t.Errorf("%v vectors were exported, had a bad header, payload, armor; want %v", got, want)
	}
}

// opensWith returns the options of Eve with other identities than her own.
func (s *stage) opensWith(identities []age.Identity) OpenOptions {
	opts := OpenOptions{Documents: s.docs()}
	for _, id := range identities {
		opts.Identities = append(opts.Identities, Identity{s.eve.Agent(), id})
	}
	return opts
}

// TestCCTVAddressed gives the vectors that have a file key what our envelopes
// have more than an age file, the commitment to author and readers, and opens
// them in the frame: what is wrong with a vector still is. A passphrase's
// stanza suffers no other beside it, so it can't be in an envelope. (There are
// no vectors for SSH keys, tags and plugins, which can't be readers either.)
func TestCCTVAddressed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	counts := make(map[string]int)
	for _, v := range readCCTV(t) {
		file := v.binary(t)
		header, payload, ok := ageParts(file)
		if !ok || v.fileKey == nil || v.expect == "HMAC failure" { // the new MAC would be right
			continue
		}
		counts[v.expect]++
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			nonce := header[len(header)-ageNonceSize:]
			a := audience{s.adam.Agent(), seedOf("segments").Public().(ed25519.PublicKey), []AgentID{s.eve.Agent()}}
			header := append(withAudience(t, header, v.fileKey, a), nonce...)
			framed := s.framed(t, header, payload, v.fileKey)
			opts := s.opensWith(v.identities)
			plain := v.byAge(t)
			switch {
			case v.scrypt && v.name != "scrypt_uppercase": // that is a stanza of an unknown type
				refused(t, framed, opts, Corrupt)
			case v.expect == "success":
				if got, o := opened(t, framed, opts); !bytes.Equal(got, plain) || o.Author() != Verified || o.Reader() != s.eve.Agent() {
					t.Error("it opened as something else")
				}
			case v.expect == "no match":
				refused(t, framed, opts, NotReader)
			default:
				want := plain[:len(plain)/SegmentPlainSize*SegmentPlainSize]
				if got := refused(t, framed, opts, Corrupt); !bytes.Equal(got, want) {
					t.Errorf("%d bytes came out, want the %d of whole segments", len(got), len(want))
				}
			}
		})
	}
	if want := map[string]int{"success": 26, "no match": 13, "header failure": 34, "payload failure": 19}; !maps.Equal(counts, want) {
		t.Errorf("these vectors were tried: %v", counts)
	}
}
