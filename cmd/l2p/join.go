package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

// Asking whether a box has been admitted: soon at first, then less often.
const (
	askFirst   = 250 * time.Millisecond
	askSlowest = 5 * time.Second
)

func joinCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "join",
		Usage:     "take this box into a network",
		ArgsUsage: "TICKET|FILE|-|HOST:PORT",
		Category:  "boxes",
		Description: "A TICKET (from `l2p invite`) needs nothing else; it may stand in a FILE, or come from standard input (-).\n" +
			"With HOST:PORT of any of its nodes, the network is asked for admission: the command shows the network's\n" +
			"fingerprint, and waits until an operator of the founding box runs `l2p admit`. Interrupted, it can be run again.",
		Flags: append(nodeFlags(),
			&cli.StringFlag{Name: "box", Usage: "be the box `NAME` there"},
			&cli.StringFlag{Name: "fingerprint", Usage: "the network at HOST:PORT must be `l2pnet1…`"},
		),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			t, err := s.parseJoin(c, args[0])
			if err == nil {
				err = s.checkReaches(c.String("listen"), t.addrs)
			}
			if err != nil {
				return err
			}
			return s.setUp(c, func(node *netq.Client) error { return s.join(c, node, t) })
		},
	}
}

// join takes the box of a node into the network that t says.
func (s *session) join(c *cli.Context, node *netq.Client, t joinTarget) error {
	join, want := t.join, t.network
	if join.Addr != "" {
		if err := s.lookBeforeJoin(c.Context, node, &join, c.IsSet("fingerprint")); err != nil {
			return err
		}
		want = join.Network
	}
	var err error
	if in := node.Welcome(); in.Network != want {
		err = checkAlone(c.Context, node)
	} else if in.BoxName != join.BoxName {
		err = envelope.Errorf(envelope.Conflict, "this box is %s of the network %s already, so it can't be %s", in.BoxName, in.Network, join.BoxName)
	}
	if err != nil {
		return err
	}
	reply, err := s.joinAndWait(c.Context, node, join)
	if err != nil {
		return err
	}
	if status, err := node.Status(c.Context); err == nil {
		s.warnNoRoom(status)
	}
	result := joinResult{reply.Network.String(), reply.BoxName, reply.Boxes}
	return s.result(result, func(w io.Writer) {
		if reply.Already {
			fmt.Fprintf(w, "this box is %s of the network %s already\n", printable(reply.BoxName), reply.Network)
			return
		}
		fmt.Fprintf(w, "%s is in the network %s", printable(reply.BoxName), reply.Network)
		if reply.Boxes > 0 {
			fmt.Fprintf(w, ", with %s now", count(int(reply.Boxes), "box"))
		}
		fmt.Fprintf(w, "\nnext: `l2p agent create NAME@%s`\n", printable(reply.BoxName))
	})
}

// A joinTarget is what the argument and flags of join say.
type joinTarget struct {
	join    wire.Join
	network envelope.NetworkID // of a ticket
	addrs   []string           // host:port of nodes to ask for admission
}

// joinResult is what join prints with --json.
type joinResult struct {
	Network string `json:"network"`
	Box     string `json:"box"`
	Boxes   uint   `json:"boxes,omitempty"` // of the network now, where the node says so
}

