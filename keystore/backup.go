package keystore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"

	"l2p/envelope"
)

const (
	// MaxBackupSize is the most bytes that a backup has, as plain or as sealed.
	MaxBackupSize = 256 << 20

	backupMark    = "l2p-keystore" // name of the first file in the archive
	backupContent = "1\n"          // its content: the format

	maxBackupFiles = 1 << 17
)

// A backupFile is a file of a keystore, in an archive or on its way there.
type backupFile struct {
	name string // in the keystore, with slashes
	data []byte
}

// Backup writes the whole keystore as it is at one moment, sealed by a
// passphrase, which is cleared: the agents with their secrets, locked or not as
// they are kept, and what is known of others. docs/keys.md has the format.
func (s *Store) Backup(ctx context.Context, w io.Writer, passphrase []byte) error {
	defer clear(passphrase)
	var files []backupFile
	defer func() {
		for _, f := range files {
			clear(f.data)
		}
	}()
	// Only the reading is under the lock: who takes the backup may be slow.
	err := s.locked(func() error {
		var err error
		files, err = s.snapshot(ctx)
		return err
	})
	if err != nil {
		return err
	}
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return envelope.Errorf(envelope.Usage, "passphrase is empty")
	}
	r.SetWorkFactor(s.workFactor)
	scryptTurn.Lock()
	sealed, err := age.Encrypt(w, r)
	scryptTurn.Unlock()
	if err != nil {
		return fileError(err)
	}
	t := tar.NewWriter(sealed)
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o600, Size: int64(len(f.data)), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = t.Write(f.data)
		}
		if err != nil {
			return fileError(err)
		}
	}
	if err := errors.Join(t.Close(), sealed.Close()); err != nil {
		return fileError(err)
	}
	return nil
}

