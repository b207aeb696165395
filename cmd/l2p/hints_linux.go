package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is what Linux lets anybody make of a pipe, in bytes.
const pipeSize = 1 << 20

// widen makes room in f for a whole segment, if it is a pipe: then the two
// programs at its ends wait for each other less often.
func widen(f *os.File) {
	withDescriptor(f, func(fd int) {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) // what is no pipe stays as it is
	})
}

// writeBack has the system begin to put n bytes of f from off on the disk.
func writeBack(f *os.File, off, n int64) {
	withDescriptor(f, func(fd int) {
		_ = unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) // fsync comes later, and tells
	})
}

// withDescriptor calls do with f's descriptor, and leaves f as it is: Fd would
// let its reads wait for ever.
func withDescriptor(f *os.File, do func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}
