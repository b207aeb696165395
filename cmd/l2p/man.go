package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func manCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "write the source of the manual page",
		Hidden: true,
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			describe(c.App.Commands)
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return envelope.Errorf(envelope.Other, "manual page: %w", err)
			}
			_, err = io.WriteString(s.stdout, page+manSections())
			return fileError(err)
		},
	}
}

// describe lets the manual page have the descriptions, which package cli leaves
// out of it.
func describe(cmds []*cli.Command) {
	for _, c := range cmds {
		if c.Description != "" {
			c.Usage += "\n\n" + strings.ReplaceAll(c.Description, "\n", "\n\n")
		}
		describe(c.Subcommands)
	}
}

// exitCodes says what each exit code means, in order.
var exitCodes = []struct {
	code envelope.ErrorKind
	text string
}{
	{envelope.Other, "any failure that has no code of its own"},
	{envelope.Usage, "the command line makes no sense, or something was needed that only a terminal could give"},
	{envelope.NotFound, "no such agent, name, envelope, version or file"},
	{envelope.Denied, "wrong passphrase, or you may not do this"},
	{envelope.NotReader, "the content is sealed, and none of the identities at hand is among its readers"},
	{envelope.Corrupt, "data is truncated, altered, forged or not in the format"},
	{envelope.Unavailable, "a node, the network or a quorum cannot be reached now"},
	{envelope.NotDurable, "a write reached fewer nodes than it needs to be safe"},
	{envelope.Conflict, "somebody else changed it first, a name is taken, or a name means somebody else than before"},
	{envelope.Full, "no room left on a disk, or over a limit of size or number"},
	{envelope.WrongNetwork, "the other side belongs to another network"},
}

// environment says what the environment sets.
var environment = []struct{ name, text string }{
	{"L2P_HOME", "directory of keystore and node; default ~/.l2p"},
	{"L2P_NODE", "node to talk to, l2pnode1…@host:port; default: the one of L2P_HOME"},
	{"L2P_AS", "agent to act as, a name or an id; default: what `l2p agent use` set"},
	{"L2P_PASSPHRASE_FILE", "file whose first line is the passphrase"},
}

// manSections returns what the command line's own page lacks, in roff.
func manSections() string {
	var b strings.Builder
	fmt.Fprint(&b, "\n.SH EXIT STATUS\n.PP\nErrors are one line on standard error; the exit code says of what kind.\n")
	fmt.Fprint(&b, ".TP\n\\fB0\\fP\nall went well\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, ".TP\n\\fB%d\\fP\n%s\n", e.code, e.text)
	}
	fmt.Fprintf(&b, ".TP\n\\fB%d\\fP\ninterrupted by a signal\n", exitInterrupted)
	fmt.Fprint(&b, ".SH ENVIRONMENT\n")
	for _, e := range environment {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fP\n%s\n", e.name, e.text)
	}
	fmt.Fprint(&b, ".SH FILES\n.TP\n\\fB~/.l2p/keystore\\fP\nagents' keys, documents and pinned names\n")
	fmt.Fprint(&b, ".TP\n\\fB~/.l2p/node\\fP\nstate of the own node\n")
	return b.String()
}
