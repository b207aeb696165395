package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"l2p/envelope"
	"l2p/keystore"
)

func agentRecoverCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "get an agent back whose keys are stolen or lost, with its recovery key",
		ArgsUsage: "AGENT",
		Description: "The agent gets new keys and a new passphrase, here; its id and name stay. All its former keys are revoked: what they sign from now on is refused by the network, and who opens what they signed before is warned.\n" +
			"The recovery key is asked for or read from --recovery-file, the new passphrase asked for twice or read from --new-passphrase-file.\n" +
			"What was sealed for the agent until now needs the former keys: those in the network open with the old passphrase, which is asked for or read from --old-passphrase-file.\n" +
			"Groups that the agent is an admin of get new keys at once; for the others the admins are named.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "recovery-file", Usage: "read the recovery key from `FILE`"},
			&cli.StringFlag{Name: "new-passphrase-file", Usage: "read the new passphrase from the first line of `FILE`", DefaultText: "--passphrase-file"},
			&cli.StringFlag{Name: "old-passphrase-file", Usage: "read the old passphrase from the first line of `FILE`"},
			&cli.Uint64Flag{Name: "after", Usage: "leave behind what was published after version `N`: a thief may have published a lot", DefaultText: "the newest"},
			&cli.BoolFlag{Name: "no-passphrase", Usage: "leave the new keys unlocked, for a service that starts by itself", DisableDefaultText: true},
			&cli.BoolFlag{Name: "keep-keys-local", Usage: "leave the locked new keys out of what is published", DisableDefaultText: true},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			return s.recover(c, args[0])
		},
	}
}

// recoveredFacts are what recover shows.
type recoveredFacts struct {
	agentFacts
	OldKeys bool         `json:"oldKeys"` // what was sealed for the agent before can be read
	Groups  []groupState `json:"groups"`
}

func (s *session) recover(c *cli.Context, which string) error {
	ctx := c.Context
	dir, err := s.directory(ctx)
	if err != nil {
		return err
	}
	id, err := dir.resolve(ctx, which)
	if err != nil {
		return err
	}
	chain, err := dir.Chain(ctx, id)
	if err != nil {
		return err
	}
	whole := chain
	if c.IsSet("after") {
		d := envelope.FindVersion(chain, c.Uint64("after"))
		if d == nil {
			return envelope.WithHint(envelope.Errorf(envelope.NotFound, "%s has no version %d", title(chain[0]), c.Uint64("after")), "`l2p agent show --history` shows its versions")
		}
		i := slices.Index(chain, d) + 1
		if slices.ContainsFunc(chain[i:], (*envelope.Document).IsRecovery) {
			return envelope.Errorf(envelope.Usage, "%s was recovered after version %d, and that can't be left behind", title(d), d.Version)
		}
		chain = chain[:i]
		if err := dir.checkGroupsLeft(ctx, id, d.Version); err != nil {
			return err
		}
		whole = slices.Concat(whole[i:], chain) // the keys that a thief may have made are tried last
	}
	d := chain[len(chain)-1]
	if d.Kind != envelope.User && d.Kind != envelope.Service {
		return envelope.WithHint(envelope.Errorf(envelope.Usage, "%s is a %s", title(d), d.Kind), "for a group there is `l2p group recover`")
	}
	key, err := s.readRecoveryKey(ctx, title(d), c.String("recovery-file"), func(k *keystore.RecoveryKey) error { return k.Check(d) })
	if err != nil {
		return err
	}
	opts := keystore.RecoverOptions{KeepKeysLocal: c.Bool("keep-keys-local")}
	if name, err := envelope.ParseName(which); err == nil {
		opts.Name = name.String() // it means the agent, whatever that has claimed since
	}
	if opts.Earlier, err = s.earlierKeys(ctx, dir, whole, c.String("old-passphrase-file")); err != nil {
		return err
	}
	if !c.Bool("no-passphrase") {
		file := c.String("new-passphrase-file")
		if file == "" {
			file = s.passphraseFile
		}
		choose := s.newPassphrase
		if opts.KeepKeysLocal {
			choose = s.localPassphrase
		}
		if opts.Passphrase, err = choose(ctx, title(d), file); err != nil {
			return err
		}
	}
	secrets, err := dir.store.Recover(ctx, chain, key, opts)
	if err != nil {
		return err
	}
	if d, err = dir.store.Newest(ctx, id); err != nil {
		return err
	}
	if d.Name != "" {
		if err := dir.store.Pin(d.Name, id); err != nil {
			s.warn("%v", err)
		}
	}
	if err := s.publishNewKeys(ctx, dir, d); err != nil {
		return err
	}
	s.as, s.unlocked = id.String(), secrets
	a, err := dir.store.Agent(id)
	if err != nil {
		return err
	}
	f := recoveredFacts{ownFacts(a), opts.Earlier != nil, dir.groupsWith(ctx, id)}
	for i := range f.Groups {
		s.renewGroup(ctx, &f.Groups[i])
	}
	return s.result(f, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s version %s\n", printable(title(d)), id, versionText(d.Version))
		s.remark("%s is yours again, and all its former keys are revoked", title(d))
		if !f.OldKeys {
			s.remark("what was sealed for %s until now can't be read with the new keys: ask who sealed it to share it again", title(d))
		}
		for _, g := range f.Groups {
			s.remark("%s", g.advice)
		}
	})
}

