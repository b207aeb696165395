//go:build !linux

package main

import (
	"net"
	"time"
)

func hardenProcess() {}

func closeOnExec() {}

func newLockedMemory(n int) []byte { return make([]byte, n) }

func freeLockedMemory(data []byte) { clear(data) }

// samePeer has nothing to check: the socket's directory is closed to others.
func samePeer(*net.UnixConn) error { return nil }

func now() instant { return instant{time.Now().Round(0), time.Since(start)} }