// snapshot returns the files of a backup. The caller holds the lock.
func (s *Store) snapshot(ctx context.Context) ([]backupFile, error) {
	files := []backupFile{{backupMark, []byte(backupContent)}}
	size := 0
	add := func(data []byte, name ...string) error {
		files = append(files, backupFile{strings.Join(name, "/"), data})
		if size += len(data); size > MaxBackupSize/2 || len(files) > maxBackupFiles { // with tar's and age's own it stays below the limit
			return envelope.WithHint(envelope.Errorf(envelope.Full, "the keystore has more than %d files or %d bytes: too much for a backup", maxBackupFiles, MaxBackupSize/2),
				"copy its folder")
		}
		return ctx.Err()
	}
	known, err := s.Known()
	if err != nil {
		return nil, err
	}
	for _, id := range known {
		chain, err := s.readChain(id)
		if err != nil {
			return nil, err
		}
		for _, d := range chain {
			if err := add(d.Signed().Encode(), documentsDir, id.String(), strconv.FormatUint(d.Version, 10)); err != nil {
				return nil, err
			}
		}
		lost, err := s.Lost(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, d := range lost {
			if err := add(d.Signed().Encode(), documentsDir, id.String(), lostName(d)); err != nil {
				return nil, err
			}
		}
	}
	seen, err := s.idsIn(seenDir)
	if err != nil {
		return nil, err
	}
	for _, id := range seen {
		refs, err := s.readSeen(id)
		if err != nil {
			return nil, err
		}
		data, err := envelope.Encode(seenList{Format: 1, Refs: refs})
		if err == nil {
			err = add(data, seenDir, id.String())
		}
		if err != nil {
			return nil, err
		}
	}
	if names, err := s.readFile(maxNamesSize, namesFile); err == nil {
		if err := add(names, namesFile); err != nil {
			return nil, err
		}
	} else if !isNotFound(err) {
		return nil, err
	}
	agents, err := s.Agents()
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		stored, err := s.secretsOf(a.Document)
		if err == nil {
			err = add(stored, agentsDir, a.ID().String(), strconv.FormatUint(a.Document.Version, 10))
		}
		if err != nil {
			return nil, err
		}
		if a.Default {
			if err := add([]byte(a.ID().String()+"\n"), defaultFile); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// A backup is what is in one, parsed.
type backup struct {
	documents map[envelope.AgentID][]*envelope.Document // the chain, oldest first
	lost      map[envelope.AgentID][]*envelope.Document // of a group, beside the chain
	seen      map[envelope.AgentID][]seenRef
	names     []PinnedName
	secrets   map[envelope.AgentID][]byte // for the newest of the agent's documents
	standard  envelope.AgentID            // the default agent; zero: none
}

// openBackup reads a backup that its passphrase opens, to the end.
func openBackup(r io.Reader, passphrase []byte) (*backup, error) {
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, envelope.Errorf(envelope.Denied, "the backup needs its passphrase")
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	scryptTurn.Lock()
	plain, err := age.Decrypt(r, id)
	scryptTurn.Unlock()
	switch {
	case errors.Is(err, age.ErrIncorrectIdentity):
		return nil, envelope.Errorf(envelope.Denied, "wrong passphrase")
	case err != nil:
		return nil, envelope.WithHint(envelope.Errorf(envelope.Corrupt, "this is not a backup: %s", ageText(err)), "l2p backup makes one")
	}
	files, err := readBackupFiles(plain)
	defer func() {
		for _, f := range files {
			clear(f.data) // what is needed is copied
		}
	}()
	if err != nil {
		return nil, envelope.Errorf(envelope.Corrupt, "the backup is damaged: %w", err)
	}
	b, err := parseBackup(files)
	if err != nil {
		return nil, envelope.Errorf(envelope.Corrupt, "the backup is damaged: %w", err)
	}
	return b, nil
}

// readBackupFiles returns the files of an archive. Their names are still to be
// checked: none is used as a path.
func readBackupFiles(r io.Reader) ([]backupFile, error) {
	limited := &io.LimitedReader{R: r, N: MaxBackupSize + 1}
	t := tar.NewReader(limited)
	var files []backupFile
	size := 0 // a sparse file takes no room in the archive
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return files, shortly(err)
		}
		if h.Typeflag != tar.TypeReg || h.Size > envelope.MaxSignedSize && h.Size > maxSeenSize || len(files) >= maxBackupFiles {
			return files, envelope.Errorf(envelope.Corrupt, "unexpected file %+.80q", h.Name)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return files, shortly(err)
		}
		if size += len(data); size > MaxBackupSize {
			return files, envelope.Errorf(envelope.Corrupt, "more than %d bytes", MaxBackupSize)
		}
		files = append(files, backupFile{h.Name, data})
	}
	// The seal is whole only when its end was seen.
	rest, err := io.Copy(io.Discard, limited)
	if err != nil {
		return files, shortly(err)
	}
	if limited.N == 0 || rest > 64<<10 {
		return files, envelope.Errorf(envelope.Corrupt, "more than %d bytes, or more after the end", MaxBackupSize)
	}
	if len(files) == 0 || files[0].name != backupMark || string(files[0].data) != backupContent {
		return files, envelope.Errorf(envelope.Corrupt, "the archive does not begin with %s of format 1", backupMark)
	}
	return files[1:], nil
}

// shortly is an error whose text, which may quote hostile input, is cut.
func shortly(err error) error { return fmt.Errorf("%.200v", err) }

// parseBackup checks each file of a backup by itself.
func parseBackup(files []backupFile) (*backup, error) {
	b := &backup{
		documents: make(map[envelope.AgentID][]*envelope.Document), lost: make(map[envelope.AgentID][]*envelope.Document),
		seen: make(map[envelope.AgentID][]seenRef), secrets: make(map[envelope.AgentID][]byte),
	}
	had := make(map[string]bool)
	secretsFor := make(map[envelope.AgentID]uint64)
	for _, f := range files {
		err := error(envelope.Errorf(envelope.Corrupt, "no such file belongs there"))
		dir, rest, _ := strings.Cut(f.name, "/")
		owner, file, _ := strings.Cut(rest, "/")
		id, idErr := envelope.ParseAgentID(owner)
		n, nErr := strconv.ParseUint(file, 10, 32)
		switch {
		case had[f.name]:
			err = envelope.Errorf(envelope.Corrupt, "it is there twice")
		case f.name == namesFile:
			b.names, err = parseNames(f.data)
		case f.name == defaultFile:
			b.standard, err = envelope.ParseAgentID(strings.TrimSuffix(string(f.data), "\n"))
		case idErr != nil:
		case f.name == seenDir+"/"+id.String():
			b.seen[id], err = parseSeen(f.data)
		case dir == documentsDir:
			var d *envelope.Document
			if d, err = envelope.ParseDocument(f.data); err != nil {
				break
			}
			switch path := documentsDir + "/" + d.ID().String() + "/"; f.name {
			case path + strconv.FormatUint(d.Version, 10):
				b.documents[id] = append(b.documents[id], d)
			case path + lostName(d):
				b.lost[id] = append(b.lost[id], d)
			default:
				err = envelope.Errorf(envelope.Corrupt, "it is another document")
			}
		case f.name == agentsDir+"/"+id.String()+"/"+strconv.FormatUint(n, 10) && nErr == nil && b.secrets[id] == nil && len(f.data) <= maxSecretsSize:
			b.secrets[id], secretsFor[id], err = bytes.Clone(f.data), n, nil
		}
		if err != nil {
			return nil, envelope.Errorf(envelope.Corrupt, "file %+.200q: %w", f.name, err)
		}
		had[f.name] = true
	}
	for id, stored := range b.secrets {
		chain := b.documents[id]
		sortByVersion(chain)
		if len(chain) == 0 || chain[len(chain)-1].Version != secretsFor[id] {
			return nil, envelope.Errorf(envelope.Corrupt, "the secrets of %s are not those of its newest document", id)
		}
		if err := checkStored(stored, chain[len(chain)-1]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// checkStored checks secrets from elsewhere, as far as they aren't locked.
func checkStored(stored []byte, d *envelope.Document) error {
	if d.Kind != envelope.User && d.Kind != envelope.Service {
		return envelope.Errorf(envelope.Corrupt, "a keystore keeps users and services, not a %s", d.Kind)
	}
	if isLocked(stored) {
		return nil
	}
	secrets, err := parseSecrets(stored)
	if err != nil {
		return err
	}
	return secrets.bind(d)
}

// inOrder returns the ids of the agents whose documents are in a backup, so that admins
// come before their groups.
func (b *backup) inOrder() []envelope.AgentID {
	var ids []envelope.AgentID
	for id, chain := range b.documents {
		sortByVersion(chain)
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y envelope.AgentID) int {
		if gx, gy := b.documents[x][0].Group != nil, b.documents[y][0].Group != nil; gx != gy {
			if gx {
				return 1
			}
			return -1
		}
		return compareIDs(x, y)
	})
	return ids
}

// isEmpty reports whether the store keeps nothing yet.
func (s *Store) isEmpty() (bool, error) {
	for _, dir := range []string{agentsDir, documentsDir, seenDir} {
		ids, err := s.idsIn(dir)
		if err != nil || len(ids) > 0 {
			return false, err
		}
	}
	for _, file := range []string{namesFile, defaultFile} {
		if _, err := os.Lstat(s.path(file)); err == nil {
			return false, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return false, fileError(err)
		}
	}
	return true, nil
}