// checkGroupsLeft refuses to leave the documents of an agent behind that come
// after version n, where one of their keys has signed a version of a group that
// was there before: nobody could check that version any more, nor what follows.
func (d *directory) checkGroupsLeft(ctx context.Context, agent envelope.AgentID, n uint64) error {
	groups, err := d.groupsOf(ctx, agent)
	if err != nil {
		return err
	}
	for _, id := range groups {
		chain, err := d.Chain(ctx, id)
		if err != nil {
			d.s.warn("group %s: %v", id, err)
			continue
		}
		left := func(doc *envelope.Document) bool {
			return slices.ContainsFunc(doc.Bare().Signed().Signatures, func(s envelope.Signature) bool { return s.Signer == agent && s.Version > n })
		}
		i := slices.IndexFunc(chain, left)
		if i > 0 { // a group that they have made is theirs from the first version on
			return envelope.WithHint(
				envelope.Errorf(envelope.Conflict, "version %d of group %s is signed with keys that would be left behind, so nobody could check it any more", chain[i].Version, title(chain[i])),
				"leave out --after, or get the group back first: l2p group recover")
		}
	}
	return nil
}

// earlierKeys returns the former keys of an agent, as far as the old passphrase
// opens them, or nil. The passphrase comes from a file, or is asked for.
func (s *session) earlierKeys(ctx context.Context, dir *directory, chain []*envelope.Document, file string) (*keystore.Secrets, error) {
	d := chain[len(chain)-1]
	whole, err := dir.withSecrets(ctx, chain)
	if err != nil {
		return nil, err
	}
	// Keys that are here without a passphrase, or nowhere.
	found, err := dir.store.Earlier(whole, nil)
	switch {
	case is(err, envelope.NotFound):
		s.remark("the former keys of %s are neither in the network nor here", title(d))
		return nil, nil
	case !is(err, envelope.Denied):
		return found, err
	}
	if file != "" {
		passphrase, err := readPassphraseFile(file)
		if err != nil {
			return nil, err
		}
		return dir.store.Earlier(whole, passphrase)
	}
	if !isTerminal(s.stderr) {
		s.remark("the former keys of %s stay locked: --old-passphrase-file FILE would open them", title(d))
		return nil, nil
	}
	err = s.askTerminal("the former keys of "+title(d)+" are locked", func(tty *terminal) error {
		for try := 1; ; try++ {
			passphrase, err := tty.ask(ctx, "Old passphrase of "+title(d)+" (empty: do without): ")
			if err != nil || len(passphrase) == 0 {
				return err
			}
			if found, err = dir.store.Earlier(whole, passphrase); !is(err, envelope.Denied) || try == tries {
				return err
			}
			tty.say("that opens none of them, try again")
		}
	})
	return found, err
}

// withSecrets returns a chain with the locked secrets that its documents name
// in place, the newest few and one of each, as far as the network has them.
func (d *directory) withSecrets(ctx context.Context, chain []*envelope.Document) ([]*envelope.Document, error) {
	if d.client == nil {
		return chain, nil
	}
	whole := append([]*envelope.Document(nil), chain...)
	seen := make(map[envelope.Hash]bool)
	for i := len(whole) - 1; i >= 0 && len(seen) < keystore.MaxEarlier; i-- {
		doc := whole[i]
		if doc.Locked.IsZero() || seen[doc.Locked] {
			continue
		}
		seen[doc.Locked] = true
		data, _, err := d.client.GetRecord(ctx, envelope.Ref{Kind: envelope.KindDocument, Owner: doc.ID()}, doc.Version)
		if is(err, envelope.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		got, err := envelope.ParseDocument(data)
		if err != nil {
			return nil, err
		}
		if got.Hash() == doc.Hash() { // else it lost against another
			whole[i] = got
		}
	}
	return whole, nil
}

// A groupState is a group of an agent, and what becomes of it when the agent's
// keys are in the wrong hands.
type groupState struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Admins  []string `json:"admins"`  // ids
	Admin   bool     `json:"admin"`   // the agent is one
	Renewed bool     `json:"renewed"` // it has new keys, which the former keys don't open

	doc    *envelope.Document
	called string
	admins string // for people
	advice string
}

// groupsWith returns the groups that an agent is in now, as far as they are
// known or found.
func (d *directory) groupsWith(ctx context.Context, agent envelope.AgentID) []groupState {
	found := []groupState{}
	groups, err := d.groupsOf(ctx, agent)
	if err != nil {
		d.s.warn("not all groups may be found: %v", err)
	}
	for _, id := range groups {
		doc, err := d.newest(ctx, id)
		if err != nil {
			d.s.warn("group %s: %v", id, err)
			continue
		}
		if _, in := doc.Member(agent); !in {
			continue
		}
		g := groupState{ID: id.String(), Name: doc.Name, Admin: doc.IsAdmin(agent), doc: doc, called: title(doc)}
		var admins []string
		for _, admin := range doc.Group.Admins {
			g.Admins = append(g.Admins, admin.String())
			admins = append(admins, d.short(ctx, admin))
		}
		g.admins = strings.Join(admins, ", ")
		found = append(found, g)
	}
	return found
}

// renewGroup gives a group of the agent that the command acts as new keys, if it
// is an admin, and says what remains to be done.
func (s *session) renewGroup(ctx context.Context, g *groupState) {
	if g.Admin {
		next, err := s.changeGroup(ctx, g.doc, keystore.GroupChange{NewEpoch: true})
		if err == nil {
			g.Renewed = true
			g.advice = fmt.Sprintf("group %s has new keys (epoch %d); see who is in it, for the thief could change that: l2p group show %s", g.called, next.Group.Epoch, g.called)
			return
		}
		s.warn("group %s has no new keys yet: %v", g.called, err)
	}
	g.advice = fmt.Sprintf("group %s: the former keys open it until an admin (%s) runs: l2p group renew %s", g.called, g.admins, g.called)
}
