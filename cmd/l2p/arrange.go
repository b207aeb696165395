package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

// arrange puts args (without the program's name) into the one order that
// package cli understands: global flags, command, its flags, "--", arguments.
// People write flags wherever they come to mind, and scripts append --json.
// What no command or flag is called is refused here, in one line.
func arrange(app *cli.App, args []string) ([]string, error) {
	var (
		global, path, local, operands []string

		cmd   *cli.Command // as far as known; nil at first
		below = app.Commands
		help  bool
	)
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			operands = append(operands, args[i+1:]...)
			i = len(args)
		case len(a) > 1 && a[0] == '-':
			name, value, hasValue := strings.Cut(strings.TrimPrefix(a[1:], "-"), "=")
			if name == "help" || name == "h" {
				help = true
				continue
			}
			flag, isGlobal := findFlag(app, cmd, name)
			if flag == nil {
				return nil, unknownFlag(a, path)
			}
			words := []string{"--" + flag.Names()[0]} // package cli refuses -t beside --to
			if hasValue {
				words[0] += "=" + value
			}
			if _, isBool := flag.(*cli.BoolFlag); !isBool && !hasValue {
				if i+1 == len(args) {
					return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "flag %s needs a value", quoted(a)), "see `%s`", helpFor(strings.Join(path, " ")))
				}
				i++
				words = append(words, args[i])
			}
			if isGlobal {
				global = append(global, words...)
			} else {
				local = append(local, words...)
			}
		case len(below) > 0:
			if a == "help" {
				help = true
				continue
			}
			next := findCommand(below, a)
			if next == nil {
				return nil, unknownCommand(a, path, below)
			}
			cmd, below, path = next, next.Subcommands, append(path, next.Name)
		default:
			operands = append(operands, a)
		}
	}
	switch {
	case help || len(args) == 0:
		return append(path, "--help"), nil
	case slices.Contains(global, "--version"):
		return []string{"--version"}, nil
	case len(below) > 0:
		return nil, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s needs a command: %s", strings.Join(append([]string{"l2p"}, path...), " "), strings.Join(names(below), ", ")),
			"see `%s`", helpFor(strings.Join(path, " ")))
	}
	arranged := slices.Concat(global, path, local)
	if len(operands) > 0 {
		arranged = append(append(arranged, "--"), operands...)
	}
	return arranged, nil
}

// findFlag finds a flag of the command or a global one.
func findFlag(app *cli.App, cmd *cli.Command, name string) (flag cli.Flag, isGlobal bool) {
	has := func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }
	if cmd != nil {
		if i := slices.IndexFunc(cmd.Flags, has); i >= 0 {
			return cmd.Flags[i], false
		}
	}
	if i := slices.IndexFunc(app.Flags, has); i >= 0 {
		return app.Flags[i], true
	}
	return nil, false
}

func findCommand(cmds []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(cmds, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return cmds[i]
}

func unknownFlag(flag string, path []string) error {
	flag, _, _ = strings.Cut(flag, "=")
	if len(path) == 0 {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "l2p has no global flag %s", quoted(flag)),
			"flags of a command come after its name; see `l2p help`")
	}
	name := strings.Join(path, " ")
	return envelope.WithHint(envelope.Errorf(envelope.Usage, "l2p %s has no flag %s", name, quoted(flag)), "see `%s`", helpFor(name))
}

func unknownCommand(word string, path []string, among []*cli.Command) error {
	name := strings.Join(path, " ")
	hint := "see `" + helpFor(name) + "`"
	if near := nearest(names(among), word); near != "" {
		hint = "did you mean " + near + "? " + hint
	} else if word == "version" && len(path) == 0 {
		hint = "`l2p --version` prints it"
	}
	return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s has no command %s", strings.Join(append([]string{"l2p"}, path...), " "), quoted(word)), "%s", hint)
}

// names lists the commands that help shows.
func names(cmds []*cli.Command) []string {
	var visible []string
	for _, c := range cmds {
		if !c.Hidden {
			visible = append(visible, c.Name)
		}
	}
	return visible
}

// nearest returns which of words is a slip of the finger from word: one letter
// too many, too few, or other, or two exchanged. It returns "" if none is.
func nearest(words []string, word string) string {
	for _, w := range words {
		long, short := w, word
		if len(long) < len(short) {
			long, short = short, long
		}
		head, tail := 0, 0
		for head < len(short) && long[head] == short[head] {
			head++
		}
		for tail < len(short)-head && long[len(long)-1-tail] == short[len(short)-1-tail] {
			tail++
		}
		rest := short[head : len(short)-tail]
		switch odd := long[head : len(long)-tail]; {
		case len(odd) <= 1, len(odd) == 2 && len(rest) == 2 && odd[0] == rest[1] && odd[1] == rest[0]:
			return w
		}
	}
	return ""
}
