package keystore

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"l2p/envelope"
)

func create(t testing.TB, s *Store, o AgentOptions) *Secrets {
	t.Helper()
	if o.Kind == 0 {
		o.Kind = envelope.User
	}
	secrets, err := s.CreateAgent(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func TestCreateAndUnlock(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options    AgentOptions
		passphrase string
		inDocument bool
	}{
		"usual":      {AgentOptions{Kind: envelope.User, Name: "adam@a-tech"}, "correct horse", true},
		"kept local": {AgentOptions{Kind: envelope.User, Name: "adam@a-tech", KeepKeysLocal: true}, "correct horse", false},
		"classic":    {AgentOptions{Kind: envelope.Service, Classic: true}, "correct horse", true},
		"none":       {AgentOptions{Kind: envelope.Service, Name: "mailer@a-tech"}, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testStore(t)
			test.options.Passphrase = []byte(test.passphrase)
			made := create(t, s, test.options)
			if len(bytes.Trim(test.options.Passphrase, "\x00")) > 0 {
				t.Error("the passphrase was not cleared")
			}
			a, err := s.FindAgent(test.options.Name)
			if err != nil {
				t.Fatal(err)
			}
			if a.ID() != made.Agent() || !a.Default || a.Locked != (test.passphrase != "") || a.KeysLocal == test.inDocument {
				t.Errorf("agent %+v", a)
			}
			if got := strings.HasPrefix(a.Document.Recipient, "age1pq1"); got == test.options.Classic {
				t.Errorf("recipient is %.12s…", a.Document.Recipient)
			}
			if len(a.Document.Signed().Attachments) == 1 != test.inDocument {
				t.Error("the document does not carry what it should")
			}
			if test.passphrase != "" {
				_, err = s.Unlock(a.ID(), []byte("wrong"))
				wantKind(t, err, envelope.Denied)
				_, err = s.Unlock(a.ID(), nil)
				wantKind(t, err, envelope.Denied)
			}
			passphrase := []byte(test.passphrase)
			secrets, err := s.Unlock(a.ID(), passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.Trim(passphrase, "\x00")) > 0 {
				t.Error("the passphrase was not cleared")
			}
			if secrets.Agent() != made.Agent() || secrets.DocumentVersion() != 1 || !secrets.PrivateKey().Equal(made.PrivateKey()) ||
				secrets.Recipient() != made.Recipient() || len(secrets.Identities()) != 1 {
				t.Error("what was unlocked is not what was made")
			}
		})
	}
}

// TestWrittenWorkFactor pays once for the real work factor.
func TestWrittenWorkFactor(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	s.workFactor = writtenWorkFactor
	create(t, s, AgentOptions{Passphrase: []byte("correct horse")})
	a, err := s.FindAgent("")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(a.Document.Attachment(a.Document.Locked), []byte("\n---"))
	if stanza := strings.Fields(string(head)); len(stanza) < 5 || stanza[2] != "scrypt" || stanza[4] != "18" {
		t.Errorf("age header begins %q", stanza)
	}
}

