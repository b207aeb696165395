package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A comparison is one task that two programs do.
type comparison struct {
	what     string
	small    bool // many quick runs
	ours     command
	theirs   command
	keepBest *time.Duration // where our median is noted for the limits
}

// A command is a program's arguments and what its streams are.
type command struct {
	args    []string
	env     []string
	in, out string // a file; "pipe": from, or to, a cat; "": the null device
	from    string // what the cat at the beginning of the pipe reads
	made    string // a file that is made, removed before each run
}

// A run is what one run took.
type run struct {
	elapsed time.Duration
	cpu     time.Duration // of the program, in user and system mode
	peak    int64         // bytes of resident memory
}

// heading prints what stands above the lines of comparisons.
func heading(ours, theirs string) {
	fmt.Printf("\n%-18s  %18s  %9s %8s  %8s %8s  %7s %7s\n", "medians", theirs+" / "+ours, ours, theirs, "CPU", "CPU", "RSS", "RSS")
}

// print runs the pairs and prints a line about them. size is in bytes; 0 for
// small files, whose times are in milliseconds.
func (c comparison) print(pairs int, size int64) error {
	var ours, theirs []run
	for i := range pairs + 1 { // the first pair warms up
		for _, side := range []struct {
			command command
			runs    *[]run
		}{{c.ours, &ours}, {c.theirs, &theirs}} {
			r, err := side.command.run()
			if err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
			if i > 0 {
				*side.runs = append(*side.runs, r)
			}
		}
	}
	ratios := make([]float64, pairs)
	for i := range ratios {
		ratios[i] = float64(theirs[i].elapsed) / float64(ours[i].elapsed)
	}
	slices.Sort(ratios)
	if c.keepBest != nil {
		*c.keepBest = median(ours, elapsed)
	}
	fmt.Printf("%-18s  %4.2f (%4.2f..%5.2f)  %9s %8s  %8s %8s  %3.0f MiB %3.0f MiB\n", c.what,
		ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1],
		show(median(ours, elapsed), size), show(median(theirs, elapsed), size), show(median(ours, cpu), size), show(median(theirs, cpu), size),
		peak(ours), peak(theirs))
	return nil
}

func elapsed(r run) time.Duration { return r.elapsed }
func cpu(r run) time.Duration     { return r.cpu }

func show(d time.Duration, size int64) string {
	if size == 0 {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.3f s", d.Seconds())
}

func median(runs []run, of func(run) time.Duration) time.Duration {
	var d []time.Duration
	for _, r := range runs {
		d = append(d, of(r))
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func peak(runs []run) float64 {
	most := int64(0)
	for _, r := range runs {
		most = max(most, r.peak)
	}
	return float64(most) / (1 << 20)
}

// run runs the command to its end.
func (c command) run() (run, error) {
	if c.made != "" {
		os.Remove(c.made)
		syscall.Sync() // so that nobody pays for what another has written
	}
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	var others []*exec.Cmd // the ends of the pipes
	var streams []*os.File // ours, to close once the programs have them
	defer func() {
		for _, f := range streams {
			f.Close()
		}
	}()
	if c.in == "pipe" {
		cat := exec.Command("cat", c.from)
		r, w, err := os.Pipe()
		if err != nil {
			return run{}, err
		}
		streams = append(streams, r, w)
		cat.Stdout, cmd.Stdin = w, r
		others = append(others, cat)
	}
	if c.out == "pipe" {
		cat := exec.Command("cat")
		r, w, err := os.Pipe()
		if err != nil {
			return run{}, err
		}
		streams = append(streams, r, w)
		cat.Stdin, cmd.Stdout = r, w // and cat's output is the null device
		others = append(others, cat)
	}
	started := time.Now()
	for _, p := range append(others, cmd) {
		if err := p.Start(); err != nil {
			return run{}, err
		}
	}
	for _, f := range streams {
		f.Close()
	}
	streams = nil
	if err := cmd.Wait(); err != nil {
		return run{}, fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, complaint.String())
	}
	for _, p := range others {
		if err := p.Wait(); err != nil {
			return run{}, err
		}
	}
	took := time.Since(started)
	p := cmd.ProcessState
	return run{took, p.UserTime() + p.SystemTime(), p.SysUsage().(*syscall.Rusage).Maxrss << 10}, nil
}
