package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/netq/wire"
)

func statusCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "status",
		Usage:    "show how the node and its network are",
		Category: "boxes",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			node, err := s.node(c.Context)
			if err != nil {
				return err
			}
			status, err := node.Status(c.Context)
			if err != nil {
				return err
			}
			addr, err := s.endpoint()
			if err != nil {
				addr = "" // stopped meanwhile
			}
			return s.result(newStatusResult(status), func(w io.Writer) { printStatus(w, status, addr) })
		},
	}
}

// statusResult is what status prints with --json.
type statusResult struct {
	Network  string    `json:"network,omitempty"` // none: in no network yet
	Box      string    `json:"box,omitempty"`
	BoxAgent string    `json:"boxAgent,omitempty"`
	Node     string    `json:"node"`
	Software string    `json:"software"`
	Founder  bool      `json:"founder"`
	Nodes    []nodeRow `json:"nodes"`
	Records  uint64    `json:"records"`
	Segments uint64    `json:"segments"`
	Bytes    uint64    `json:"bytes"`
	DiskFree uint64    `json:"diskFree"`
	DiskNeed uint64    `json:"diskNeed"` // below this, the node takes no writes
	K        uint      `json:"k"`
	W        uint      `json:"w"`
	R        uint      `json:"r"`
	Uptime   int64     `json:"uptime"` // seconds
	Pending  uint      `json:"pending"`
	Behind   uint64    `json:"behind"`
	Requests uint64    `json:"requests"`          // of clients, since the start
	Failed   uint64    `json:"failed"`            // of these
	Sent     uint64    `json:"sent"`              // copies passed on to other nodes
	Refused  string    `json:"refused,omitempty"` // by other nodes, since when

	Scrubbed     string `json:"scrubbed,omitempty"` // when all that is kept had last been read
	Damaged      uint64 `json:"damaged"`            // found damaged on disk, since the start
	IndexDamaged bool   `json:"indexDamaged,omitempty"`
}

// nodeRow is one node with --json.
type nodeRow struct {
	Node     string  `json:"node"`
	Box      string  `json:"box"`
	BoxAgent string  `json:"boxAgent"`
	Addr     string  `json:"addr,omitempty"`
	Alive    bool    `json:"alive"`
	Share    float64 `json:"share"`
	Self     bool    `json:"self,omitempty"`
}

func nodeRows(nodes []wire.NodeStatus) []nodeRow {
	rows := make([]nodeRow, 0, len(nodes))
	for _, n := range nodes {
		rows = append(rows, nodeRow{n.Node.String(), n.BoxName, n.Box.String(), n.Addr, n.Alive, n.Share, n.Self})
	}
	return rows
}

func newStatusResult(r *wire.StatusReply) statusResult {
	result := statusResult{
		Box: r.Welcome.BoxName, Node: r.Welcome.Node.String(), Software: r.Welcome.Software, Founder: r.Founder, Nodes: nodeRows(r.Nodes),
		Records: r.Records, Segments: r.Segments, Bytes: r.Bytes, DiskFree: r.DiskFree, DiskNeed: r.DiskNeed, K: r.K, W: r.W, R: r.R,
		Uptime: r.Uptime, Pending: r.Pending, Behind: r.Behind,
		Requests: r.Requests, Failed: r.Failed, Sent: r.Sent,
		Damaged: r.Damaged, IndexDamaged: r.IndexDamaged,
	}
	if r.Refused != 0 {
		result.Refused = rfc3339(r.Refused * 1000)
	}
	if r.Scrubbed != 0 {
		result.Scrubbed = rfc3339(r.Scrubbed * 1000)
	}
	if !r.Welcome.Network.IsZero() {
		result.Network = r.Welcome.Network.String()
	}
	if !r.Welcome.Box.IsZero() {
		result.BoxAgent = r.Welcome.Box.String()
	}
	return result
}