func TestWorkFactorRefused(t *testing.T) {
	t.Parallel()
	secrets, err := newSecrets(true)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := secrets.lock([]byte("x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	// The factor is the stanza's last argument.
	line, rest, _ := bytes.Cut(locked[len("age-encryption.org/v1\n"):], []byte("\n"))
	hostile := append([]byte("age-encryption.org/v1\n"), bytes.TrimSuffix(line, []byte(" 1"))...)
	hostile = append(append(hostile, " 21\n"...), rest...)
	_, err = unlock(hostile, []byte("x"))
	wantKind(t, err, envelope.Corrupt)
	if !strings.Contains(err.Error(), "work factor") {
		t.Errorf("error %q does not say why", err)
	}
}

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	create(t, s, AgentOptions{Name: "adam@a-tech"})
	for name, test := range map[string]struct {
		options AgentOptions
		kind    envelope.ErrorKind
	}{
		"name taken": {AgentOptions{Kind: envelope.User, Name: "adam@a-tech"}, envelope.Conflict},
		"bad name":   {AgentOptions{Kind: envelope.User, Name: "Adam"}, envelope.Usage},
		"box":        {AgentOptions{Kind: envelope.Box}, envelope.Usage},
		"group":      {AgentOptions{Kind: envelope.Group}, envelope.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.CreateAgent(t.Context(), test.options)
			wantKind(t, err, test.kind)
		})
	}
	if agents, err := s.Agents(); err != nil || len(agents) != 1 {
		t.Errorf("%d agents, %v", len(agents), err)
	}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	_, err := s.FindAgent("")
	wantKind(t, err, envelope.NotFound)
	first := create(t, s, AgentOptions{Name: "b@a-tech"})
	second := create(t, s, AgentOptions{Name: "a@a-tech"})
	if id, err := s.Default(); err != nil || id != first.Agent() {
		t.Errorf("default is %s, %v", id, err)
	}
	if err := s.SetDefault(second.Agent()); err != nil {
		t.Fatal(err)
	}
	agents, err := s.Agents()
	if err != nil || len(agents) != 2 || agents[0].ID() != second.Agent() || !agents[0].Default || agents[1].Default {
		t.Errorf("agents %v, %v", agents, err)
	}
	wantKind(t, s.SetDefault(envelope.AgentID{1}), envelope.NotFound)
	_, err = s.FindAgent("nobody@a-tech\x1b[2J")
	wantKind(t, err, envelope.NotFound)
	if strings.ContainsRune(err.Error(), '\x1b') {
		t.Error("the error drives the terminal")
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	a := create(t, s, AgentOptions{Name: "adam@a-tech"})
	if err := s.Pin("eve@e-build", a.Agent()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remember(envelope.Ref{Kind: envelope.KindEnvelope, Owner: a.Agent(), Name: "x"}, envelope.Version{N: 1}); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || files < 6 {
		t.Errorf("%d files, %v", files, err)
	}
	if err := os.Chmod(s.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Open(s.Dir())
	wantKind(t, err, envelope.Denied)
}

func TestPasswd(t *testing.T) {
	t.Parallel()
	for name, local := range map[string]bool{"in document": false, "kept local": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testStore(t)
			made := create(t, s, AgentOptions{Passphrase: []byte("old"), KeepKeysLocal: local})
			id := made.Agent()
			change := func(from, to string, version uint64) {
				t.Helper()
				if local {
					version = 1
				}
				d, err := s.Passwd(t.Context(), id, []byte(from), []byte(to))
				if err != nil {
					t.Fatal(err)
				}
				if d.Version != version {
					t.Errorf("document has version %d, want %d", d.Version, version)
				}
				secrets, err := s.Unlock(id, []byte(to))
				if err != nil {
					t.Fatal(err)
				}
				if !secrets.PrivateKey().Equal(made.PrivateKey()) || secrets.DocumentVersion() != version {
					t.Error("the keys have changed")
				}
				if files, err := versionsIn(s.path(agentsDir, id.String())); err != nil || len(files) != 1 {
					t.Errorf("%d files of secrets, %v", len(files), err)
				}
			}
			_, err := s.Passwd(t.Context(), id, []byte("wrong"), []byte("new"))
			wantKind(t, err, envelope.Denied)
			change("old", "new", 2)
			_, err = s.Unlock(id, []byte("old"))
			wantKind(t, err, envelope.Denied)
			change("new", "", 3)
			chain, err := s.Chain(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if err := envelope.VerifyChain(t.Context(), chain, s); err != nil {
				t.Error(err)
			}
			if !chain[0].Locked.IsZero() && chain[0].Attachment(chain[0].Locked) == nil {
				t.Error("version 1 can't be published any more")
			}
			// The network has it: what came before needn't be published.
			if err := s.Published(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if chain, err = s.Chain(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			for _, d := range chain[:len(chain)-1] {
				if len(d.Signed().Attachments) > 0 {
					t.Errorf("version %d still carries keys under a former passphrase", d.Version)
				}
			}
		})
	}
}

// TestPasswdElsewhere changes the passphrase at another box. Its document
// brings the change home.
func TestPasswdElsewhere(t *testing.T) {
	t.Parallel()
	home, away := testStore(t), testStore(t)
	made := create(t, home, AgentOptions{Passphrase: []byte("old")})
	chain, err := home.Chain(t.Context(), made.Agent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.SignIn(t.Context(), chain, []byte("old")); err != nil {
		t.Fatal(err)
	}
	d, err := away.Passwd(t.Context(), made.Agent(), []byte("old"), []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := home.AddDocuments(t.Context(), []*envelope.Document{d}); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Unlock(made.Agent(), []byte("new")); err != nil {
		t.Error(err)
	}
	_, err = home.Unlock(made.Agent(), []byte("old"))
	wantKind(t, err, envelope.Denied)
}

// TestSecretsWithoutDocument: a change of the passphrase was cut off before
// the document that would make it count.
func TestSecretsWithoutDocument(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	made := create(t, s, AgentOptions{Passphrase: []byte("old"), KeepKeysLocal: true})
	other, err := made.lock([]byte("new"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writeFile(other, agentsDir, made.Agent().String(), "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unlock(made.Agent(), []byte("old")); err != nil {
		t.Error(err)
	}
	_, err = s.Unlock(made.Agent(), []byte("new"))
	wantKind(t, err, envelope.Denied)
}

func TestExportImport(t *testing.T) {
	t.Parallel()
	for name, armored := range map[string]bool{"binary": false, "armored": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, away := testStore(t), testStore(t)
			made := create(t, home, AgentOptions{Name: "adam@a-tech", Passphrase: []byte("old")})
			if _, err := home.Passwd(t.Context(), made.Agent(), []byte("old"), []byte("new")); err != nil {
				t.Fatal(err)
			}
			data, err := home.Export(t.Context(), made.Agent(), armored)
			if err != nil {
				t.Fatal(err)
			}
			if armored != bytes.HasPrefix(data, []byte("-----BEGIN L2P AGENT-----\n")) {
				t.Errorf("export begins %q", data[:30])
			}
			for range 2 { // the second time changes nothing
				a, err := away.Import(t.Context(), data)
				if err != nil {
					t.Fatal(err)
				}
				if a.ID() != made.Agent() || !a.Locked || !a.Default || a.Document.Version != 2 {
					t.Errorf("imported %+v", a)
				}
			}
			if secrets, err := away.Unlock(made.Agent(), []byte("new")); err != nil || !secrets.PrivateKey().Equal(made.PrivateKey()) {
				t.Errorf("unlock after import: %v", err)
			}
			for i := range data {
				if i%97 == 0 {
					bad := bytes.Clone(data)
					bad[i] ^= 1
					if a, err := testStore(t).Import(t.Context(), bad); err == nil && !armored {
						// Only the locked secrets can be altered unnoticed, until they are unlocked.
						if _, err := away.Export(t.Context(), a.ID(), false); err != nil {
							t.Errorf("a byte changed at %d made another agent", i)
						}
					}
				}
			}
			for _, n := range []int{0, 1, len(data) / 2, len(data) - 2} {
				_, err := testStore(t).Import(t.Context(), data[:n])
				wantKind(t, err, envelope.Corrupt)
			}
			_, err = testStore(t).Import(t.Context(), append(bytes.Clone(data), "x"...))
			wantKind(t, err, envelope.Corrupt)
		})
	}
}

func TestImportRefused(t *testing.T) {
	t.Parallel()
	home, away := testStore(t), testStore(t)
	made := create(t, home, AgentOptions{Name: "adam@a-tech", Passphrase: []byte("p")})
	old, err := home.Export(t.Context(), made.Agent(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.Import(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	// Both change the passphrase: two different versions 2.
	for _, s := range []*Store{home, away} {
		if _, err := s.Passwd(t.Context(), made.Agent(), []byte("p"), []byte("q")); err != nil {
			t.Fatal(err)
		}
	}
	fork, err := away.Export(t.Context(), made.Agent(), false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = home.Import(t.Context(), fork)
	wantKind(t, err, envelope.Conflict)
	_, err = home.Import(t.Context(), old)
	wantOlder(t, err)
	// Another agent by the same name.
	other := testStore(t)
	create(t, other, AgentOptions{Name: "adam@a-tech"})
	_, err = other.Import(t.Context(), old)
	wantKind(t, err, envelope.Conflict)
	if secrets, err := home.Unlock(made.Agent(), []byte("q")); err != nil || secrets.DocumentVersion() != 2 {
		t.Errorf("after refused imports: %v", err)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	home, away := testStore(t), testStore(t)
	made := create(t, home, AgentOptions{Name: "adam@a-tech", Passphrase: []byte("p")})
	if _, err := home.Passwd(t.Context(), made.Agent(), []byte("p"), []byte("q")); err != nil {
		t.Fatal(err)
	}
	chain, err := home.Chain(t.Context(), made.Agent())
	if err != nil {
		t.Fatal(err)
	}
	_, err = away.SignIn(t.Context(), chain, []byte("p"))
	wantKind(t, err, envelope.Denied)
	if agents, err := away.Agents(); err != nil || len(agents) != 0 {
		t.Errorf("%d agents after a wrong passphrase, %v", len(agents), err)
	}
	secrets, err := away.SignIn(t.Context(), chain, []byte("q"))
	if err != nil || !secrets.PrivateKey().Equal(made.PrivateKey()) {
		t.Fatal(err)
	}
	if _, err := away.Unlock(made.Agent(), []byte("q")); err != nil {
		t.Error(err)
	}
	_, err = away.SignIn(t.Context(), []*envelope.Document{chain[1].Bare()}, []byte("q"))
	wantKind(t, err, envelope.NotFound)
}
