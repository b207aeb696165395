package envelope

import (
	"strings"
	"testing"
)

func TestIDsPrintAndParse(t *testing.T) {
	t.Parallel()
	agent, node, network := AgentID(noise(32)), NodeIDOf([]byte("key")), NetworkIDOf([]byte("key"))
	if got, err := ParseAgentID(agent.String()); err != nil || got != agent {
		t.Errorf("%s became %s, %v", agent, got, err)
	}
	if got, err := ParseNodeID(node.String()); err != nil || got != node {
		t.Errorf("%s became %s, %v", node, got, err)
	}
	if got, err := ParseNetworkID(network.String()); err != nil || got != network {
		t.Errorf("%s became %s, %v", network, got, err)
	}
	if Hash(node) == Hash(network) {
		t.Error("a node and a network with one key have one id")
	}
	if !strings.HasPrefix(agent.String(), agent.Short()) || !strings.HasPrefix(node.String(), node.Short()) {
		t.Error("a short form isn't the beginning of the long one")
	}
}

func TestParseAgentIDRefuses(t *testing.T) {
	t.Parallel()
	good := AgentID(noise(32)).String()
	flip := func(i int) string {
		c := byte('q')
		if good[i] == c {
			c = 'p'
		}
		return good[:i] + string(c) + good[i+1:]
	}
	bad := []string{"", "l2p1", good[:len(good)-1], good + "q", strings.ToUpper(good), " " + good, good + "\n",
		NodeIDOf(nil).String(), NetworkIDOf(nil).String(), bech32String("l2p", noise(31)), bech32String("l2p", noise(33)),
		bech32String("l3p", noise(32)), "l2p1" + strings.Repeat("q", 1<<20)}
	for i := len("l2p1"); i < len(good); i++ {
		bad = append(bad, flip(i))
	}
	for _, s := range bad {
		if _, err := ParseAgentID(s); KindOf(err) != Usage {
			t.Errorf("%.80q: %v", s, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func FuzzParseIDs(f *testing.F) {
	f.Add(AgentID{1}.String())
	f.Add(NodeIDOf([]byte{1}).String())
	f.Add(NetworkIDOf([]byte{1}).String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseAgentID(s); err == nil && id.String() != s {
			t.Error("an agent id has two spellings")
		}
		if id, err := ParseNodeID(s); err == nil && id.String() != s {
			t.Error("a node id has two spellings")
		}
		if id, err := ParseNetworkID(s); err == nil && id.String() != s {
			t.Error("a network id has two spellings")
		}
	})
}

func TestHashOfTellsContextsApart(t *testing.T) {
	t.Parallel()
	if HashOf("a\n", []byte("bc")) != HashOf("a\n", []byte("b"), []byte("c")) {
		t.Error("parts of the data change its hash")
	}
	if HashOf("a\n", []byte("b")) == HashOf("b\n", []byte("b")) {
		t.Error("two contexts have one hash")
	}
}