func printStatus(w io.Writer, r *wire.StatusReply, addr string) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%-9s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	switch {
	case r.Welcome.Network.IsZero():
		line("network", "none yet: make one with `l2p init BOX`, or join one with `l2p join TICKET`")
	case r.Founder:
		line("network", "%s", r.Welcome.Network)
		line("box", "%s, which founded the network", r.Welcome.BoxName)
	default:
		line("network", "%s", r.Welcome.Network)
		line("box", "%s", r.Welcome.BoxName)
	}
	if addr == "" {
		addr = r.Welcome.Node.String()
	}
	line("node", "%s", addr)
	line("up", "%s, %s", time.Duration(r.Uptime)*time.Second, r.Welcome.Software)
	line("keeps", "%s, %s (%s), %s free", count(int(r.Records), "record"), count(int(r.Segments), "segment"), formatSize(r.Bytes), formatSize(r.DiskFree))
	if r.DiskFree < r.DiskNeed {
		line("disk", "FULL: %s", noRoom(r))
	}
	if r.Refused > 0 {
		line("refused", "by the other boxes since %s: this one was expelled, or its certificate has expired; ask the network's founder for a ticket and `l2p join` with it", formatTime(r.Refused*1000))
	}
	if r.Behind > 0 {
		line("behind", "%s still to be passed on%s", count(int(r.Behind), "copy"), whenUp(r.Nodes))
	}
	if r.Damaged > 0 {
		line("damaged", "%s on disk, dropped and fetched again since the start", count(int(r.Damaged), "thing"))
	}
	if r.IndexDamaged {
		line("index", "damaged: stop the node and run agentd --rebuild-index")
	}
	if r.Pending > 0 {
		line("waiting", "%s for admission; see `l2p admit`", count(int(r.Pending), "box"))
	}
	if r.Welcome.Network.IsZero() {
		return
	}
	line("copies", "%d of everything; a write needs %d, a read asks %d", r.K, r.W, r.R)
	fmt.Fprintln(w)
	printNodes(w, r.Nodes)
}

// noRoom says that a node's disk is too full for writes.
func noRoom(r *wire.StatusReply) string {
	return fmt.Sprintf("the node takes no writes while less than %s are free on its disk; there are %s", formatSize(r.DiskNeed), formatSize(r.DiskFree))
}

// warnNoRoom warns of a node whose disk is too full for writes.
func (s *session) warnNoRoom(r *wire.StatusReply) {
	if r.DiskFree < r.DiskNeed {
		s.warn("%s: make room on the disk of %s", noRoom(r), quoted(s.nodeDir()))
	}
}

// whenUp says what copies wait for: boxes that are down.
func whenUp(nodes []wire.NodeStatus) string {
	var down []string
	for _, n := range nodes {
		if !n.Alive {
			down = append(down, n.BoxName)
		}
	}
	if len(down) == 0 {
		return ""
	}
	answer := "answers"
	if len(down) > 1 {
		answer = "answer"
	}
	return ", when " + strings.Join(down, " and ") + " " + answer + " again"
}

// shareBar is how many characters the whole ring has.
const shareBar = 20

// printNodes shows the nodes with their shares of the ring.
func printNodes(w io.Writer, nodes []wire.NodeStatus) {
	cells := make([][]string, 0, len(nodes))
	for _, n := range nodes {
		state := "up"
		switch {
		case n.Self:
			state = "up, this one"
		case !n.Alive:
			state = "DOWN"
		}
		share := min(max(n.Share, 0), 1) // no node can draw a bar across the screen
		bar := strings.Repeat("#", int(share*shareBar+0.5))
		cells = append(cells, []string{n.BoxName, n.Node.Short() + "…", n.Addr, state, fmt.Sprintf("%3.0f%% %s", share*100, bar)})
	}
	table(w, []string{"BOX", "NODE", "ADDRESS", "STATE", "SHARE OF THE RING"}, cells)
}
