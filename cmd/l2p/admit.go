package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq/wire"
)

func admitCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "admit",
		Usage:     "let in a box that has asked for admission, or list those that have",
		ArgsUsage: "[REQUEST|BOX]",
		Category:  "boxes",
		Description: "Compare the REQUEST with what the other operator sees before you admit it: anybody can ask in the name of any BOX.\n" +
			"The beginning of a request, 8 digits at least, is enough.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "refuse", Usage: "turn it away instead", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			node, err := s.memberNode(c.Context)
			if err != nil {
				return err
			}
			pending, err := node.Pending(c.Context)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if c.Bool("refuse") {
					return usagef(c, "say which request to refuse")
				}
				return s.printPending(pending)
			}
			request, err := findPending(pending, args[0])
			if err != nil {
				return err
			}
			if err := node.Admit(c.Context, wire.Admit{Request: request.Request, Refuse: c.Bool("refuse")}); err != nil {
				return err
			}
			result := struct {
				Request  string `json:"request"`
				Box      string `json:"box"`
				Admitted bool   `json:"admitted"`
			}{request.Request.String(), request.BoxName, !c.Bool("refuse")}
			return s.result(result, func(w io.Writer) {
				done := "is admitted"
				if c.Bool("refuse") {
					done = "is refused"
				}
				fmt.Fprintf(w, "%s (%s) %s\n", printable(request.BoxName), request.Box, done)
			})
		},
	}
}

// findPending finds the one request that arg begins or whose box it names.
func findPending(pending []wire.PendingRequest, arg string) (wire.PendingRequest, error) {
	var found []wire.PendingRequest
	for _, p := range pending {
		if p.BoxName == arg || len(arg) >= 8 && strings.HasPrefix(p.Request.String(), strings.ToLower(arg)) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return wire.PendingRequest{}, envelope.WithHint(envelope.Errorf(envelope.NotFound, "no box waits as %s", quoted(arg)), "`l2p admit` lists those that do")
	case 1:
		return found[0], nil
	}
	return wire.PendingRequest{}, envelope.WithHint(envelope.Errorf(envelope.Usage, "%d requests are called %s", len(found), quoted(arg)), "say which by its REQUEST, see `l2p admit`")
}

func (s *session) printPending(pending []wire.PendingRequest) error {
	type row struct {
		Request string `json:"request"`
		Box     string `json:"box"`
		Agent   string `json:"agent"`
		Addr    string `json:"addr"`
		Time    string `json:"time"`
	}
	rows := make([]row, 0, len(pending))
	for _, p := range pending {
		rows = append(rows, row{p.Request.String(), p.BoxName, p.Box.String(), p.Addr, rfc3339(p.Time * 1000)})
	}
	return s.result(rows, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, "no box waits for admission")
			return
		}
		cells := make([][]string, 0, len(rows))
		for i, r := range rows {
			cells = append(cells, []string{r.Box, r.Request, pending[i].Box.Short() + "…", r.Addr, formatTime(pending[i].Time * 1000)})
		}
		table(w, []string{"BOX", "REQUEST", "AGENT", "ASKED FROM", "TIME"}, cells)
	})
}
