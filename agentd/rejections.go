package agentd

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// rejections counts what the node turned away, by reason, and logs the counts
// once a minute: a hostile peer must not be able to fill a disk with log lines.
// Reasons are constants of the program, never text from outside.
type rejections struct {
	log   *slog.Logger
	count func(reason string)

	mu     sync.Mutex
	counts map[string]uint64
	last   map[string]string // an example of each
}

func newRejections(log *slog.Logger, count func(reason string)) *rejections {
	return &rejections{log: log, count: count, counts: map[string]uint64{}, last: map[string]string{}}
}

// add counts one rejection. example says whom it concerned.
func (r *rejections) add(reason, example string) {
	r.count(reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
	r.last[reason] = example
}

// run logs until ctx ends, and what is left then.
func (r *rejections) run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.flush()
		case <-ctx.Done():
			r.flush()
			return
		}
	}
}

func (r *rejections) flush() {
	r.mu.Lock()
	counts, last := r.counts, r.last
	r.counts, r.last = map[string]uint64{}, map[string]string{}
	r.mu.Unlock()
	for reason, n := range counts {
		r.log.Warn("turned away", "reason", reason, "times", n, "last", last[reason])
	}
}
