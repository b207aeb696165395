package main

// A place is a member's entry in a group's document, and the box it is in.
type place struct {
	who  agent
	box  uint64
	from uint64 // 0: absent
}

// seated encodes key 11 of a group's document with as many key boxes as the
// places need.
func seated(epoch uint64, admins []agent, resolves [][]byte, places ...place) []byte {
	var list [][]byte
	boxes := uint64(0)
	for _, id := range ids(agentsOf(places)) {
		for _, p := range places {
			if string(p.who.id) != string(id) {
				continue
			}
			fields := []pair{{1, bin(id)}, {2, num(1)}, {3, num(p.box)}}
			if p.from > 0 {
				fields = append(fields, pair{5, num(p.from)})
			}
			list = append(list, object(fields...))
			boxes = max(boxes, p.box+1)
		}
	}
	var names [][]byte
	for i := range boxes {
		names = append(names, attachmentHash(keyBox(string(rune('a'+i)))))
	}
	fields := []pair{{1, num(epoch)}, {2, bins(ids(admins)...)}, {3, array(list...)}, {4, bins(names...)}}
	if epoch > 1 {
		fields = append(fields, pair{5, bin(attachmentHash([]byte("previous")))})
	}
	if resolves != nil {
		fields = append(fields, pair{6, bins(resolves...)})
	}
	return object(fields...)
}

func agentsOf(places []place) []agent {
	var agents []agent
	for _, p := range places {
		agents = append(agents, p.who)
	}
	return agents
}

// writeFromNow writes vectors of members who read from some epoch on, and of
// versions that resolve a fork.
func writeFromNow(put func(name, expect, why string, chain ...link)) {
	start := link{team.body, [][]byte{keyBox("1")}, []signature{adam.by(documentDomain, team.body)}}
	admins := []agent{adam}
	newKeys := []pair{{8, keysOf("epoch 2")}, {9, text(newAgeKey("epoch 2").recipient())}}
	next := func(part []byte, changes ...pair) link {
		l := second(team, append([]pair{{11, part}}, changes...)...)
		l.signatures = []signature{adam.by(documentDomain, l.body)}
		return l
	}
	begin := func(places ...place) link { return next(seated(2, admins, nil, places...), newKeys...) }
	both := []place{{adam, 0, 0}, {eve, 0, 0}}

	put("ok_group_from", "ok", "carol reads from epoch 2 on, in a box of her own", start, begin(append(both, place{carol, 1, 2})...))
	put("group_from_1", "corrupt", "who reads from epoch 1 on reads all, which has one spelling", start, begin(append(both, place{carol, 1, 1})...))
	put("group_from_later", "corrupt", "carol reads from an epoch on that isn't there", start, begin(append(both, place{carol, 1, 3})...))
	put("group_from_shared_box", "corrupt", "carol's box would have the way to epoch 1, or eve's would lack it", start,
		begin(append(both, place{carol, 0, 2})...))
	put("group_from_admin", "corrupt", "an admin who can't pass on all keys", start, begin(place{adam, 0, 2}, place{eve, 1, 0}))

	first, last := ids([]agent{carol, eve})[0], ids([]agent{carol, eve})[1] // any hashes will do
	put("ok_group_resolves", "ok", "the changes of two other versions are taken in", start,
		next(seated(1, admins, [][]byte{first, last}, both...)))
	put("group_resolves_none", "corrupt", "a list of nothing is absent", start, next(seated(1, admins, [][]byte{}, both...)))
	put("group_resolves_descending", "corrupt", "the list has one order", start, next(seated(1, admins, [][]byte{last, first}, both...)))
}
