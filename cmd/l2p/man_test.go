package main

import (
	"os"
	"testing"
)

// TestManPage holds docs/man to what the program says of itself.
func TestManPage(t *testing.T) {
	t.Parallel()
	kept, err := os.ReadFile("../../docs/man/l2p.1")
	if err != nil {
		t.Fatal(err)
	}
	if now := must(t, t.TempDir(), "", "man"); now != string(kept) {
		t.Error("docs/man/l2p.1 is out of date: run make man")
	}
}
