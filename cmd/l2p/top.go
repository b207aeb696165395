package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

func topCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "top",
		Usage:    "watch the node and its network",
		Category: "boxes",
		Description: "On a terminal the view is painted anew every second, until Ctrl-C. Elsewhere, a line is written every second;\n" +
			"with --json it is what `l2p status --json` prints, on one line.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "every", Usage: "look once in this `TIME`", Value: time.Second},
			&cli.UintFlag{Name: "count", Usage: "end after `N` looks", DefaultText: "go on"},
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			every := c.Duration("every")
			if every < 100*time.Millisecond || every > time.Hour {
				return usagef(c, "--every takes a time from 100ms to 1h")
			}
			node, err := s.node(c.Context)
			if err != nil {
				return err
			}
			v := &topView{w: s.stdout, json: s.json, screen: !s.json && isTerminal(s.stdout), every: every}
			if v.screen {
				// The other screen, without a cursor: what was there before comes back at the end.
				fmt.Fprint(s.stdout, "\x1b[?1049h\x1b[?25l")
				defer fmt.Fprint(s.stdout, "\x1b[?25h\x1b[?1049l")
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := uint(1); ; n++ {
				status, err := node.Status(c.Context)
				if c.Context.Err() != nil {
					return nil // Ctrl-C is how one leaves
				}
				if err != nil {
					return err
				}
				if err := v.show(status); err != nil {
					return fileError(err)
				}
				if n == c.Uint("count") {
					return nil
				}
				select {
				case <-tick.C:
				case <-c.Context.Done():
					return nil
				}
			}
		},
	}
}

// A topView shows one look after the other.
type topView struct {
	w      io.Writer
	json   bool
	screen bool // a terminal, to be painted
	every  time.Duration
	last   *wire.StatusReply
}

func (v *topView) show(now *wire.StatusReply) error {
	last := v.last
	if last == nil || now.Uptime < last.Uptime { // the first look, or the node has restarted
		last = now
	}
	v.last = now
	if v.json {
		enc := json.NewEncoder(v.w)
		enc.SetEscapeHTML(false)
		return enc.Encode(newStatusResult(now))
	}
	alive := 0
	for _, n := range now.Nodes {
		if n.Alive {
			alive++
		}
	}
	rate := func(now, last uint64) string {
		if now < last {
			return "0/s"
		}
		return fmt.Sprintf("%.0f/s", float64(now-last)/v.every.Seconds())
	}
	if !v.screen {
		_, err := fmt.Fprintf(v.w, "%s  nodes %d of %d up  behind %d  requests %s  failed %s  passed on %s  keeps %s in %s and %s  free %s\n",
			time.Now().Format(time.TimeOnly), alive, len(now.Nodes), now.Behind,
			rate(now.Requests, last.Requests), rate(now.Failed, last.Failed), rate(now.Sent, last.Sent),
			formatSize(now.Bytes), count(int(now.Segments), "segment"), count(int(now.Records), "record"), formatSize(now.DiskFree))
		return err
	}
	w := &errWriter{w: v.w}
	fmt.Fprint(w, "\x1b[H\x1b[J")
	fmt.Fprintf(w, "%s, box %s, up %s\n\n", networkTitle(now), envelope.SafeText(now.Welcome.BoxName), time.Duration(now.Uptime)*time.Second)
	fmt.Fprintf(w, "nodes      %d of %d up\n", alive, len(now.Nodes))
	fmt.Fprintf(w, "requests   %s of people and programs here, %s failed\n", rate(now.Requests, last.Requests), rate(now.Failed, last.Failed))
	fmt.Fprintf(w, "copies     %s passed on, %d to go\n", rate(now.Sent, last.Sent), now.Behind)
	fmt.Fprintf(w, "keeps      %s in %s, %s; %s free\n", formatSize(now.Bytes), count(int(now.Segments), "segment"), count(int(now.Records), "record"), formatSize(now.DiskFree))
	if now.Pending > 0 {
		fmt.Fprintf(w, "waiting    %s for admission; see `l2p admit`\n", count(int(now.Pending), "box"))
	}
	fmt.Fprintln(w)
	printNodes(w, now.Nodes)
	fmt.Fprintf(w, "\n%s, every %s; Ctrl-C ends it", time.Now().Format(time.TimeOnly), v.every)
	return w.err
}

func networkTitle(r *wire.StatusReply) string {
	if r.Welcome.Network.IsZero() {
		return "in no network yet"
	}
	return r.Welcome.Network.String()
}
