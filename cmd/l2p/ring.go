package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/netq"
	"l2p/netq/wire"
)

func ringCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "ring",
		Usage:     "show the nodes' shares, or who keeps an envelope",
		ArgsUsage: "[[OWNER/]NAME]",
		Category:  "network",
		Description: "For an envelope: a line for each node that keeps or should keep a part of it. Letters stand for segments in order:\n" +
			"# kept, o kept though it needn't be, - missing, ? no answer, . not this node's.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			var (
				node *netq.Client
				of   *envelope.Ref // nil: of no envelope
			)
			if len(args) == 0 {
				node, err = s.memberNode(c.Context)
			} else {
				var ref envelope.Ref
				if ref, node, err = s.refAt(c.Context, args[0]); err == nil {
					_, err = s.record(c.Context, node, ref, 0)
				}
				of = &ref
			}
			if err != nil {
				return err
			}
			reply, err := node.Ring(c.Context, of)
			if err != nil {
				return err
			}
			return s.result(newRingResult(reply), func(w io.Writer) {
				if of == nil {
					printNodes(w, reply.Nodes)
					return
				}
				printReplicas(w, reply)
			})
		},
	}
}

// replicaRow is one node's part in keeping something, with --json.
type replicaRow struct {
	Node    string `json:"node"`
	State   string `json:"state"`             // holds, lacks, silent or outside
	Version uint64 `json:"version,omitempty"` // of a header: the newest there
}

// ringResult is what ring prints with --json.
type ringResult struct {
	Nodes    []nodeRow      `json:"nodes"`
	Header   []replicaRow   `json:"header,omitempty"`
	Segments [][]replicaRow `json:"segments,omitempty"`
	// Complete says that every part is on all nodes that should keep it.
	Complete *bool `json:"complete,omitempty"` // of an envelope
}

var stateNames = map[wire.ReplicaState]string{wire.Holds: "holds", wire.Lacks: "lacks", wire.Silent: "silent", wire.Outside: "outside"}

func replicaRows(replicas []wire.Replica) []replicaRow {
	rows := make([]replicaRow, 0, len(replicas))
	for _, r := range replicas {
		rows = append(rows, replicaRow{r.Node.String(), stateNames[r.State], r.Has.N})
	}
	return rows
}

func newRingResult(reply *wire.RingReply) ringResult {
	result := ringResult{Nodes: nodeRows(reply.Nodes)}
	if len(reply.Record) > 0 {
		result.Header = replicaRows(reply.Record)
	}
	for _, s := range reply.Segments {
		result.Segments = append(result.Segments, replicaRows(s))
	}
	if len(reply.Record) > 0 {
		have, should := fewestCopies(reply)
		complete := have == should
		result.Complete = &complete
	}
	return result
}

// mostSegments is how many segments a line of the picture shows one by one.
const mostSegments = 64

// stateLetters are how the picture shows a segment's copy.
var stateLetters = map[wire.ReplicaState]byte{wire.Holds: '#', wire.Lacks: '-', wire.Silent: '?', wire.Outside: 'o'}

// printReplicas shows who keeps an envelope, a line for each node.
func printReplicas(w io.Writer, reply *wire.RingReply) {
	headers := make(map[envelope.NodeID]wire.Replica)
	for _, r := range reply.Record {
		headers[r.Node] = r
	}
	segments := make([]map[envelope.NodeID]wire.ReplicaState, len(reply.Segments))
	for i, replicas := range reply.Segments {
		segments[i] = make(map[envelope.NodeID]wire.ReplicaState)
		for _, r := range replicas {
			segments[i][r.Node] = r.State
		}
	}
	var cells [][]string
	for _, n := range reply.Nodes {
		var picture strings.Builder
		kept, part := 0, false
		for i, states := range segments {
			state, ok := states[n.Node]
			part = part || ok
			if state == wire.Holds || state == wire.Outside {
				kept++
			}
			if i < mostSegments {
				letter := byte('.')
				if ok {
					letter = stateLetters[state]
				}
				picture.WriteByte(max(letter, ' '))
			}
		}
		if len(segments) > mostSegments {
			picture.WriteString("…")
		}
		header, ok := headers[n.Node]
		if !ok && !part {
			continue
		}
		cells = append(cells, []string{n.BoxName, n.Node.Short() + "…", headerState(header, ok), fmt.Sprintf("%d of %d", kept, len(segments)), picture.String()})
	}
	table(w, []string{"BOX", "NODE", "HEADER", "KEEPS", "SEGMENTS"}, cells)
	fmt.Fprintln(w, summary(reply))
}

func headerState(r wire.Replica, ok bool) string {
	switch {
	case !ok:
		return "-"
	case r.State == wire.Lacks:
		return "MISSING"
	case r.State == wire.Silent:
		return "no answer"
	}
	return fmt.Sprintf("version %d", r.Has.N)
}

// summary says in a line how safe an envelope is.
func summary(reply *wire.RingReply) string {
	fewest, should := fewestCopies(reply)
	switch {
	case fewest == 0:
		return "a part of it is on no node that answers now"
	case fewest < should:
		return fmt.Sprintf("every part is on at least %d of %d nodes; the rest is being repaired or waits for a node", fewest, should)
	}
	return fmt.Sprintf("every part is on all %s that should keep it", count(should, "node"))
}

// fewestCopies returns copies of the part that has the fewest.
func fewestCopies(reply *wire.RingReply) (have, should int) {
	have, should = copies(reply.Record)
	for _, s := range reply.Segments {
		if n, of := copies(s); n < have {
			have, should = n, of
		}
	}
	return have, should
}

// copies returns how many nodes hold a copy and how many should.
func copies(replicas []wire.Replica) (have, should int) {
	for _, r := range replicas {
		if r.State != wire.Outside {
			should++
		}
		if r.State == wire.Holds || r.State == wire.Outside {
			have++
		}
	}
	return min(have, should), should
}
