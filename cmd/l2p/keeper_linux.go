package main

import (
	"math"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"l2p/envelope"
)

// hardenProcess keeps the memory of this process from other processes of the
// user and from core files. Where the system refuses, the process works all
// the same.
func hardenProcess() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// closeOnExec has no file of this process inherited by those that it starts. A script
// may have given it the end of a pipe, and wait until everybody has closed that.
func closeOnExec() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }

// newLockedMemory returns memory outside of Go's heap which, as far as the system
// lets us, reaches neither swap nor core files.
func newLockedMemory(n int) []byte {
	data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Mlock(data)
	_ = unix.Madvise(data, unix.MADV_DONTDUMP)
	return data
}

// freeLockedMemory clears and releases what newLockedMemory returned.
func freeLockedMemory(data []byte) {
	clear(data)
	if len(data) > 0 {
		_ = unix.Munmap(data) // an error if it is of Go's heap
	}
}

// samePeer returns an error unless the other end of a connection belongs to
// this user.
func samePeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if peerErr != nil {
		return os.NewSyscallError("getsockopt", peerErr)
	}
	if int(peer.Uid) != os.Getuid() {
		return envelope.Errorf(envelope.Denied, "the other end of the socket belongs to user %d", peer.Uid)
	}
	return nil
}

// now reads both clocks. CLOCK_BOOTTIME goes on while the machine sleeps.
func now() instant {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return instant{time.Now().Round(0), time.Since(start)}
	}
	return instant{time.Now().Round(0), time.Duration(t.Nano())}
}
