// Command agentd runs one node of an l2p network: flags make a Config, and the
// Config runs until a signal ends it. It must not know anything else; what a
// node is and does stands in package agentd.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"l2p/agentd"
)

// version is set by the linker: -ldflags "-X main.version=v0.1.0".
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run runs the command line args (with the program's name) and returns the
// exit code. It prints an error, if there is one, in one line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "agentd:", strings.ReplaceAll(err.Error(), "\n", " "))
	return agentd.ExitCode(err)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "agentd",
		Usage:     "run a node of an l2p network",
		UsageText: "agentd [flags]",
		Description: "A node keeps its share of the network's sealed data and answers l2p.\n" +
			"It runs until it is interrupted or terminated, or until `l2p stop`.\n" +
			"A new node waits for `l2p init` or `l2p join`, unless --join is given.\n" +
			"Exit codes are those of l2p: 0 after a stop in good order, 2 for a wrong command line,\n" +
			"3 for --rebuild-index where there is nothing, 6 where the index is damaged, 9 where another\n" +
			"agentd runs in the same state directory, 10 where the disk is full, 1 for most else.",
		Version: version,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "state", Usage: "keep everything in `DIR`", EnvVars: []string{"L2P_STATE"}, DefaultText: "$L2P_HOME/node, ~/.l2p/node"},
			&cli.StringFlag{Name: "listen", Usage: "listen on UDP `HOST:PORT`; port 0 is any free port", Value: agentd.DefaultListen, EnvVars: []string{"L2P_LISTEN"}},
			&cli.StringSliceFlag{Name: "bootstrap", Usage: "try `HOST:PORT` to reach the own network, beside the addresses remembered; may be repeated"},
			&cli.StringFlag{Name: "join", Usage: "a box that is in no network yet joins one by `TICKET`", EnvVars: []string{"L2P_JOIN"}},
			&cli.BoolFlag{Name: "no-mdns", Usage: "don't announce the node on the local network, nor look for others there"},
			&cli.StringFlag{Name: "metrics", Usage: "answer GET /metrics for Prometheus at `HOST:PORT` of the loopback, such as 127.0.0.1:9012", EnvVars: []string{"L2P_METRICS"}},
			&cli.StringFlag{Name: "quota-agent", Usage: "refuse more than `SIZE` (such as 500M or 20G) of segments of one agent on this node; 0 is no quota", Value: "0", EnvVars: []string{"L2P_QUOTA_AGENT"}},
			&cli.StringFlag{Name: "scrub-rate", Usage: "check all that is kept about once a week, reading at most `SIZE` a second", Value: "8M"},
			&cli.BoolFlag{Name: "rebuild-index", Usage: "make the index of the stopped node anew from its files and what is left of the old index, then end"},
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` debug, info, warn or error", Value: "info"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` text or json", Value: "text"},
		},
		Commands: []*cli.Command{{
			Name: "man", Usage: "write the man page", Hidden: true,
			Action: func(c *cli.Context) error {
				page, err := c.App.ToMan()
				if err == nil {
					_, err = io.WriteString(c.App.Writer, page)
				}
				return err
			},
		}},
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       io.Discard, // run prints errors, all of them and once
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return agentd.UsageError("%v", err) },
	}
	app.Action = func(c *cli.Context) error {
		if c.NArg() > 0 {
			return agentd.UsageError("agentd takes no arguments, not %+q", c.Args().First())
		}
		cfg, err := configOf(c, stderr)
		if err != nil {
			return err
		}
		if c.Bool("rebuild-index") {
			done, err := agentd.RebuildIndex(cfg.State, cfg.Log)
			if err == nil {
				_, err = fmt.Fprintln(c.App.Writer, "agentd:", done)
			}
			return err
		}
		node, err := agentd.New(cfg)
		if err != nil {
			return err
		}
		return node.Run(c.Context)
	}
	return app
}

// configOf makes a node's configuration from the flags.
func configOf(c *cli.Context, logTo io.Writer) (agentd.Config, error) {
	var cfg agentd.Config
	log, err := newLog(logTo, c.String("log-level"), c.String("log-format"))
	if err != nil {
		return cfg, err
	}
	state := c.Path("state")
	if state == "" {
		if state, err = defaultState(); err != nil {
			return cfg, err
		}
	}
	quota, err := sizeOf(c, "quota-agent")
	if err != nil {
		return cfg, err
	}
	rate, err := sizeOf(c, "scrub-rate")
	if err != nil {
		return cfg, err
	}
	return agentd.Config{
		State:      state,
		Listen:     c.String("listen"),
		Bootstrap:  c.StringSlice("bootstrap"),
		Join:       c.String("join"),
		MDNS:       !c.Bool("no-mdns"),
		Metrics:    c.String("metrics"),
		QuotaAgent: quota,
		ScrubRate:  rate,
		Log:        log,
	}, nil
}

// sizeOf returns the bytes that a flag names: a number, and K, M, G or T for
// powers of 1024.
func sizeOf(c *cli.Context, name string) (uint64, error) {
	text := c.String(name)
	digits, shift := strings.TrimRight(text, "KMGT"), 0
	switch unit := text[len(digits):]; unit {
	case "":
	case "K", "M", "G", "T":
		shift = 10 * (1 + strings.Index("KMGT", unit))
	default:
		return 0, agentd.UsageError("--%s %+q is no size, such as 500M", name, text)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, agentd.UsageError("--%s %+q is no size, such as 500M", name, text)
	}
	return n << shift, nil
}

func defaultState() (string, error) {
	if home := os.Getenv("L2P_HOME"); home != "" {
		return filepath.Join(home, "node"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", agentd.UsageError("no home directory: %v; say where the node keeps its files with --state DIR", err)
	}
	return filepath.Join(home, ".l2p", "node"), nil
}

// inWords has ids and addresses in the log as they are printed elsewhere. JSON
// would have them as arrays of bytes.
func inWords(_ []string, a slog.Attr) slog.Attr {
	if s, ok := a.Value.Any().(fmt.Stringer); ok && a.Value.Kind() == slog.KindAny {
		a.Value = slog.StringValue(s.String())
	}
	return a
}

func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, agentd.UsageError("--log-level %+q is none of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: inWords}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, agentd.UsageError("--log-format %+q is neither text nor json", format)
}
