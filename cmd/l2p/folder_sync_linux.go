package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncTree puts a newly written folder on disk. One syncfs is far cheaper
// than an fsync for each of thousands of files.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}
