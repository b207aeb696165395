package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
)

// setUp calls f with the own node for a command that takes it into a network: the
// node is started where there is none yet. If that fails, things are as before:
// what the command has started doesn't go on running, in no network.
func (s *session) setUp(c *cli.Context, f func(node *netq.Client) error) error {
	if s.nodeAddr != "" {
		node, err := s.node(c.Context)
		if err != nil {
			return err
		}
		return f(node)
	}
	listen, noMDNS := c.String("listen"), c.Bool("no-mdns")
	if listen != "" || noMDNS {
		runs, err := nodeRuns(s.nodeDir())
		if err != nil {
			return err
		}
		if runs {
			return envelope.WithHint(envelope.Errorf(envelope.Usage, "the node runs already, so --listen and --no-mdns come too late"),
				"leave them out, or stop it first with `l2p stop`")
		}
		if err := s.setAgentdFlags(listen, noMDNS); err != nil {
			return err
		}
	}
	node, started, err := s.startAnyNode(c.Context)
	if err != nil {
		return err
	}
	s.client = node
	s.onClose(node.Close)
	err = f(node)
	if err != nil && started && s.takeDown(c.Context, node) && (listen != "" || noMDNS) {
		if err := os.Remove(flagsPath(s.nodeDir())); err != nil {
			s.warn("%v", withoutCall(err))
		}
	}
	return err
}

// takeDown stops a node that this run has started for nothing: it is in no
// network. It reports whether it has.
func (s *session) takeDown(ctx context.Context, node *netq.Client) bool {
	status, err := node.Status(ctx)
	if err != nil || !status.Welcome.Network.IsZero() {
		return false
	}
	if err = node.Stop(ctx); err == nil {
		err = waitStopped(ctx, s.nodeDir())
	}
	if err != nil {
		s.remark("agentd, which was started for this, still runs (%v): `l2p stop` stops it", err)
		return false
	}
	s.remark("agentd, which was started for this, is stopped again")
	return true
}

// checkReaches is checkReach for the own node, which listens where --listen says
// now, or said before.
func (s *session) checkReaches(listen string, addrs []string) error {
	if listen != "" || s.nodeAddr != "" {
		return checkReach(listen, addrs, "leave --listen out, or give")
	}
	flags, err := agentdFlags(s.nodeDir())
	if err != nil {
		return err
	}
	for _, flag := range flags {
		if before, ok := strings.CutPrefix(flag, "--listen="); ok {
			listen = before
		}
	}
	return checkReach(listen, addrs, "`l2p stop` it, and join with")
}

// checkReach refuses to listen on this machine's own loopback where all nodes to
// be reached are elsewhere: from such a socket no packet gets there. Host names
// are left to the node. instead begins the hint that ends in another --listen.
func checkReach(listen string, addrs []string, instead string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || !isLoopback(host) {
		return nil // agentd refuses what is no address
	}
	for _, addr := range addrs {
		to, err := netip.ParseAddrPort(addr)
		if err != nil || to.Addr().IsLoopback() {
			return nil
		}
	}
	return envelope.WithHint(envelope.Errorf(envelope.Usage, "a node that listens on %s only can't reach %s", host, strings.Join(addrs, " or ")),
		"%s --listen :%s", instead, port)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
