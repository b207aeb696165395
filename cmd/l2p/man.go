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

// inspectFields says what each field is that `l2p inspect --json` prints. Absent
// are those that don't apply, and what is false.
var inspectFields = []struct{ name, text string }{
	{"format", "l2p-envelope/1, or age for a plain age file, of which there is nothing else to say"},
	{"hash", "of the header, which names this version; hexadecimal"},
	{"author", "id of who signed the header"},
	{"authorName", "the author's name, if it is known to be theirs"},
	{"authorState", "verified; changed: verified, by a key that the author has replaced since; revoked: the key was revoked, or the operator of the author's box revoked the author, so that a thief can have signed; unknown: the author, the owner or the writer is not known here, so nothing is proven"},
	{"authorSince", "with changed and revoked, when there was another key; by the author's clock"},
	{"writer", "id of who sealed the content, if another member of the owning group has shared it since"},
	{"writerName", "as authorName"},
	{"owner", "id of whose place on the ring it has"},
	{"ownerName", "as authorName"},
	{"name", "with the owner, the place on the ring; absent from a file"},
	{"version", "number of this version"},
	{"parent", "hash of the version before"},
	{"time", "when it was signed, by the author's clock"},
	{"public", "true: not sealed, for everybody"},
	{"deleted", "true: the owner removed it"},
	{"size", "bytes of payload, with padding and 16 bytes for each 64 KiB"},
	{"padded", "true: there is padding, which hides the size of the content"},
	{"segments", "how many there are; all their signatures hold. Not with --ref"},
	{"damage", "what is wrong with the content"},
	{"particulars", "with --particulars, what only readers see:"},
	{"title", "for people"},
	{"fileName", "of the file or folder that was sealed"},
	{"mediaType", "application/vnd.l2p.folder+tar for a folder"},
	{"readers", "who was meant to read it, each with an id and, if it is known to be theirs, a name"},
	{"openedAs", "id of the agent or group that opened it"},
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
	fmt.Fprint(&b, ".SH WHAT INSPECT PRINTS WITH --json\n")
	for _, f := range inspectFields {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fP\n%s\n", f.name, f.text)
	}
	fmt.Fprint(&b, ".SH FILES\n.TP\n\\fB~/.l2p/keystore\\fP\nagents' keys, documents and pinned names\n")
	fmt.Fprint(&b, ".TP\n\\fB~/.l2p/node\\fP\nstate of the own node\n")
	return b.String()
}
