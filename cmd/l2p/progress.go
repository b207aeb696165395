package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A progress is a bar on a terminal that shows how far a transfer is. A nil
// progress, as scripts and pipes get it, shows nothing.
type progress struct {
	w     io.Writer
	width func() int // columns of the terminal
	now   func() time.Time
	what  string // printable
	total uint64 // bytes; 0: unknown

	mu      sync.Mutex
	done    uint64
	started time.Time
	shown   time.Time // when the bar was last painted
	ended   bool
}

// progressEvery is how often a bar is painted anew.
const progressEvery = 100 * time.Millisecond

// newProgress returns a bar on standard error if that is a terminal, else nil.
// total is in bytes, 0 where it isn't known.
func (s *session) newProgress(what string, total uint64) *progress {
	if s.quiet || !isTerminal(s.stderr) {
		return nil
	}
	f := s.stderr.(*os.File)
	width := func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
	return &progress{w: f, width: width, now: time.Now, what: printable(what), total: total, started: time.Now()}
}

// add counts n bytes more. It may be called from several goroutines.
func (p *progress) add(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += uint64(n)
	if now := p.now(); !p.ended && now.Sub(p.shown) >= progressEvery {
		p.shown = now
		fmt.Fprintf(p.w, "\r%s\x1b[K", p.line())
	}
}

// end takes the bar away. Whatever is printed next starts on a clean line.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.ended = true
}

// line returns the bar as text, shorter than the terminal is wide.
func (p *progress) line() string {
	elapsed := p.now().Sub(p.started)
	text := formatSize(p.done)
	if p.total > 0 {
		text = fmt.Sprintf("%3d%%  %s of %s", min(p.done*100/p.total, 100), formatSize(p.done), formatSize(p.total))
	}
	if elapsed > time.Second {
		rate := float64(p.done) / elapsed.Seconds()
		text += fmt.Sprintf("  %s/s", formatSize(uint64(rate)))
		if p.total > p.done && rate > 0 {
			left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
			text += fmt.Sprintf("  %s left", left.Round(time.Second))
		}
	}
	const bar = 24
	room := p.width() - 1 - len(text) - 2
	if p.total > 0 && room > bar+2 {
		full := int(min(p.done*bar/p.total, bar))
		text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", bar-full) + "]  " + text
		room -= bar + 4
	}
	what := []rune(p.what)
	if room < 8 {
		what = nil
	} else if len(what) > room {
		what = append(what[:room-1], '…')
	}
	if len(what) > 0 {
		text = string(what) + "  " + text
	}
	return text
}

// formatSize returns a number of bytes for people, in decimal units.
func formatSize(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n), 0
	for size >= 999.95 && unit < len("kMGTPE") {
		size /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", size, "kMGTPE"[unit-1])
}

// formatTime returns a time in Unix milliseconds for people. It is somebody's
// clock that said so.
func formatTime(ms int64) string {
	if ms <= 0 || ms >= 253402300800000 { // the year 10000
		return "?"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04")
}
