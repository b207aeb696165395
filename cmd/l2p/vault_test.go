package main

import (
	"testing"
	"time"

	"l2p/envelope"
)

// A testClock is two clocks that a test moves.
type testClock struct{ at instant }

func (c *testClock) now() instant { return c.at }

func newTestVault(t *testing.T) (*testClock, *vault) {
	c := &testClock{instant{time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), time.Hour}}
	v := newVault(c.now)
	t.Cleanup(func() { v.drop() })
	return c, &v
}

func secretMemory(text string) []byte {
	data := newLockedMemory(len(text))
	copy(data, text)
	return data
}

// TestVaultExpires: whichever clock comes to the end first ends it, and neither
// one that is set back nor one that stands still makes it longer.
func TestVaultExpires(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		wall, elapsed time.Duration
		want          bool // it is still there
	}{
		"at once":                    {0, 0, true},
		"a moment before":            {time.Hour - 1, time.Hour - 1, true},
		"at the end":                 {time.Hour, time.Hour, false},
		"suspended":                  {2 * time.Hour, time.Minute, false},
		"set back":                   {-24 * time.Hour, time.Hour, false},
		"set back, not yet":          {-24 * time.Hour, time.Hour - 1, true},
		"set forward":                {24 * time.Hour, time.Second, false},
		"a long time, by both":       {1000 * time.Hour, 1000 * time.Hour, false},
		"suspended, a moment before": {time.Hour - 1, time.Minute, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, v := newTestVault(t)
			id, stamp := envelope.AgentID{1}, envelope.Hash{2}
			v.keep(id, stamp, secretMemory("secret"), time.Hour)
			c.at = instant{c.at.wall.Add(tt.wall), c.at.elapsed + tt.elapsed}
			plain, until := v.give(id, stamp)
			if got := plain != nil; got != tt.want || got == until.IsZero() {
				t.Errorf("given %t until %v, want %t", got, until, tt.want)
			}
			n, next := v.next(10 * time.Second)
			if got := n == 1; got != tt.want {
				t.Errorf("%d kept", n)
			}
			if next <= 0 || next > 10*time.Second {
				t.Errorf("look again in %v", next)
			}
		})
	}
}

func TestVaultKeeps(t *testing.T) {
	t.Parallel()
	c, v := newTestVault(t)
	a, b, stamp := envelope.AgentID{1}, envelope.AgentID{2}, envelope.Hash{3}
	v.keep(a, stamp, secretMemory("a's"), time.Hour)
	v.keep(b, stamp, secretMemory("b's"), time.Minute)
	if list := v.list(); len(list) != 2 || list[0].Agent != b || list[1].Until != c.at.wall.Add(time.Hour).UnixMilli() {
		t.Errorf("list is %v", list)
	}
	if _, next := v.next(time.Hour); next != time.Minute {
		t.Errorf("look again in %v", next)
	}
	plain, _ := v.give(a, stamp)
	if string(plain) != "a's" {
		t.Errorf("given %q", plain)
	}
	clear(plain) // what is given is a copy
	if plain, _ = v.give(a, stamp); string(plain) != "a's" {
		t.Errorf("given %q", plain)
	}

	// Once more, for a shorter time.
	v.keep(a, stamp, secretMemory("new"), time.Second)
	c.at.wall, c.at.elapsed = c.at.wall.Add(time.Second), c.at.elapsed+time.Second
	if plain, _ = v.give(a, stamp); plain != nil {
		t.Errorf("given %q after it expired", plain)
	}

	// Other secrets than those in the keystore are of no use to anybody.
	if plain, _ = v.give(b, envelope.Hash{4}); plain != nil {
		t.Errorf("given %q for another stamp", plain)
	}
	if plain, _ = v.give(b, stamp); plain != nil {
		t.Errorf("kept %q that is out of date", plain)
	}
	if n := v.drop(); n != 0 {
		t.Errorf("%d left", n)
	}
}
