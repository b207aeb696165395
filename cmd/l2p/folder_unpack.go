package main

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"l2p/envelope"
)

// unpackFolder unpacks the tar stream r, as archiveFolder writes it, as the
// new folder dest. Everything is written into a hidden folder beside dest that
// takes its name when r has ended without an error, so r must fail, not end,
// where its content turns out to be altered. A folder or file that is there
// already is refused, or with replace taken away at the end.
//
// The stream may be hostile: only folders, regular files and links that stay
// inside are accepted, each in a folder that came before it.
func unpackFolder(ctx context.Context, s *session, r io.Reader, dest string, replace bool) (err error) {
	dest = filepath.Clean(dest)
	if base := filepath.Base(dest); base == "." || base == ".." || base == string(filepath.Separator) {
		return envelope.Errorf(envelope.Usage, "%+q can't be made anew; name a folder that doesn't exist yet with -o", dest)
	}
	if err := checkNotThere(dest, replace); err != nil {
		return err
	}
	temp := besideName(dest, "part")
	s.willFinish(temp)
	defer s.finished(temp)
	if err := os.Mkdir(temp, 0o777); err != nil {
		return fileError(err)
	}
	defer func() {
		if err != nil {
			removeTree(temp)
		}
	}()
	if err := unpackInto(ctx, r, temp, dest); err != nil {
		return err
	}
	if err := syncTree(temp); err != nil {
		return fileError(named(err, dest))
	}
	return renameFolder(temp, dest, replace)
}

// checkNotThere refuses a destination that exists, unless it may be replaced.
func checkNotThere(dest string, replace bool) error {
	_, err := os.Lstat(dest)
	switch {
	case err == nil && !replace:
		return envelope.WithHint(envelope.Errorf(envelope.Conflict, "%+q exists already", dest),
			"choose another place with -o, or replace it with --force")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fileError(err)
	}
	return nil
}

// besideName returns a name for a hidden temporary file or folder beside dest.
func besideName(dest, what string) string {
	return filepath.Join(filepath.Dir(dest), ".l2p-"+what+"-"+rand.Text()[:10])
}

// renameFolder gives temp the name dest.
func renameFolder(temp, dest string, replace bool) error {
	old := ""
	if replace {
		if _, err := os.Lstat(dest); err == nil {
			old = besideName(dest, "old")
			if err := os.Rename(dest, old); err != nil {
				return fileError(err)
			}
		}
	}
	if err := os.Rename(temp, dest); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, dest))
		}
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
			return envelope.Errorf(envelope.Conflict, "%+q came to exist meanwhile", dest)
		}
		return fileError(err)
	}
	if old != "" {
		removeTree(old)
	}
	return nil
}

// removeTree removes a folder even where folders in it are read-only. What
// can't be removed stays: the caller has a better error to report.
func removeTree(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(name, 0o700)
		}
		return nil
	})
	os.RemoveAll(dir)
}

// An unpacker writes the entries of an archive into an empty folder of its own.
type unpacker struct {
	root    *os.Root
	dest    string // what errors call it
	entries int
	kept    int // bytes of path in folders and links
	// Links are made last, so that no file is ever written through one;
	// folders get their modes and times last, since files are made in them.
	folders, links []*tar.Header
	buf            []byte
}

// maxKept bounds the memory that an archive's folders and links take.
const maxKept = 16 << 20

// unpackInto unpacks an archive into the folder dir, which is going to be dest.
func unpackInto(ctx context.Context, r io.Reader, dir, dest string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fileError(err)
	}
	defer root.Close()
	u := &unpacker{root: root, dest: dest, buf: make([]byte, 256<<10)}
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return archiveError(err)
		}
		if err := u.entry(header, tr); err != nil {
			return err
		}
	}
	// The end of the archive is not the end of what vouches for it.
	if n, err := io.Copy(io.Discard, r); err != nil {
		return err
	} else if n > 0 {
		return envelope.Errorf(envelope.Corrupt, "the folder's archive is followed by %d more bytes", n)
	}
	return u.finish()
}

