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
			_, err := io.WriteString(s.stdout, manPage(c.App))
			return fileError(err)
		},
	}
}

// manPage returns the manual page, in roff (man(7)). Package cli's own takes a
// way over Markdown, to which a "#" in a text is a heading, and leaves out
// descriptions and what values are called.
func manPage(app *cli.App) string {
	p := &roff{}
	p.line(".TH L2P 1")
	p.section("NAME")
	p.line(`l2p \- ` + roffText(app.Usage))
	p.section("SYNOPSIS")
	p.line(`\fB` + roffText(app.UsageText) + `\fP`)
	p.section("GLOBAL FLAGS")
	p.paragraph("They may stand before or after the command.")
	p.flags(app.VisibleFlags())
	p.section("COMMANDS")
	p.commands(app.Commands)
	p.section("EXIT STATUS")
	p.paragraph("An error is one line of text on standard error, with --json, too; the exit code says of what kind it is.")
	p.item(`\fB0\fP`, "all went well")
	for _, e := range exitCodes {
		p.item(fmt.Sprintf(`\fB%d\fP`, e.code), e.text)
	}
	p.item(fmt.Sprintf(`\fB%d\fP`, exitInterrupted), "interrupted by a signal")
	p.item(fmt.Sprintf(`\fB%d\fP`, exitNoReader), "whoever read the output has gone")
	p.section("WHAT IS PRINTED WITH --json")
	p.paragraph("Times are text such as 2026-11-23T08:30:00Z (RFC 3339, in UTC). Absent are fields that don't apply, and most that are false. " +
		"A field of a field is written with a dot. Agents, groups and boxes are given by their ids; a name stands beside an id where it is known to be theirs.")
	for _, r := range jsonResults {
		p.line(".SS l2p " + roffText(r.command) + ` \-\-json`)
		p.paragraph(r.about)
		for _, f := range r.fields {
			p.item(`\fB`+roffText(f.name)+`\fP`, f.text)
		}
	}
	p.section("ENVIRONMENT")
	for _, e := range environment {
		p.item(`\fB`+roffText(e.name)+`\fP`, e.text)
	}
	p.section("FILES")
	p.item(`\fB`+roffText("~/.l2p/keystore")+`\fP`, "agents' keys, documents and pinned names")
	p.item(`\fB`+roffText("~/.l2p/node")+`\fP`, "state of the own node")
	return p.b.String()
}

// A roff is the source of a manual page in the making.
type roff struct{ b strings.Builder }

func (p *roff) line(text string) { p.b.WriteString(text + "\n") }

func (p *roff) section(title string) { p.line(".SH " + roffText(title)) }

// paragraph writes text that is filled. Where it breaks its lines is for
// `l2p help` alone.
func (p *roff) paragraph(text string) {
	if text != "" {
		p.line(".PP\n" + roffText(strings.ReplaceAll(text, "\n", " ")))
	}
}

// item writes a term, which is roff already, and what it means.
func (p *roff) item(term, text string) { p.line(".TP\n" + term + "\n" + roffText(text)) }

func (p *roff) commands(cmds []*cli.Command) {
	for _, c := range cmds {
		if c.Hidden {
			continue
		}
		if len(c.Subcommands) > 0 { // which say it all
			p.commands(c.Subcommands)
			continue
		}
		p.line(".SS " + roffText(c.UsageText))
		p.paragraph(sentence(c.Usage))
		p.paragraph(c.Description)
		p.flags(c.VisibleFlags())
	}
}

// sentence returns what a command does as a sentence.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// flags writes flags with what their values are called. That each command has
// --help goes without saying.
func (p *roff) flags(flags []cli.Flag) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" {
			continue
		}
		var names []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, `\fB`+roffText(dashes+name)+`\fP`)
		}
		term, usage := strings.Join(names, ", "), doc.GetUsage()
		if doc.TakesValue() {
			value := "VALUE"
			if before, rest, ok := strings.Cut(usage, "`"); ok {
				var after string
				value, after, _ = strings.Cut(rest, "`")
				usage = before + value + after
			}
			term += ` \fI` + roffText(value) + `\fP`
			if text := doc.GetDefaultText(); text != "" {
				usage += " (default: " + text + ")"
			}
		}
		p.item(term, usage)
	}
}

// roffEscapes are the characters that roff reads or prints otherwise.
var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, `~`, `\(ti`, `^`, `\(ha`)

// roffText returns text for roff, on one line, with what is between backquotes in
// bold. It can't be taken for a request, which begins with a dot or quote.
func roffText(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = roffEscapes.Replace(part)
		if i%2 == 1 {
			part = `\fB` + part + `\fP`
		}
		b.WriteString(part)
	}
	if strings.HasPrefix(text, ".") {
		return `\&` + b.String()
	}
	return b.String()
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
	{envelope.Conflict, "somebody else changed it first, a name is taken, a name means somebody else than before, or a group has to get new keys first"},
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
