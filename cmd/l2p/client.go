package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"l2p/envelope"
	"l2p/netq"
)

// Files of a node's state directory that its operator may read.
const (
	endpointFile    = "endpoint"     // "l2pnode1…@host:port", there while the node listens
	operatorKeyFile = "operator.key" // 64 hexadecimal digits
	maxNodeFile     = 4 << 10        // bytes
)

// node returns the connection to the node, made on first use. Where no node of
// one's own runs, it is started in the background.
func (s *session) node(ctx context.Context) (*netq.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	client, err := s.dialOnce(ctx)
	if is(err, envelope.Unavailable) && s.nodeAddr == "" {
		client, err = s.startNode(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.client = client
	s.onClose(client.Close)
	return s.client, nil
}

// upTimeout is how long a command that can do without a node waits for one that
// doesn't answer, such as one that was killed.
const upTimeout = time.Second

// nodeIfUp returns the connection to the node if there is one to be had without
// starting it, and else nil and why not. It asks once in a run.
func (s *session) nodeIfUp(ctx context.Context) (*netq.Client, error) {
	if s.client != nil || s.noNode != nil {
		return s.client, s.noNode
	}
	conf, err := s.clientConfig(ctx)
	if err == nil {
		upCtx, cancel := context.WithTimeout(ctx, upTimeout)
		defer cancel()
		s.client, err = netq.DialClient(upCtx, conf)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // which says nothing of the node
	}
	if err != nil {
		s.noNode = err
		return nil, err
	}
	s.onClose(s.client.Close)
	return s.client, nil
}

// clientConfig says which node to talk to and as whom. That no node runs is an
// error of kind Unavailable.
func (s *session) clientConfig(ctx context.Context) (netq.ClientConfig, error) {
	addr, err := s.endpoint()
	if err != nil {
		return netq.ClientConfig{}, err
	}
	node, host, err := parseEndpoint(addr)
	if err != nil {
		return netq.ClientConfig{}, err
	}
	conf := netq.ClientConfig{
		Addr: host, Node: node,
		Slow: func() { s.remark("waiting for other nodes; `l2p status` shows which are up") },
		Incomplete: func() {
			s.incomplete.Store(true)
			s.warn("too few nodes answer: something may be missing; `l2p status` shows which are up")
		},
	}
	if conf.Key, err = s.operatorKey(node); conf.Key != nil || err != nil {
		return conf, err
	}
	secrets, err := s.secrets(ctx)
	if err != nil {
		return netq.ClientConfig{}, err
	}
	conf.Key, conf.Agent = secrets.PrivateKey(), secrets.Agent()
	return conf, nil
}

// endpoint returns where the node is: what --node says or what the own node has
// written.
func (s *session) endpoint() (string, error) {
	if s.nodeAddr != "" {
		return s.nodeAddr, nil
	}
	// The file outlives a node that was killed; its lock doesn't.
	runs, err := nodeRuns(s.nodeDir())
	if err != nil {
		return "", err
	}
	if !runs {
		return "", s.noNodeRuns()
	}
	text, err := readNodeFile(filepath.Join(s.nodeDir(), endpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", envelope.Errorf(envelope.Unavailable, "the node in %s doesn't listen yet", quoted(s.nodeDir()))
	}
	if err != nil {
		return "", fileError(err)
	}
	return text, nil
}

// parseEndpoint parses "l2pnode1…@host:port".
func parseEndpoint(text string) (envelope.NodeID, string, error) {
	id, host, ok := strings.Cut(text, "@")
	node, err := envelope.ParseNodeID(id)
	if !ok || err != nil || host == "" {
		return envelope.NodeID{}, "", envelope.WithHint(envelope.Errorf(envelope.Usage, "%s does not say which node and where", quoted(text)),
			"it looks like l2pnode1…@host:port, as `l2p status` shows it")
	}
	return node, host, nil
}

// operatorKey returns the key of the operator of a node, or nil if it is not
// the own one or the key is not for this user to read.
func (s *session) operatorKey(node envelope.NodeID) (ed25519.PrivateKey, error) {
	if s.nodeAddr != "" {
		own, err := readNodeFile(filepath.Join(s.nodeDir(), endpointFile))
		if err != nil {
			return nil, nil // none is running here, so it is another's
		}
		if id, _, err := parseEndpoint(own); err != nil || id != node {
			return nil, nil
		}
	}
	path := filepath.Join(s.nodeDir(), operatorKeyFile)
	text, err := readNodeFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fileError(err)
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, envelope.Errorf(envelope.Corrupt, "%s is damaged: it should hold 64 hexadecimal digits", quoted(path))
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// readNodeFile returns the text of a small file without white space around it.
func readNodeFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, maxNodeFile)
	n, err := f.Read(buf)
	if err != nil && n == 0 {
		return "", envelope.Errorf(envelope.Corrupt, "%s is empty", quoted(path))
	}
	return strings.TrimSpace(string(buf[:n])), nil
}
