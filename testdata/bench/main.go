// Command bench compares l2p with the age program: both seal and open the same
// data on the same machine, in turns, so that what else goes on there hurts
// both alike. It prints the medians, the ratios, the memory, and what the raw
// cipher and hash reach. Run it from the project's root:
//
//	go run ./testdata/bench
//
// It builds both programs, makes keys without a passphrase in a temporary home
// and needs room for four files of the size. It runs the programs and must not
// know what is inside of l2p; of package envelope it uses the documents, to
// make strangers for a large group.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	size := flag.Int64("size", 1024, "`MiB` to seal and open")
	pairs := flag.Int("pairs", 5, "`pairs` of runs for each large file")
	small := flag.Int("small", 50, "`pairs` of runs for each small file")
	members := flag.Int("members", 10_000, "`members` of the group; 0: no group")
	dir := flag.String("dir", os.TempDir(), "keep temporary files in `DIR`")
	flag.Parse()
	temp, err := os.MkdirTemp(*dir, "l2p-bench-")
	if err == nil {
		err = bench(temp, *size<<20, *pairs, *small, *members)
	}
	os.RemoveAll(temp)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(dir string, size int64, pairs, small, members int) error {
	s, err := newStage(dir, size)
	if err != nil {
		return err
	}
	fmt.Printf("%d cores of %s, %s, age %s; %d MiB, %d pairs\n", runtime.NumCPU(), processor(), runtime.Version(), ageVersion(), size>>20, pairs)
	if load := load(); load > 0.5 {
		fmt.Printf("the machine is busy (load %.1f): of these times only the CPU's mean something\n", load)
	}
	heading("l2p", "age")
	for _, c := range s.large() {
		if err := c.print(pairs, size); err != nil {
			return err
		}
	}
	fmt.Println()
	for _, c := range s.small() {
		if err := c.print(small, 0); err != nil {
			return err
		}
	}
	fmt.Println()
	limits(s.best)
	if members == 0 {
		return nil
	}
	group, err := s.group(members)
	if err != nil {
		return err
	}
	heading("group", "person")
	for _, c := range group {
		n, of := pairs, size
		if c.small {
			n, of = small, 0
		}
		if err := c.print(n, of); err != nil {
			return err
		}
	}
	return nil
}

// processor returns the name of the processor where the system tells it.
func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return runtime.GOARCH
}

// load returns how many programs wanted to run during the last minute, 0 where
// the system doesn't tell.
func load() float64 {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	n, _ := strconv.ParseFloat(first, 64)
	return n
}

func ageVersion() string {
	out, _ := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "filippo.io/age").Output()
	return strings.TrimSpace(string(out))
}
