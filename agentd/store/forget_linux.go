package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget makes the operating system drop what it holds of a file in memory, so
// that the next who reads it reads the disk. It is a request: what fails doesn't
// matter.
func forget(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
