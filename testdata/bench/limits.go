package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	chunk   = 64 << 10
	segment = 1 << 20
	warm    = 2 * time.Second // how long each limit is measured
)

// limits prints what the raw cipher and hash reach on all cores, with data in
// the cache and nothing else to do, and what part of it l2p reaches. With AVX-512
// its own hash is faster than the one here.
func limits(best bestTimes) {
	sealing := onAllCores(func() func() {
		in, out := make([]byte, segment), make([]byte, 0, chunk+chacha20poly1305.Overhead)
		aead, nonce := newAEAD(), make([]byte, chacha20poly1305.NonceSize)
		return func() {
			for at := 0; at < segment; at += chunk {
				aead.Seal(out, nonce, in[at:at+chunk], nil)
			}
		}
	})
	hashing := onAllCores(func() func() {
		in, sum, h := make([]byte, segment), make([]byte, 0, 32), blake3.New()
		return func() {
			h.Reset()
			h.Write(in)
			h.Sum(sum)
		}
	})
	both := 1 / (1/sealing + 1/hashing)
	fmt.Printf("on all cores ChaCha20-Poly1305 reaches %.2f GiB/s, zeebo/blake3 %.2f, both in turn %.2f\n", sealing, hashing, both)
	for _, l := range []struct {
		verb string
		took time.Duration
	}{{"seals", best.seal}, {"opens", best.open}} {
		rate := float64(best.size) / (1 << 30) / l.took.Seconds()
		fmt.Printf("l2p %s %.2f GiB/s, start and reading included: %.0f %% of the cipher alone, %.0f %% of both\n", l.verb, rate, 100*rate/sealing, 100*rate/both)
	}
}

func newAEAD() interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
} {
	aead, err := chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	if err != nil {
		panic(err) // of the key's length only
	}
	return aead
}

// onAllCores returns the GiB/s that all cores reach together, where each of
// what prepare returns works on one segment.
func onAllCores(prepare func() func()) float64 {
	var mu sync.Mutex
	var wait sync.WaitGroup
	total := 0
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			work := prepare()
			n := 0
			for end := time.Now().Add(warm); time.Now().Before(end); n++ {
				work()
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wait.Wait()
	return float64(total) * segment / (1 << 30) / warm.Seconds()
}
