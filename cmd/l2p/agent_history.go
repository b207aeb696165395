package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

// keyFacts are a version of an agent's document that has other keys than the
// one before.
type keyFacts struct {
	Version  uint64 `json:"version"`
	Time     string `json:"time"`               // by the author's clock
	Recovery bool   `json:"recovery,omitempty"` // the recovery key signed it: all keys before are revoked
	Revoked  bool   `json:"revoked,omitempty"`  // by a later one
}

// holderFacts are a version of a name's binding.
type holderFacts struct {
	Version uint64 `json:"version"`
	Time    string `json:"time"`            // by the box's clock
	Agent   string `json:"agent,omitempty"` // absent: nobody
	Revoked bool   `json:"revoked,omitempty"`

	called string
}

// agentHistory is what `agent show --history` shows besides.
type agentHistory struct {
	Keys  []keyFacts    `json:"keys"`
	Names []holderFacts `json:"names"` // who has held the agent's name; empty without a node
}

// keyHistory tells an agent's keys from its documents.
func keyHistory(chain []*envelope.Document) []keyFacts {
	var facts []keyFacts
	for i, d := range chain {
		if i > 0 && d.SigningKey().Equal(chain[i-1].SigningKey()) && d.Recipient == chain[i-1].Recipient {
			continue
		}
		facts = append(facts, keyFacts{
			Version: d.Version, Time: rfc3339(d.Time), Recovery: d.IsRecovery(), Revoked: envelope.RevokedBy(chain, d.Version) != nil,
		})
	}
	return facts
}

func rfc3339(milliseconds int64) string {
	return time.UnixMilli(milliseconds).UTC().Format(time.RFC3339)
}

// holders returns who has held a name, the first one first, as its box has
// signed it.
func (d *directory) holders(ctx context.Context, name envelope.Name) ([]holderFacts, error) {
	if d.client == nil {
		return nil, nil
	}
	newest, err := d.binding(ctx, name)
	if err != nil {
		return nil, err
	}
	list := wire.ListRecords{Kind: envelope.KindBinding, Owner: newest.Box, Name: name.Local, History: true}
	bindings := make(map[envelope.Hash]*envelope.Binding)
	for r, err := range d.client.Records(ctx, list) {
		if err != nil {
			return nil, err
		}
		if r.Binding.Box != newest.Box || r.Binding.Name != name.Local {
			return nil, envelope.Errorf(envelope.Corrupt, "the node answers for another name than %s", name)
		}
		if err := r.Binding.Verify(ctx, d); err != nil {
			return nil, err
		}
		bindings[r.Version.Hash] = r.Binding
	}
	var facts []holderFacts
	for b, n := newest, len(bindings); b != nil && n >= 0; b, n = bindings[b.Parent], n-1 {
		f := holderFacts{Version: b.Version, Time: rfc3339(b.Time), Revoked: b.Revoked}
		if !b.Agent.IsZero() {
			f.Agent, f.called = b.Agent.String(), d.called(ctx, b.Agent)
		}
		facts = append([]holderFacts{f}, facts...)
	}
	return facts, nil
}

// agentHistory gathers what --history shows of an agent.
func (d *directory) agentHistory(ctx context.Context, doc *envelope.Document) (*agentHistory, error) {
	chain, err := d.Chain(ctx, doc.ID())
	if err != nil {
		return nil, err
	}
	h := &agentHistory{Keys: keyHistory(chain), Names: []holderFacts{}}
	name, err := envelope.ParseName(doc.Name)
	if err != nil {
		return h, nil
	}
	holders, err := d.holders(ctx, name)
	if is(err, envelope.NotFound) {
		return h, nil // the name is claimed only
	}
	if holders != nil {
		h.Names = holders
	}
	return h, err
}

// write shows the history to people.
func (h *agentHistory) write(w io.Writer) {
	for _, k := range h.Keys {
		how, state := "", ""
		if k.Recovery {
			how = ", by the recovery key"
		}
		if k.Revoked {
			state = "; revoked"
		}
		fmt.Fprintf(w, "keys       %s  version %d%s%s\n", k.Time, k.Version, how, state)
	}
	for _, n := range h.Names {
		who := "nobody"
		if n.Agent != "" {
			who = printable(n.called)
		}
		if n.Revoked {
			who += ", revoked by the box"
		}
		fmt.Fprintf(w, "held by    %s  %s\n", n.Time, who)
	}
}
