package main

import "bytes"

const (
	documentDomain = "l2p document v1\n"
	bindingDomain  = "l2p name binding v1\n"
	someTime       = 1767225600000 // Unix milliseconds, 2026-01-01
)

// An agent is one of the actors of the vectors.
type agent struct {
	name   string
	kind   uint64
	age    ageKey
	fields []pair // of the first document
	body   []byte // the first document
	id     []byte
}

func newAgent(name string, kind uint64) agent {
	a := agent{name: name, kind: kind, age: newAgeKey(name)}
	a.fields = []pair{
		{1, num(1)}, {2, num(kind)}, {3, num(1)}, {6, num(someTime)},
		{8, array(object(pair{1, num(1)}, pair{2, bin(public(signingKey(name)))}))},
	}
	if name != "" {
		a.fields = append(a.fields, pair{7, text(name)})
	}
	if kind != 4 {
		a.fields = append(a.fields, pair{9, text(a.age.recipient())})
	}
	return a.fixed()
}

// fixed takes the fields as they are and works out the id.
func (a agent) fixed() agent {
	a.body = object(a.fields...)
	a.id = bodyHash(a.body)
	return a
}

// self is the agent's own signature under its first document.
func (a agent) self(body []byte) signature {
	return signature{1, nil, 1, sign(signingKey(a.name), documentDomain, body)}
}

// by is the agent's signature, with the key of its first document.
func (a agent) by(domain string, body []byte) signature {
	return signature{1, a.id, 1, sign(signingKey(a.name), domain, body)}
}

var (
	adam  = newAgent("adam@a-tech", 1)
	eve   = newAgent("eve@e-build", 1)
	carol = newAgent("carol@c-train", 1)
	aTech = newAgent("a-tech", 4)
	team  = newGroup("team@a-tech", []agent{adam}, []agent{adam, eve})
)

// A group's key boxes need not open for its documents to be judged.
func keyBox(label string) []byte { return []byte("key box " + label) }

func attachmentHash(b []byte) []byte { return hash("l2p attachment v1\n", b) }

func ids(agents []agent) [][]byte {
	var list [][]byte
	for _, a := range agents {
		list = append(list, a.id)
	}
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if bytes.Compare(list[j], list[i]) < 0 {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return list
}

// groupPart encodes key 11 of a group's document.
func groupPart(epoch uint64, admins, members []agent, box []byte, previous []byte) []byte {
	var list [][]byte
	for _, id := range ids(members) {
		list = append(list, object(pair{1, bin(id)}, pair{2, num(1)}, pair{3, num(0)}))
	}
	var prev []byte
	if previous != nil {
		prev = bin(attachmentHash(previous))
	}
	return object(pair{1, num(epoch)}, pair{2, bins(ids(admins)...)}, pair{3, array(list...)},
		pair{4, bins(attachmentHash(box))}, pair{5, prev})
}

func newGroup(name string, admins, members []agent) agent {
	g := newAgent(name, 3)
	g.fields = append(g.fields, pair{11, groupPart(1, admins, members, keyBox("1"), nil)})
	return g.fixed()
}

// writeAgents writes the documents that the other vectors' tests look up: each file is
// one first document.
func writeAgents(w *writer) {
	for file, a := range map[string]agent{"adam": adam, "eve": eve, "carol": carol, "a-tech": aTech} {
		w.file("agents", file+".doc", signed(a.body, nil, a.self(a.body)))
	}
	w.file("agents", "team.doc", signed(team.body, [][]byte{keyBox("1")}, adam.by(documentDomain, team.body)))
}
