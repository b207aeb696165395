package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
)

func agentCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:     "agent",
		Usage:    "make and keep the keys of people and services",
		Category: "agents and groups",
		Subcommands: []*cli.Command{
			agentCreateCommand(s),
			agentListCommand(s),
			agentShowCommand(s),
			agentUseCommand(s),
			agentPasswdCommand(s),
			agentRenameCommand(s),
			agentRotateCommand(s),
			agentRecoverCommand(s),
			agentRevokeCommand(s),
			agentExportCommand(s),
			agentImportCommand(s),
			agentPinCommand(s),
			agentBindCommand(s),
			agentForgetCommand(s),
		},
	}
}

// documentFacts are what the newest document of an agent or group says.
type documentFacts struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"` // claimed
	Kind      string `json:"kind"`
	Version   uint64 `json:"version"` // of its newest document
	Recipient string `json:"recipient,omitempty"`
	Recovery  bool   `json:"recovery"` // it has a recovery key
}

// agentFacts are documentFacts, and what the keystore has of the agent.
type agentFacts struct {
	documentFacts
	Own       bool   `json:"own"`                     // the keystore has its keys
	Locked    bool   `json:"locked,omitempty"`        // by a passphrase; own agents only
	Unlocked  string `json:"unlockedUntil,omitempty"` // while `l2p unlock` keeps the keys
	KeysLocal bool   `json:"keysLocal,omitempty"`     // the document doesn't carry the locked keys; own agents only
	Default   bool   `json:"default,omitempty"`
	NameState string `json:"nameState,omitempty"` // show: "known" if the name means the agent, else "claimed"

	until time.Time // Unlocked, for people
}

// versionText returns the number of an agent's or group's document for people, who
// wonder about the leap that a recovery makes.
func versionText(n uint64) string {
	switch recovery := n / envelope.RecoveryStep; {
	case recovery == 0:
		return strconv.FormatUint(n, 10)
	case n%envelope.RecoveryStep == 0:
		return fmt.Sprintf("%d (recovery %d)", n, recovery)
	default:
		return fmt.Sprintf("%d (after recovery %d)", n, recovery)
	}
}

func factsOf(d *envelope.Document) documentFacts {
	return documentFacts{ID: d.ID().String(), Name: d.Name, Kind: d.Kind.String(), Version: d.Version, Recipient: d.Recipient, Recovery: len(d.Recovery) > 0}
}
