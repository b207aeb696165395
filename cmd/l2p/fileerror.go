package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"l2p/envelope"
)

// fileError gives an error of the file system its kind and hint.
func fileError(err error) error {
	var e *envelope.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	var path *fs.PathError
	where := ""
	if errors.As(err, &path) && !strings.HasPrefix(path.Path, "/dev/") {
		if abs, err := filepath.Abs(path.Path); err == nil {
			where = " of " + quoted(filepath.Dir(abs))
		}
	}
	err = withoutCall(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return envelope.Errorf(envelope.NotFound, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return envelope.Errorf(envelope.Denied, "%w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return envelope.WithHint(envelope.Errorf(envelope.Full, "%w", err), "make room on the disk%s and try again", where)
	}
	return envelope.Errorf(envelope.Other, "%w", err)
}

// withoutCall leaves out of an error which system call failed: people know files,
// not calls.
func withoutCall(err error) error {
	var (
		path *fs.PathError
		link *os.LinkError
		call *os.SyscallError
	)
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%+q: %w", path.Path, path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%+q: %w", link.New, link.Err)
	case errors.As(err, &call):
		return call.Err
	}
	return err
}
