package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestProgressFitsItsTerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{0, 10, 40, 80, 200} {
		var b bytes.Buffer
		now := time.Unix(1000, 0)
		p := &progress{w: &b, width: func() int { return width }, now: func() time.Time { return now },
			what: strings.Repeat("ü", 90), total: 3_000_000, started: now}
		for range 4 { // one more than announced
			now = now.Add(2 * time.Second)
			p.add(1_000_000)
			if line := p.line(); width >= 80 && utf8.RuneCountInString(line) >= width {
				t.Errorf("width %d: %q", width, line)
			}
		}
		if line := p.line(); !strings.Contains(line, "100%") || strings.Contains(line, "left") {
			t.Errorf("at the end: %q", line)
		}
		p.end()
		if !strings.HasSuffix(b.String(), "\r\x1b[K") || strings.Contains(b.String(), "\n") {
			t.Errorf("not taken away: %q", b.String())
		}
	}
	var none *progress
	none.add(1)
	none.end()
}

func TestFormatSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1 << 20: "1.0 MB", 1<<64 - 1: "18.4 EB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %s, want %s", n, got, want)
		}
	}
}
