package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"l2p/envelope"
)

// folderMediaType marks an envelope whose content is a folder's archive: a tar
// stream in PAX format with entries for the folder itself ("./"), and the folders,
// regular files and symbolic links in it, ascending by path, every folder before
// what is in it. The format is docs/envelope.md, "Folders".
const folderMediaType = "application/vnd.l2p.folder+tar"

// Limits of a folder, on the way in and on the way out.
const (
	maxFolderEntries = 200_000
	maxFolderPath    = 1024 // bytes of a path inside the folder
	maxFolderDepth   = 64
)

// checkEntryName refuses names that could escape a folder, that other systems
// can't store, or that could drive a terminal when somebody lists the folder.
func checkEntryName(name string) error {
	switch {
	case len(name) > maxFolderPath:
		return envelope.Errorf(envelope.Corrupt, "a path in the folder has %d bytes, more than %d", len(name), maxFolderPath)
	case !utf8.ValidString(name):
		return envelope.Errorf(envelope.Corrupt, "the file name %+q is not UTF-8", name)
	case !fs.ValidPath(name) || name == ".":
		return envelope.Errorf(envelope.Corrupt, "%+q is no path inside a folder", name)
	case strings.Count(name, "/") >= maxFolderDepth:
		return envelope.Errorf(envelope.Corrupt, "%+q is nested deeper than %d folders", name, maxFolderDepth)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 255 {
			return envelope.Errorf(envelope.Corrupt, "a file name in the folder has %d bytes, more than 255", len(part))
		}
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return envelope.Errorf(envelope.Corrupt, "the file name %+q has control characters", name)
		}
	}
	return nil
}

// cleanLink returns the target of the symbolic link at name in its shortest
// form. It refuses a target that is absolute, leads out of the folder, or goes
// up after it went down: what "down/.." means depends on other links, whereas
// steps up that come first start from a real folder and can be counted.
func cleanLink(name, target string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", envelope.Errorf(envelope.Corrupt, "the link %+q points to %+q, which %s", name, target, why)
	}
	if target == "" || len(target) > maxFolderPath || strings.ContainsRune(target, 0) {
		return refuse("is no path")
	}
	if path.IsAbs(target) || strings.ContainsRune(target, '\\') {
		return refuse("is not relative")
	}
	room := strings.Count(name, "/") // folders above the link, inside the archive
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if room--; down || room < 0 {
				return refuse("leads out of the folder")
			}
		default:
			down = true
		}
	}
	clean := path.Clean(target)
	if down {
		rest := clean
		for strings.HasPrefix(rest, "../") {
			rest = rest[len("../"):]
		}
		if checkEntryName(rest) != nil {
			return refuse("is too long or has control characters")
		}
	}
	return clean, nil
}

// walkFolder calls do for root, as ".", and everything inside, ascending by
// path, each folder before what is in it. It refuses what an archive can't hold. For a
// link, target is where it points to.
func walkFolder(ctx context.Context, root *os.Root, do func(name string, info fs.FileInfo, target string) error) error {
	entries := 0
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fileError(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if entries++; entries > maxFolderEntries {
			return envelope.Errorf(envelope.Full, "the folder has more than %d files and folders", maxFolderEntries)
		}
		if name != "." {
			if err := checkEntryName(name); err != nil {
				return envelope.WithHint(err, "rename it")
			}
		}
		info, err := entry.Info()
		if err != nil {
			return fileError(err)
		}
		target := ""
		switch {
		case info.Mode().IsRegular(), info.IsDir():
		case info.Mode()&fs.ModeSymlink != 0:
			if target, err = root.Readlink(name); err != nil {
				return fileError(err)
			}
			if target, err = cleanLink(name, target); err != nil {
				return envelope.WithHint(err, "replace the link by what it points to, or remove it")
			}
		default:
			return envelope.Errorf(envelope.Usage, "%+q is %s; a folder may hold files, folders and links only", name, describeType(info.Mode()))
		}
		return do(name, info, target)
	})
}

func describeType(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// checkFolder goes through dir without reading its files and returns the sum
// of their sizes. It finds what can't be archived before anything is sent.
func checkFolder(ctx context.Context, dir string) (size int64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fileError(err)
	}
	defer root.Close()
	var unreadable []string
	err = walkFolder(ctx, root, func(name string, info fs.FileInfo, _ string) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		size += info.Size()
		f, err := openFile(root, name)
		if errors.Is(err, fs.ErrPermission) {
			unreadable = append(unreadable, name)
			return nil
		}
		if err != nil {
			return fileError(err)
		}
		return f.Close()
	})
	if err == nil && len(unreadable) > 0 {
		err = envelope.WithHint(envelope.Errorf(envelope.Denied, "you may not read %s", listNames(unreadable)), "nothing was sent")
	}
	return size, err
}

// listNames quotes a few of many names.
func listNames(names []string) string {
	const few = 5
	var list []string
	for _, name := range names[:min(few, len(names))] {
		list = append(list, quoted(name))
	}
	if more := len(names) - few; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

// openFile opens a regular file to read, and doesn't wait if a named pipe has
// taken its place.
func openFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// archiveFolder writes what is in dir to w as a tar stream. Two folders with
// equal content, modes and times give equal streams; owners are not recorded.
func archiveFolder(ctx context.Context, w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fileError(err)
	}
	defer root.Close()
	tw := tar.NewWriter(w)
	buf := make([]byte, 256<<10)
	err = walkFolder(ctx, root, func(name string, info fs.FileInfo, target string) error {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     name,
			Mode:     int64(info.Mode().Perm()),
			ModTime:  archiveTime(info.ModTime()),
			Format:   tar.FormatPAX,
		}
		switch {
		case info.IsDir():
			header.Typeflag, header.Name = tar.TypeDir, name+"/"
		case target != "":
			// The time and mode of a link can't be set portably, so none are kept.
			header.Typeflag, header.Linkname, header.Mode, header.ModTime = tar.TypeSymlink, target, 0o777, time.Unix(0, 0)
		default:
			return archiveFile(tw, root, header, buf)
		}
		return tw.WriteHeader(header)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// archiveTime keeps times that every system can set.
func archiveTime(t time.Time) time.Time {
	if s := t.Unix(); s < 0 || s >= 1<<33 {
		return time.Unix(0, 0)
	}
	return t
}

func archiveFile(tw *tar.Writer, root *os.Root, header *tar.Header, buf []byte) error {
	f, err := openFile(root, header.Name)
	if err != nil {
		return fileError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileError(err)
	}
	changed := envelope.Errorf(envelope.Conflict, "%+q changed while it was being read; try again", header.Name)
	if !info.Mode().IsRegular() {
		return changed
	}
	header.Size = info.Size()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{tw}, struct{ io.Reader }{f}, buf)
	switch {
	case errors.Is(err, tar.ErrWriteTooLong), err == nil && n != header.Size:
		return changed
	case err != nil:
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return fileError(err)
		}
		return err // of the writer
	}
	return nil
}
