package main

// writeBindings writes what a box says of a name: one binding each, whose box
// is in testdata/agents.
func writeBindings(w *writer) {
	start := []pair{{1, num(1)}, {2, bin(aTech.id)}, {3, text("adam")}, {4, num(1)}, {6, num(someTime)}, {7, bin(adam.id)}}
	next := with(with(start, 4, num(2)), 5, bin(bodyHash(object(start...))))
	by := func(a agent, fields []pair) []byte {
		body := object(fields...)
		return signed(body, nil, a.by(bindingDomain, body))
	}
	stranger := newAgent("d-chem", 4)
	put := func(name, expect, why string, data []byte) { w.vector("binding", name, expect, why, data) }

	put("ok", "ok", "Adam's name", by(aTech, start))
	put("ok_next", "ok", "the name means somebody else", by(aTech, with(next, 7, bin(eve.id))))
	put("ok_nobody", "ok", "the name means nobody any more", by(aTech, with(next, 7, nil)))
	put("ok_revoked", "ok", "the box no longer vouches for Adam", by(aTech, with(next, 8, boolean(true))))

	put("format_2", "corrupt", "a format that isn't known", by(aTech, with(start, 1, num(2))))
	put("name_full", "corrupt", "the local part has the box's name in it", by(aTech, with(start, 3, text("adam@a-tech"))))
	put("name_control", "corrupt", "a name with an escape sequence", by(aTech, with(start, 3, text("a\x1b[2Jdam"))))
	put("version_0", "corrupt", "versions count from 1", by(aTech, with(start, 4, num(0))))
	put("first_with_parent", "corrupt", "the first has no parent", by(aTech, with(start, 5, bin(eve.id))))
	put("second_without_parent", "corrupt", "the second needs a parent", by(aTech, with(start, 4, num(2))))
	put("revoked_nobody", "corrupt", "nobody can't be revoked", by(aTech, with(with(next, 7, nil), 8, boolean(true))))
	put("revoked_false", "corrupt", "what isn't revoked doesn't say so", by(aTech, with(next, 8, boolean(false))))
	put("unknown_key", "corrupt", "a key that isn't known", by(aTech, with(start, 9, num(1))))
	put("by_another", "corrupt", "signed by somebody else", by(eve, start))
	put("by_no_box", "corrupt", "a person gives out names", by(eve, with(start, 2, bin(eve.id))))
	put("box_unknown", "not-found", "a box that nobody knows", by(stranger, with(start, 2, bin(stranger.id))))
	bad := object(start...)
	put("domain", "corrupt", "signed in another domain", signed(bad, nil, aTech.by(documentDomain, bad)))
	put("signature", "corrupt", "a bit of the signature is flipped", func() []byte {
		s := aTech.by(bindingDomain, bad)
		s.bytes = flip(s.bytes, 9)
		return signed(bad, nil, s)
	}())
	put("attachment", "corrupt", "something is attached", signed(bad, [][]byte{[]byte("x")}, aTech.by(bindingDomain, bad)))
}
