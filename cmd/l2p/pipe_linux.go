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
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) // what is no pipe stays as it is
	})
}
