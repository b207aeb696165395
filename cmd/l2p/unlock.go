package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

// defaultUnlocked is how long keys stay unlocked if nothing else is said: a day's
// work.
const defaultUnlocked = 8 * time.Hour

// unlockedFacts are what unlock shows of an agent.
type unlockedFacts struct {
	Name  string `json:"name,omitempty"`
	ID    string `json:"id"`
	Until string `json:"until"`

	until time.Time
}

func unlockCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "unlock",
		Usage:     "keep an agent's keys unlocked for a while, so that commands don't ask for the passphrase",
		ArgsUsage: "[AGENT]",
		Category:  "agents and groups",
		Description: "The passphrase is asked for or read from --passphrase-file. A process in the background then keeps the keys in memory, for all commands of this user that work with this keystore (see --home), until the time is over, `l2p lock` is run, the keys or their passphrase change, or the machine stops.\n" +
			"Nothing is written to a disk. Programs of the same user can use the keys meanwhile, as with an ssh-agent.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "for", Usage: "lock again after `TIME`, such as 30m; at most 168h", Value: defaultUnlocked},
			&cli.BoolFlag{Name: "list", Usage: "only show what is unlocked, and until when", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			if c.Bool("list") {
				if len(args) > 0 || c.IsSet("for") {
					return usagef(c, "--list stands alone")
				}
				return s.listUnlocked(c)
			}
			lasts := c.Duration("for")
			if lasts < time.Second || lasts > maxUnlocked {
				return usagef(c, "--for is a time from 1s to %dh, not %s", int(maxUnlocked.Hours()), lasts)
			}
			a, err := s.agentOrActing(args)
			if err != nil {
				return err
			}
			if !a.Locked {
				return envelope.Errorf(envelope.Usage, "the keys of %s have no passphrase: nothing to unlock", title(a.Document))
			}
			var secrets *keystore.Secrets
			err = s.withPassphrase(c.Context, title(a.Document), func(passphrase []byte) error {
				secrets, err = s.keystore.Unlock(a.ID(), passphrase)
				return err
			})
			if err != nil {
				return err
			}
			until, err := s.keepUnlocked(c.Context, a, secrets, lasts)
			if err != nil {
				return err
			}
			f := unlockedFacts{a.Document.Name, a.ID().String(), rfc3339(until.UnixMilli()), until}
			return s.result(f, func(io.Writer) {
				s.remark("%s is unlocked until %s", title(a.Document), moment(until))
			})
		},
	}
}

// listUnlocked shows whose keys are unlocked.
func (s *session) listUnlocked(c *cli.Context) error {
	store, err := s.store()
	if err != nil {
		return err
	}
	facts := []unlockedFacts{}
	answer, _, err := s.askKeeper(c.Context, keeperRequest{Op: opList}, nil)
	switch {
	case errors.Is(err, errNoKeeper):
	case err != nil:
		return err
	default:
		for _, k := range answer.Unlocked {
			f := unlockedFacts{ID: k.Agent.String(), Until: rfc3339(k.Until), until: time.UnixMilli(k.Until)}
			if a, err := store.Agent(k.Agent); err == nil {
				f.Name = a.Document.Name
			}
			facts = append(facts, f)
		}
	}
	return s.result(facts, func(w io.Writer) {
		if len(facts) == 0 {
			s.remark("nothing is unlocked")
			return
		}
		var rows [][]string
		for _, f := range facts {
			rows = append(rows, []string{f.Name, moment(f.until), f.ID})
		}
		table(w, []string{"NAME", "UNLOCKED UNTIL", "ID"}, rows)
	})
}

// moment returns a time as people read it, with how long it is until then.
func moment(t time.Time) string {
	return fmt.Sprintf("%s (%s)", t.Local().Format("2006-01-02 15:04"), time.Until(t).Round(time.Second))
}