// archiveError turns tar's complaints into errors of kind Corrupt, and hands
// on those of the stream below.
func archiveError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, tar.ErrInsecurePath) || errors.Is(err, io.ErrUnexpectedEOF) {
		return envelope.Errorf(envelope.Corrupt, "the folder's archive is damaged: %w", err)
	}
	return err
}

func (u *unpacker) entry(header *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > maxFolderEntries {
		return envelope.Errorf(envelope.Full, "the folder has more than %d files and folders", maxFolderEntries)
	}
	for key := range header.PAXRecords {
		// Above all no "GNU.sparse…": a few bytes would unpack to terabytes.
		if key != "path" && key != "linkpath" && key != "size" && key != "mtime" {
			return envelope.Errorf(envelope.Corrupt, "the folder's archive has an extension %+q that is not part of the format", key)
		}
	}
	name := header.Name
	if header.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		if name == "." && u.entries == 1 { // the folder itself
			header.Name = name
			return u.keep(header, &u.folders)
		}
	}
	if err := checkEntryName(name); err != nil {
		return err
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return envelope.Errorf(envelope.Corrupt, "%+q can't be stored on this system", name)
	}
	header.Name = name
	mode := fs.FileMode(header.Mode) & fs.ModePerm
	switch header.Typeflag {
	case tar.TypeReg:
		return u.file(header, mode, content)
	case tar.TypeDir:
		if err := u.keep(header, &u.folders); err != nil {
			return err
		}
		return entryError(name, u.root.Mkdir(name, mode|0o700))
	case tar.TypeSymlink:
		target, err := cleanLink(name, header.Linkname)
		if err != nil {
			return err
		}
		header.Linkname = target
		return u.keep(header, &u.links)
	}
	return envelope.Errorf(envelope.Corrupt, "%+q is of a type (%q) that a folder's archive doesn't have", name, header.Typeflag)
}

func (u *unpacker) keep(header *tar.Header, list *[]*tar.Header) error {
	if u.kept += len(header.Name) + len(header.Linkname); u.kept > maxKept {
		return envelope.Errorf(envelope.Full, "the folder has too many folders and links")
	}
	*list = append(*list, &tar.Header{Name: header.Name, Linkname: header.Linkname, Mode: header.Mode, ModTime: header.ModTime})
	return nil
}

func (u *unpacker) file(header *tar.Header, mode fs.FileMode, content io.Reader) error {
	// The mode goes through the umask, as that of any new file.
	f, err := u.root.OpenFile(header.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return entryError(header.Name, err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{content}, u.buf)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return fileError(named(err, filepath.Join(u.dest, header.Name)))
		}
		return archiveError(err)
	}
	t := unpackTime(header.ModTime)
	return entryError(header.Name, u.root.Chtimes(header.Name, t, t))
}

// finish makes the links and gives the folders their modes and times, the
// inner ones before the outer.
func (u *unpacker) finish() error {
	for _, l := range u.links {
		if err := u.root.Symlink(l.Linkname, l.Name); err != nil {
			return entryError(l.Name, err)
		}
	}
	for i := len(u.folders) - 1; i >= 0; i-- {
		d := u.folders[i]
		t := unpackTime(d.ModTime)
		if err := u.root.Chtimes(d.Name, t, t); err != nil {
			return entryError(d.Name, err)
		}
		if fs.FileMode(d.Mode)&0o700 == 0o700 && d.Name != "." {
			continue // the mode that it was made with
		}
		info, err := u.root.Lstat(d.Name)
		if err != nil {
			return entryError(d.Name, err)
		}
		if err := u.root.Chmod(d.Name, info.Mode().Perm()&fs.FileMode(d.Mode)); err != nil {
			return entryError(d.Name, err)
		}
	}
	return nil
}

// unpackTime is now for times that archiveTime would not have written.
func unpackTime(t time.Time) time.Time {
	if !archiveTime(t).Equal(t) {
		return time.Now()
	}
	return t
}

// entryError tells what an archive did wrong from what went wrong here.
func entryError(name string, err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return envelope.Errorf(envelope.Corrupt, "the folder's archive has %+q twice, or before its folder, or this file system takes it for another name", name)
	}
	return fileError(err)
}
