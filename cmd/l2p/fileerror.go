package main

import (
	"errors"
	"io/fs"
	"syscall"

	"l2p/envelope"
)

// fileError gives an error of the file system its kind and hint.
func fileError(err error) error {
	var e *envelope.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return envelope.Errorf(envelope.NotFound, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return envelope.Errorf(envelope.Denied, "%w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return envelope.WithHint(envelope.Errorf(envelope.Full, "%w", err), "make room on the disk and try again")
	}
	return envelope.Errorf(envelope.Other, "%w", err)
}
