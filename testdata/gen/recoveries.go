package main

// writeRecoveries writes documents with a recovery key, and those that it signs.
func writeRecoveries(put func(name, expect, why string, chain ...link)) {
	const step = 1_000_000
	paper := signingKey("paper")
	owner := adam
	owner.fields = with(owner.fields, 12, bin(public(paper)))
	owner = owner.fixed()
	newKeys := []pair{{8, keysOf("new")}, {9, text(newAgeKey("new").recipient())}}
	// recovery is a recovery document after l, and signs it.
	recovery := func(parent link, n uint64, changes ...pair) link {
		fields := with(with(with(owner.fields, 3, num(n)), 4, bin(owner.id)), 5, bin(bodyHash(parent.body)))
		for _, c := range append(newKeys[:2:2], changes...) {
			fields = with(fields, c.key, c.value)
		}
		body := object(fields...)
		return link{body, nil, []signature{
			{1, owner.id, 0, sign(paper, documentDomain, body)},
			{1, owner.id, n, sign(signingKey("new"), documentDomain, body)},
		}}
	}
	start, renewed := first(owner), second(owner, pair{6, num(someTime + 1)})

	put("ok_recovery_key", "ok", "a user with a recovery key", start)
	put("ok_recovered", "ok", "the recovery key and the new key sign", start, recovery(start, step))
	put("ok_recovered_later", "ok", "the parent may have any number", start, renewed, recovery(renewed, step))
	put("ok_recovery_replaced", "ok", "a recovery document replaces the recovery key", start,
		recovery(start, step, pair{12, bin(public(signingKey("paper 2")))}))
	after := recovery(start, step)
	fields := with(with(with(owner.fields, 3, num(step+1)), 4, bin(owner.id)), 5, bin(bodyHash(after.body)))
	for _, c := range newKeys {
		fields = with(fields, c.key, c.value)
	}
	body := object(fields...)
	put("ok_after_recovery", "ok", "numbers go on after a recovery", start, after,
		link{body, nil, []signature{{1, owner.id, step, sign(signingKey("new"), documentDomain, body)}}})
	put("ok_recovery_key_added", "ok", "a recovery key where there was none", first(adam), second(adam, pair{12, bin(public(paper))}))

	put("recovery_key_short", "corrupt", "a recovery key of 31 bytes", func() link {
		a := adam
		a.fields = with(a.fields, 12, bin(public(paper)[:31]))
		return first(a.fixed())
	}())
	box := aTech
	box.fields = with(box.fields, 12, bin(public(paper)))
	put("recovery_key_of_box", "corrupt", "a box with a recovery key", first(box.fixed()))
	put("recovery_key_changed", "corrupt", "the ordinary key changes the recovery key", start,
		second(owner, pair{12, bin(public(signingKey("paper 2")))}))
	put("recovery_key_removed", "corrupt", "the ordinary key removes the recovery key", start, second(owner, pair{12, nil}))

	put("recovery_number", "corrupt", "not the next multiple of 1,000,000", start, recovery(start, 2*step))
	ordinary := recovery(start, 2)
	put("recovery_ordinary_number", "corrupt", "the recovery key signs an ordinary number", start, ordinary)
	thief := second(owner, pair{3, num(step)})
	put("recovery_by_old_key", "corrupt", "the ordinary key signs the number of a recovery", start, thief)
	put("number_10000", "corrupt", "more than 9,999 documents without a recovery", start, second(owner, pair{3, num(10_000)}))
	put("number_below_step", "corrupt", "a number just below a recovery's", start, second(owner, pair{3, num(step - 1)}))
	silent := recovery(start, step)
	silent.signatures = silent.signatures[:1]
	put("recovery_new_silent", "corrupt", "the new key hasn't signed", start, silent)
	versioned := recovery(start, step)
	versioned.signatures[0].version = 1
	put("recovery_signer_version", "corrupt", "the recovery key signs as a version of the document", start, versioned)
	kept := recovery(start, step, pair{9, text(owner.age.recipient())})
	put("recovery_old_recipient", "corrupt", "the recipient that the thief has", start, kept)
	none := first(adam)
	orphan := recovery(none, step, pair{4, bin(adam.id)})
	orphan.signatures[0].signer, orphan.signatures[1].signer = adam.id, adam.id
	put("recovery_without_key", "corrupt", "nothing said that this key may recover it", none, orphan)
}
