package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"l2p/agentd/agentdtest"
	"l2p/netq"
	"l2p/netq/wire"
)

// chaosBoxes is how many real nodes the chaos test runs: with k = 3 copies, and
// w = 2 of them on disk before a put is acknowledged, one may be away.
const chaosBoxes = 4

// chaos is a run of real nodes that are killed while clients write.
type chaos struct {
	t      *testing.T
	nodes  []*process
	author *agentdtest.Author

	mu    sync.Mutex
	acked map[string]agentdtest.Put
	tried map[string][]agentdtest.Put // all that were begun, acknowledged or not

	puts, refused, kills int
}

// TestChaos kills real nodes with SIGKILL, in a loop and sometimes all at once,
// while two clients put, and reads every acknowledged put back in the end.
// CHAOS_SECONDS (10) says for how long, CHAOS_SEED (1) how it is diced.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for 10 seconds: not with -short; make chaos and plain go test run it")
	}
	length := time.Duration(fromEnv(t, "CHAOS_SECONDS", 10)) * time.Second
	seed := uint64(fromEnv(t, "CHAOS_SEED", 1))
	c := &chaos{t: t, author: agentdtest.NewAuthor(t), acked: map[string]agentdtest.Put{}, tried: map[string][]agentdtest.Put{}}
	for i := range chaosBoxes {
		p := newProcess(t, fmt.Sprintf("box-%d", i))
		c.nodes = append(c.nodes, p)
		p.start()
	}
	c.found()

	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() { c.write(ctx, w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	c.kill(ctx, rand.New(rand.NewPCG(seed, 99)))
	writers.Wait()

	c.awaitAll()
	violations := c.verify()
	t.Logf("seed %d, %v: %d puts acknowledged (%d names), %d not, %d kills, %d violations",
		seed, length, c.puts, len(c.acked), c.refused, c.kills, violations)
	if c.puts == 0 || c.kills == 0 {
		t.Error("nothing was put, or nobody was killed: the run shows nothing")
	}
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no positive number", name, text)
	}
	return n
}

// found makes the nodes one network, with the author's document in it.
func (c *chaos) found() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	founder := c.client(ctx, 0)
	defer founder.Close()
	if err := founder.Init(ctx, c.nodes[0].name); err != nil {
		c.t.Fatal(err)
	}
	for i := 1; i < chaosBoxes; i++ {
		ticket, err := founder.Invite(ctx, wire.Invite{BoxName: c.nodes[i].name, TTL: 600})
		if err != nil {
			c.t.Fatal(err)
		}
		client := c.client(ctx, i)
		_, err = client.Join(ctx, wire.Join{Ticket: ticket.Ticket})
		client.Close()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.awaitAll()
	if err := c.author.Publish(ctx, founder); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chaos) client(ctx context.Context, i int) *netq.Client {
	c.t.Helper()
	client, err := c.nodes[i].dial(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// write puts new names and new versions of its own until ctx ends, each at a
// node that seems to be up.
func (c *chaos) write(ctx context.Context, writer int, dice *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("writer-%d/%d", writer, n)
		if n > 0 && dice.IntN(3) == 0 {
			name = fmt.Sprintf("writer-%d/%d", writer, dice.IntN(n))
		}
		size := dice.IntN(64 << 10)
		if dice.IntN(20) == 0 {
			size += 2 << 20
		}
		data := fmt.Appendf(bytes.Repeat([]byte{byte(n)}, size), "%s %d", name, n)
		c.put(ctx, c.nodes[dice.IntN(chaosBoxes)], name, data)
	}
}

func (c *chaos) put(ctx context.Context, at *process, name string, data []byte) {
	client, err := at.dial(ctx)
	if err != nil {
		pause(ctx, 50*time.Millisecond)
		return
	}
	defer client.Close()
	c.mu.Lock()
	parent := c.acked[name].Version
	c.mu.Unlock()
	put, err := c.author.Put(ctx, client, name, parent, data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !put.Version.Hash.IsZero() {
		c.tried[name] = append(c.tried[name], put)
	}
	if err == nil {
		c.acked[name] = put
		c.puts++
	} else if ctx.Err() == nil {
		c.refused++
	}
}

// kill kills nodes and starts them again until ctx ends.
func (c *chaos) kill(ctx context.Context, dice *rand.Rand) {
	for pause(ctx, time.Duration(200+dice.IntN(800))*time.Millisecond) {
		victims := dice.Perm(chaosBoxes)[:1]
		if dice.IntN(6) == 0 {
			victims = dice.Perm(chaosBoxes)
		}
		for _, v := range victims {
			c.nodes[v].kill()
			c.kills++
		}
		pause(ctx, time.Duration(dice.IntN(1500))*time.Millisecond)
		for _, v := range victims {
			c.nodes[v].start()
		}
	}
}

// awaitAll waits until each node sees all alive.
func (c *chaos) awaitAll() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for i := 0; i < chaosBoxes; {
		if c.seesAll(ctx, c.nodes[i]) {
			i++
		} else if !pause(ctx, 100*time.Millisecond) {
			c.t.Fatalf("%s doesn't see the others after a minute:\n%s", c.nodes[i].name, c.nodes[i].logTail())
		}
	}
}

func (c *chaos) seesAll(ctx context.Context, p *process) bool {
	client, err := p.dial(ctx)
	if err != nil {
		return false
	}
	defer client.Close()
	s, err := client.Status(ctx)
	if err != nil {
		return false
	}
	alive := 0
	for _, n := range s.Nodes {
		if n.Alive {
			alive++
		}
	}
	return alive == chaosBoxes
}

// verify reads everything back at every node and returns how much is wrong.
func (c *chaos) verify() (violations int) {
	c.t.Helper()
	for _, p := range c.nodes {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
		client, err := p.dial(ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		for name, want := range c.acked {
			if err := c.readBack(ctx, client, name, want); err != nil {
				violations++
				c.t.Errorf("%s at %s: %v", name, p.name, err)
			}
		}
		client.Close()
		cancel()
	}
	return violations
}

// readBack checks that the newest version of a name is the acknowledged one, or
// one that was begun on top of it and nobody knows how it ended.
func (c *chaos) readBack(ctx context.Context, client *netq.Client, name string, want agentdtest.Put) error {
	got, _, err := c.author.Get(ctx, client, name)
	if err != nil && got.Version.Hash.IsZero() {
		return err
	}
	for _, put := range c.tried[name] {
		if put.Version != got.Version {
			continue
		}
		switch {
		case put.Version.N < want.Version.N:
			return fmt.Errorf("version %d came back, %d was acknowledged", got.Version.N, want.Version.N)
		case put.Version == want.Version && err != nil:
			return err
		case err == nil && !bytes.Equal(put.Data, got.Data):
			return errors.New("other content came back")
		}
		return nil
	}
	return fmt.Errorf("a version came back that was never put: %d", got.Version.N)
}

// pause waits for d; it reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
