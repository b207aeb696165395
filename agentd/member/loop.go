package member

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *Members) wake()   { signal(m.woken) }
func (m *Members) reborn() { signal(m.rename) }

func (m *Members) mourn(name, addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mourned) < maxMourned {
		m.mourned[name] = &obituary{addr, obituaries}
	}
}

func (m *Members) unmourn(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mourned, name)
}

// loop does what memberlist's callbacks must not do themselves.
func (m *Members) loop() {
	keep := time.NewTicker(housekeeping)
	defer keep.Stop()
	heal := time.NewTicker(healInterval)
	defer heal.Stop()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	var born time.Time // when the current name was taken, if not the first
	dead := false      // somebody holds the current name for dead
	for {
		if dead && time.Since(born) >= rebirthPause {
			born, dead = time.Now(), false
			m.rebirth(&helpers)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.woken:
			m.refresh()
		case <-keep.C:
			m.sendObituaries()
		case <-heal.C:
			m.refresh()
			m.reportDiffering()
			m.heal(&helpers, false)
		case <-m.told:
			g := m.generation()
			helpers.Go(func() { _ = g.list.UpdateNode(housekeeping) }) // the next one tells what this one couldn't
			m.reportDiffering()
			m.heal(&helpers, true)
		case <-m.rename:
			dead = true
		}
	}
}

// refresh works out who is alive, by any name, and tells of changes.
func (m *Members) refresh() {
	g := m.generation()
	alive := g.alive()
	m.mu.Lock()
	changed := len(alive) != len(m.alive)
	for id, n := range alive {
		old, was := m.alive[id]
		changed = changed || !was || old.addr != n.addr
	}
	differs := false
	for id, n := range alive {
		differs = differs || n.digest != m.alive[id].digest
	}
	m.alive = alive
	m.mu.Unlock()
	for id, n := range alive {
		m.remember(wire.Peer{Node: id, Addr: n.addr})
	}
	if changed && m.cfg.OnChange != nil {
		m.cfg.OnChange()
	}
	if differs {
		m.reportDiffering()
	}
}

func (m *Members) reportDiffering() {
	if m.cfg.OnRosterDiffers == nil {
		return
	}
	digest := m.cfg.Digest()
	own := digestPrefix(digest[:8])
	m.mu.Lock()
	var differ []envelope.NodeID
	for id, n := range m.alive {
		if n.digest != own && m.cfg.Allowed(id) {
			differ = append(differ, id)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(differ, func(a, b envelope.NodeID) int { return cmp.Compare(string(a[:]), string(b[:])) })
	for _, id := range differ {
		m.cfg.OnRosterDiffers(id)
	}
}

// heal tries to reach nodes of the roster that seem dead, at random: after a
// long partition nobody else would, since memberlist forgets the dead. If
// exchange is set it also asks one that is alive for all it knows, because
// nodes that are new in the roster have been refused until now.
func (m *Members) heal(helpers *sync.WaitGroup, exchange bool) {
	m.mu.Lock()
	var dead, live []wire.Peer
	for id, addr := range m.peers {
		if !m.cfg.Allowed(id) {
			continue
		}
		if _, alive := m.alive[id]; alive {
			live = append(live, wire.Peer{Node: id, Addr: addr})
		} else {
			dead = append(dead, wire.Peer{Node: id, Addr: addr})
		}
	}
	leaving := m.leaving
	m.mu.Unlock()
	rand.Shuffle(len(dead), func(i, j int) { dead[i], dead[j] = dead[j], dead[i] })
	try := dead[:min(len(dead), healAtOnce)]
	if exchange && len(live) > 0 {
		try = append(try, live[rand.IntN(len(live))])
	}
	if leaving || len(try) == 0 {
		return
	}
	helpers.Go(func() {
		if _, err := m.Join(m.ctx, try); err != nil {
			m.log.Debug("gossip: nodes that seem dead don't answer", "err", err)
		}
	})
}

// sendObituaries tells nodes that they are held for dead.
func (m *Members) sendObituaries() {
	g := m.generation()
	m.mu.Lock()
	var notes []outgoing
	for name, o := range m.mourned {
		notes = append(notes, outgoing{append([]byte{msgUser}, name...), o.addr})
		if o.left--; o.left == 0 {
			delete(m.mourned, name)
		}
	}
	m.mu.Unlock()
	for _, n := range notes {
		m.send(n.message, n.addr)
	}
	g.forgetNames()
}

// rebirth starts again under a new name.
func (m *Members) rebirth(helpers *sync.WaitGroup) {
	fresh, err := m.newGossip()
	if err != nil {
		m.log.Warn("gossip can't start again under a new name", "err", err)
		return
	}
	m.mu.Lock()
	old := m.current
	if m.leaving { // Leave has the old one in hand
		old = fresh
	} else {
		m.current = fresh
	}
	m.mu.Unlock()
	old.stop()
	if old == fresh {
		return
	}
	m.log.Info("another node held this one for dead; gossip goes on under a new name")
	helpers.Go(func() {
		if _, err := m.Join(m.ctx, m.Peers()); err != nil {
			m.log.Debug("gossip: nobody answers under the new name", "err", err)
		}
	})
}
