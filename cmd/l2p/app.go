package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// version is set by the linker: -ldflags "-X main.version=v0.1.0".
var version = "devel"

// commands lists the subcommands in the order in which help shows them. Each
// is made by a function in a file of its own, named after it.
func commands(s *session) []*cli.Command {
	return []*cli.Command{
		agentCommand(s),
		groupCommand(s),
		unlockCommand(s),
		lockCommand(s),
		loginCommand(s),
		logoutCommand(s),
		backupCommand(s),
		restoreCommand(s),
		passphraseCommand(s),
		sealCommand(s),
		openCommand(s),
		inspectCommand(s),
		exportCommand(s),
		putCommand(s),
		getCommand(s),
		shareCommand(s),
		unshareCommand(s),
		lsCommand(s),
		rmCommand(s),
		historyCommand(s),
		ringCommand(s),
		initCommand(s),
		inviteCommand(s),
		joinCommand(s),
		admitCommand(s),
		leaveCommand(s),
		expelCommand(s),
		discoverCommand(s),
		statusCommand(s),
		topCommand(s),
		stopCommand(s),
		manCommand(s),
		keepUnlockedCommand(s),
	}
}

// globalFlags are those that every command takes, before or after its name.
func globalFlags(s *session) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "home", Usage: "keep everything in `DIR`", EnvVars: []string{"L2P_HOME"}, DefaultText: "~/.l2p", Destination: &s.home},
		&cli.StringFlag{Name: "node", Usage: "talk to the node at `NODE@HOST:PORT` instead of the one of --home", EnvVars: []string{"L2P_NODE"}, Destination: &s.nodeAddr},
		&cli.StringFlag{Name: "as", Usage: "act as `AGENT` (a name or id in the keystore)", DefaultText: "what `l2p agent use` set", EnvVars: []string{"L2P_AS"}, Destination: &s.as},
		&cli.StringFlag{Name: "passphrase-file", Usage: "read the passphrase from the first line of `FILE`", EnvVars: []string{"L2P_PASSPHRASE_FILE"}, Destination: &s.passphraseFile},
		&cli.BoolFlag{Name: "json", Usage: "write results as JSON", DisableDefaultText: true, Destination: &s.json},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "write no remarks to standard error, only errors", DisableDefaultText: true, Destination: &s.quiet},
	}
}

// newApp puts the command line together.
func newApp(s *session) *cli.App {
	app := &cli.App{
		Name:                      "l2p",
		Usage:                     "share sealed files in a federation of boxes",
		UsageText:                 "l2p [global flags] command [flags] [arguments]",
		Version:                   version,
		Flags:                     globalFlags(s),
		Commands:                  commands(s),
		HideHelp:                  true, // package cli's flags for help and version
		HideVersion:               true, // are global variables that it changes
		DisableSliceFlagSeparator: true, // a name with a comma stays one name
		Reader:                    s.stdin,
		Writer:                    s.stdout,
		ErrWriter:                 io.Discard, // run prints errors, all of them and once
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Before:                    func(*cli.Context) error { return s.setHome() },
	}
	app.Flags = append(app.Flags, helpFlag(), &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version", DisableDefaultText: true})
	prepare("l2p", app.Commands)
	return app
}

// prepare sets what all commands have in common. path is the command line as
// far as above them.
func prepare(path string, cmds []*cli.Command) {
	for _, c := range cmds {
		name := path + " " + c.Name
		c.HideHelp = true
		c.Flags = append(c.Flags, helpFlag())
		c.OnUsageError = usageError
		c.UsageText = name + " [flags] " + c.ArgsUsage
		if len(c.Subcommands) > 0 {
			c.UsageText = name + " command [flags] [arguments]"
		}
		c.UsageText = strings.TrimSpace(c.UsageText)
		prepare(name, c.Subcommands)
	}
}

// helpFlag is the flag that package cli looks for by name. arrange turns the
// word help into it.
func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", DisableDefaultText: true}
}

func usageError(c *cli.Context, err error, _ bool) error {
	return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s", printable(err.Error())), "see `%s`", helpFor(c.Command.HelpName))
}

// helpFor returns the command line that shows the help of a command, which may be "".
func helpFor(name string) string {
	if name == "" || name == "l2p" {
		return "l2p help"
	}
	return "l2p help " + strings.TrimPrefix(name, "l2p ")
}

// run runs the command line args (without the program's name) and returns the
// exit code. It prints an error, if there is one, in one line.
func run(ctx context.Context, s *session, args []string) int {
	defer s.close()
	app := newApp(s)
	args, err := arrange(app, args)
	if len(args) == 1 && args[0] == "--version" {
		return s.finish(s.result(map[string]string{"version": version}, func(w io.Writer) { fmt.Fprintln(w, "l2p", version) }))
	}
	if err == nil {
		err = app.RunContext(ctx, append([]string{"l2p"}, args...))
	}
	if err != nil && ctx.Err() != nil { // whatever the interrupted call made of it
		err = s.interrupted()
	}
	return s.finish(err)
}

// finish returns the exit code for what came of the command, and prints the
// error, if it is one.
func (s *session) finish(err error) int {
	switch {
	case err == nil:
		return 0
	case is(err, envelope.Other) && errors.Is(err, syscall.EPIPE):
		return exitNoReader // as in `l2p ls | head -1`, which is no failure to tell of
	}
	return fail(s, err)
}

// operands returns the command's arguments, which must be at least least and
// at most most in number (most < 0: any number).
func operands(c *cli.Context, least, most int) ([]string, error) {
	n := c.NArg()
	switch {
	case n < least && n == 0:
		return nil, usagef(c, "%s needs %s", c.Command.HelpName, c.Command.ArgsUsage)
	case n < least:
		return nil, usagef(c, "%s needs more: %s", c.Command.HelpName, c.Command.ArgsUsage)
	case most == 0 && n > 0:
		return nil, usagef(c, "%s takes no arguments, not %s", c.Command.HelpName, quoted(c.Args().First()))
	case most >= 0 && n > most:
		return nil, usagef(c, "%s takes only %s, not %s as well", c.Command.HelpName, c.Command.ArgsUsage, quoted(c.Args().Get(most)))
	}
	return c.Args().Slice(), nil
}

// usagef returns an error of kind Usage with a hint to the command's help.
func usagef(c *cli.Context, format string, args ...any) error {
	return envelope.WithHint(envelope.Errorf(envelope.Usage, format, args...), "see `%s`", helpFor(c.Command.HelpName))
}
