package replica

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"l2p/envelope"
)

// A registerOp is what somebody did with one ref, as the linearizability
// checker sees it.
type registerOp struct {
	ref  string
	put  bool
	from envelope.Version // put: the parent
	to   envelope.Version // put: the new version
}

// A registerResult is what came of it.
type registerResult struct {
	ok    bool             // put: acknowledged
	maybe bool             // put: nobody knows
	got   envelope.Version // get
}

// register is an envelope's name as a register with compare-and-set.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byRef := make(map[string][]porcupine.Operation)
		for _, op := range history {
			ref := op.Input.(registerOp).ref
			byRef[ref] = append(byRef[ref], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byRef {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return envelope.Version{} },
	Step: func(state, input, output any) (bool, any) {
		now, op, result := state.(envelope.Version), input.(registerOp), output.(registerResult)
		switch {
		case !op.put:
			return result.got == now, now
		case result.ok:
			return op.from == now, op.to
		case result.maybe && op.from == now:
			return true, op.to
		}
		return true, now // refused, or it came too late
	},
}

// Whatever nodes fail meanwhile, a ref looks to all readers and writers like one
// register: an acknowledged version is never lost to one that wasn't, and no
// read that isn't marked stale goes back.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if !linearizable(t, seed, 40*time.Millisecond, nil) {
					t.Error("not linearizable")
				}
			})
		})
	}
}

// The test above notices when a rule is not kept.
func TestNotLinearizable(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*Replica){
		"no reservation": func(r *Replica) { r.broken.noReservation = true },
		"one reply":      func(r *Replica) { r.R = 1 },
		"one copy":       func(r *Replica) { r.W = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			noticed := false
			for seed := uint64(0); seed < 12 && !noticed; seed++ {
				synctest.Test(t, func(t *testing.T) { noticed = !linearizable(t, seed, 4*time.Millisecond, broken) })
			}
			if !noticed {
				t.Error("nothing was noticed")
			}
		})
	}
}

// What one read has seen the next one sees, too, even where the only replica that
// had it is gone by then: that is what write-back is for.
func TestWriteBack(t *testing.T) {
	t.Parallel()
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newBrokenCluster(t, 3, func(r *Replica) { r.broken.noWriteBack = broken })
			adam := newWriter(t)
			must(t, c.order[0].putDocument(adam))
			time.Sleep(putTimeout)
			v1 := adam.seal(t, "course", envelope.Version{}, 10)
			must(t, c.order[0].putHere(v1.rec, false)) // a put that went no further
			_, _, err := c.order[0].GetRecord(t.Context(), v1.rec.Ref, 0)
			must(t, err)
			c.mu.Lock() // and nobody reconciles
			c.order[0].down = true
			c.mu.Unlock()
			_, _, err = c.order[1].GetRecord(t.Context(), v1.rec.Ref, 0)
			if seen := err == nil; seen == broken {
				t.Errorf("write-back left out: %v, and the next read ends with %v", broken, err)
			}
		})
	}
}

// What keeps a forged record out are the signatures, and nothing else.
func TestForgedRecord(t *testing.T) {
	t.Parallel()
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newBrokenCluster(t, 3, func(r *Replica) { r.broken.noSignature = broken })
			adam, eve := newWriter(t), newWriter(t)
			must(t, c.order[0].putDocument(adam))
			forged := adam.seal(t, "course", envelope.Version{}, 1)
			forged.rec.Signed.Signatures[0] = envelope.Sign(&writer{key: eve.key, id: adam.id, version: 1}, envelope.DomainHeader, forged.rec.Signed.Body)
			if err := c.order[0].putHeader(forged); (err == nil) != broken {
				t.Errorf("signatures not checked: %v, and the put ends with %v", broken, err)
			}
		})
	}
}

// linearizable has clients write and read, with pauses of at most that long, while
// nodes fail, and reports whether what they saw fits one register.
func linearizable(t *testing.T, seed uint64, pause time.Duration, broken func(*Replica)) bool {
	c := newBrokenCluster(t, 5, broken)
	adam := newWriter(t)
	must(t, c.order[0].putDocument(adam))
	var mu sync.Mutex
	var history []porcupine.Operation
	record := func(client int, began time.Time, op registerOp, result registerResult) {
		ended := time.Now().UnixNano()
		if result.maybe {
			ended = 1 << 62 // it may happen at any time yet
		}
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: client, Input: op, Call: began.UnixNano(), Output: result, Return: ended})
	}
	stop := make(chan struct{})
	var chaos, clients sync.WaitGroup
	chaos.Go(func() { // one or two nodes at a time fall silent, or are gone
		random := rand.New(rand.NewPCG(seed, 0))
		for {
			a, b := c.order[random.IntN(5)], c.order[random.IntN(5)]
			c.set(func() { a.mute, b.down = true, random.IntN(2) == 0 })
			select {
			case <-time.After(time.Duration(random.IntN(8000)) * time.Millisecond):
			case <-stop:
			}
			c.set(func() { a.mute, b.down = false, false })
			select {
			case <-time.After(time.Duration(random.IntN(3000)) * time.Millisecond):
			case <-stop:
				return
			}
		}
	})
	acknowledged := 0
	for client := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(client)+1))
		clients.Go(func() {
			for range 25 {
				time.Sleep(time.Duration(random.Int64N(int64(pause))))
				n, name := c.order[random.IntN(5)], fmt.Sprint("course-", random.IntN(2))
				ref := envelope.Ref{Kind: envelope.KindEnvelope, Owner: adam.id, Name: name}
				began := time.Now()
				data, reply, err := n.GetRecord(t.Context(), ref, 0)
				var newest envelope.Version
				if err == nil {
					rec, perr := envelope.ParseRecord(ref.Kind, data)
					must(t, perr)
					newest = rec.Version
				}
				if reply.Stale || err != nil && envelope.KindOf(err) != envelope.NotFound {
					continue // says itself that it may be wrong
				}
				record(client, began, registerOp{ref: name}, registerResult{got: newest})
				draft := adam.seal(t, name, newest, 1)
				began = time.Now()
				err = n.putHeader(draft)
				kind := envelope.KindOf(err)
				record(client, began, registerOp{name, true, newest, draft.rec.Version},
					registerResult{ok: err == nil, maybe: err != nil && kind != envelope.Conflict})
				if err == nil {
					mu.Lock()
					acknowledged++
					mu.Unlock()
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	chaos.Wait()
	if acknowledged < 10 {
		t.Errorf("only %d puts were acknowledged", acknowledged)
	}
	t.Logf("%d operations, %d puts acknowledged", len(history), acknowledged)
	return porcupine.CheckOperations(register, history)
}