// parseJoin finds out what the argument of join is.
func (s *session) parseJoin(c *cli.Context, arg string) (t joinTarget, err error) {
	join := &t.join
	join.BoxName = c.String("box")
	if join.BoxName != "" {
		if err := envelope.CheckBoxName(join.BoxName); err != nil {
			return t, err
		}
	}
	if _, err := os.Stat(arg); arg == "-" || err == nil {
		in, err := s.openInput([]string{arg})
		if err != nil {
			return t, err
		}
		defer in.Close()
		text, err := io.ReadAll(io.LimitReader(in, maxNodeFile))
		if err != nil {
			return t, fileError(err)
		}
		arg = strings.TrimSpace(string(text))
	}
	if strings.HasPrefix(arg, "l2pticket1") {
		ticket, err := wire.ParseTicket(arg)
		if err != nil {
			return t, err
		}
		if c.IsSet("fingerprint") {
			return t, usagef(c, "a ticket has the network's fingerprint in it, so --fingerprint has no place")
		}
		if join.BoxName != "" && join.BoxName != ticket.Name {
			return t, envelope.Errorf(envelope.Usage, "the ticket is for the box %s, not for %s", printable(ticket.Name), join.BoxName)
		}
		join.Ticket, join.BoxName = arg, ticket.Name
		t.network, t.addrs = ticket.Network, ticket.Addrs
		return t, nil
	}
	if err := wire.CheckAddr(arg, false); err != nil {
		return t, envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is neither a ticket nor HOST:PORT", quoted(arg)), "`l2p invite` makes a ticket")
	}
	if join.BoxName == "" {
		return t, usagef(c, "say what this box is to be called there with --box NAME")
	}
	if c.IsSet("fingerprint") {
		network, err := envelope.ParseNetworkID(c.String("fingerprint"))
		if err != nil {
			return t, err
		}
		join.Network = network
	}
	join.Addr, t.addrs = arg, []string{arg}
	return t, nil
}

// checkAlone refuses to take a box out of a network with other boxes, as if in
// passing. A box that is alone takes what it keeps along.
func checkAlone(ctx context.Context, node *netq.Client) error {
	welcome := node.Welcome()
	if welcome.Network.IsZero() {
		return nil
	}
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	for _, n := range status.Nodes {
		if n.Box != welcome.Box {
			return envelope.WithHint(envelope.Errorf(envelope.Conflict, "this box is %s of the network %s already", welcome.BoxName, welcome.Network), "`l2p leave` takes it out")
		}
	}
	return nil
}

// lookBeforeJoin shows which network is at the address, and has the person
// agree to it, or compares it with the fingerprint that was given.
func (s *session) lookBeforeJoin(ctx context.Context, node *netq.Client, join *wire.Join, given bool) error {
	at, err := node.LookAt(ctx, join.Addr)
	if err != nil {
		return err
	}
	if at.Network.IsZero() {
		return envelope.Errorf(envelope.NotFound, "the node at %s is in no network", join.Addr)
	}
	if given {
		if at.Network != join.Network {
			return envelope.Errorf(envelope.WrongNetwork, "at %s is the network %s, not %s", join.Addr, at.Network, join.Network)
		}
		return nil
	}
	s.remark("at %s is the box %s of the network %s", join.Addr, at.BoxName, at.Network)
	yes, err := s.confirm("Is this the right fingerprint?", fmt.Sprintf("if the fingerprint is right, add --fingerprint %s", at.Network))
	if err != nil {
		return err
	}
	if !yes {
		return envelope.Errorf(envelope.Denied, "not joined: the fingerprint was not confirmed")
	}
	join.Network = at.Network
	return nil
}

// joinAndWait joins, and while the box has to wait for its admission asks
// again from time to time.
func (s *session) joinAndWait(ctx context.Context, node *netq.Client, join wire.Join) (wire.JoinReply, error) {
	told := false
	for wait := askFirst; ; wait = min(wait*3/2, askSlowest) {
		reply, err := node.Join(ctx, join)
		if err == nil && !reply.Waiting {
			return reply, nil
		}
		if is(err, envelope.Conflict) && join.Ticket != "" {
			return reply, envelope.WithHint(err, "a ticket is good for one box, once: ask for another")
		}
		if err != nil && (!told || !is(err, envelope.Unavailable)) {
			return reply, err
		}
		if !told {
			told = true
			s.remark("%s asks to be admitted; an operator of the founding box lets it in with: l2p admit %s", reply.BoxName, reply.Request)
			s.remark("waiting; the request stays if you interrupt this, and the same command goes on with it")
			s.leaves("the request to be admitted stays: run the same command again to go on with it")
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return reply, ctx.Err()
		}
	}
}
