package main

import "encoding/hex"

// A link is one document of a chain under test.
type link struct {
	body        []byte
	attachments [][]byte
	signatures  []signature
}

func (l link) encode() []byte { return signed(l.body, l.attachments, l.signatures...) }

func first(a agent) link { return link{a.body, nil, []signature{a.self(a.body)}} }

// second returns a second version of a's document with some fields replaced,
// signed by its first key.
func second(a agent, changes ...pair) link {
	fields := with(with(with(a.fields, 3, num(2)), 4, bin(a.id)), 5, bin(bodyHash(a.body)))
	for _, c := range changes {
		fields = with(fields, c.key, c.value)
	}
	body := object(fields...)
	return link{body, nil, []signature{a.by(documentDomain, body)}}
}

func keysOf(label string) []byte {
	return array(object(pair{1, num(1)}, pair{2, bin(public(signingKey(label)))}))
}

func writeDocuments(w *writer) {
	put := func(name, expect, why string, chain ...link) {
		var docs [][]byte
		for _, l := range chain {
			docs = append(docs, l.encode())
		}
		w.vector("document", name, expect, why, bins(docs...), line{"id", hex.EncodeToString(bodyHash(chain[0].body))})
	}
	one := func(fields []pair) link {
		a := adam
		a.fields = fields
		return first(a.fixed())
	}

	put("ok_user", "ok", "a user's first document", first(adam))
	put("ok_box", "ok", "a box has no recipient", first(aTech))
	locked := one(with(adam.fields, 10, bin(attachmentHash([]byte("locked")))))
	put("ok_stripped", "ok", "attachments may be left out together", locked)
	locked.attachments = [][]byte{[]byte("locked")}
	put("ok_locked", "ok", "the attachment is the one named", locked)
	locked.attachments = [][]byte{[]byte("lacked")}
	put("attachment_other", "corrupt", "the attachment is not the one named", locked)
	unnamed := first(adam)
	unnamed.attachments = [][]byte{[]byte("locked")}
	put("attachment_unnamed", "corrupt", "an attachment that nothing names", unnamed)

	renamed := second(adam, pair{6, num(someTime + 1)})
	put("ok_second", "ok", "a second version with the same key", first(adam), renamed)
	rotated := second(adam, pair{8, keysOf("new")})
	rotated.signatures = append(rotated.signatures, signature{1, adam.id, 2, sign(signingKey("new"), documentDomain, rotated.body)})
	put("ok_rotated", "ok", "a new key, signed by the old and the new", first(adam), rotated)
	rotated.signatures = rotated.signatures[:1]
	put("rotated_new_silent", "corrupt", "the new key hasn't signed", first(adam), rotated)
	stolen := second(adam, pair{8, keysOf("new")})
	stolen.signatures = []signature{{1, adam.id, 2, sign(signingKey("new"), documentDomain, stolen.body)}}
	put("rotated_old_silent", "corrupt", "the old key hasn't signed", first(adam), stolen)

	bad := first(adam)
	bad.signatures = []signature{{1, nil, 1, flip(bad.signatures[0].bytes, 9)}}
	put("signature_bad", "corrupt", "a bit of the signature is flipped", bad)
	bad.signatures = []signature{{1, nil, 1, sign(signingKey(adam.name), bindingDomain, adam.body)}}
	put("signature_domain", "corrupt", "signed in another domain", bad)
	bad.signatures = []signature{{1, nil, 1, sign(signingKey(eve.name), documentDomain, adam.body)}}
	put("signature_other_key", "corrupt", "signed by somebody else", bad)
	bad.signatures = nil
	put("signature_none", "corrupt", "not signed", bad)

	put("format_2", "corrupt", "a format that isn't known", one(with(adam.fields, 1, num(2))))
	put("kind_5", "corrupt", "a kind that isn't known", one(with(adam.fields, 2, num(5))))
	put("version_0", "corrupt", "versions count from 1", one(with(adam.fields, 3, num(0))))
	put("first_with_agent", "corrupt", "the first document can't name its own hash", one(with(adam.fields, 4, bin(eve.id))))
	put("first_with_parent", "corrupt", "the first document has no parent", one(with(adam.fields, 5, bin(eve.id))))
	put("keys_none", "corrupt", "no key", one(with(adam.fields, 8, array())))
	key := object(pair{1, num(1)}, pair{2, bin(public(signingKey("a")))})
	put("keys_two", "corrupt", "two Ed25519 keys", one(with(adam.fields, 8, array(key, key))))
	put("key_short", "corrupt", "a key of 31 bytes", one(with(adam.fields, 8, array(object(pair{1, num(1)}, pair{2, bin(make([]byte, 31))})))))
	put("recipient_none", "corrupt", "a user without a recipient", one(with(adam.fields, 9, nil)))
	put("recipient_bad", "corrupt", "a recipient that age doesn't know", one(with(adam.fields, 9, text("age1xyz"))))
	box := aTech
	box.fields = with(box.fields, 9, text(adam.age.recipient()))
	put("recipient_of_box", "corrupt", "a box with a recipient", first(box.fixed()))
	put("name_upper", "corrupt", "a name with a capital letter", one(with(adam.fields, 7, text("Adam@a-tech"))))
	put("name_control", "corrupt", "a name with an escape sequence", one(with(adam.fields, 7, text("a\x1b[2Jdam@a-tech"))))
	put("user_with_group", "corrupt", "a user with members", one(with(adam.fields, 11, groupPart(1, []agent{adam}, nil, keyBox("1"), nil))))
	put("unknown_field", "corrupt", "a key that isn't known", one(with(adam.fields, 99, num(1))))

	put("parent_wrong", "corrupt", "the parent is another", first(adam), second(adam, pair{5, bin(eve.id)}))
	put("agent_wrong", "corrupt", "the id is another's", first(adam), second(adam, pair{4, bin(eve.id)}))
	put("kind_changed", "corrupt", "a user turned service", first(adam), second(adam, pair{2, num(2)}))
	put("version_skipped", "corrupt", "version 3 after version 1", first(adam), second(adam, pair{3, num(3)}))
	writeRecoveries(put)
	writeGroups(put)
}

func writeGroups(put func(name, expect, why string, chain ...link)) {
	start := link{team.body, [][]byte{keyBox("1")}, []signature{adam.by(documentDomain, team.body)}}
	next := func(by agent, part []byte, changes ...pair) link {
		l := second(team, append([]pair{{11, part}}, changes...)...)
		l.signatures = []signature{by.by(documentDomain, l.body)}
		return l
	}
	admins, both := []agent{adam}, []agent{adam, eve}
	newKeys := []pair{{8, keysOf("epoch 2")}, {9, text(newAgeKey("epoch 2").recipient())}}

	put("ok_group", "ok", "a group's first document, signed by its admin", start)
	added := next(adam, groupPart(1, admins, []agent{adam, eve, carol}, keyBox("1b"), nil))
	put("ok_group_added", "ok", "a new member, the same epoch", start, added)
	removed := next(adam, groupPart(2, admins, admins, keyBox("2"), []byte("previous")), newKeys...)
	put("ok_group_removed", "ok", "a member less, a new epoch with new keys", start, removed)

	put("group_removed_same_epoch", "corrupt", "a member less needs a new epoch", start,
		next(adam, groupPart(1, admins, admins, keyBox("1b"), nil)))
	put("group_replaced_same_epoch", "corrupt", "one member left while another came: a new epoch is needed", start,
		next(adam, groupPart(1, admins, []agent{adam, carol}, keyBox("1b"), nil)))
	put("group_epoch_old_keys", "corrupt", "a new epoch with the old keys", start,
		next(adam, groupPart(2, admins, admins, keyBox("2"), []byte("previous"))))
	put("group_keys_same_epoch", "corrupt", "new keys in the same epoch", start,
		next(adam, groupPart(1, admins, both, keyBox("1b"), nil), newKeys...))
	put("group_epoch_skipped", "corrupt", "epoch 3 after epoch 1", start,
		next(adam, groupPart(3, admins, admins, keyBox("3"), []byte("previous")), newKeys...))
	put("group_epoch_no_previous", "corrupt", "a new epoch that doesn't lead back to the old", start,
		next(adam, groupPart(2, admins, admins, keyBox("2"), nil), newKeys...))
	put("group_by_member", "corrupt", "signed by a member who is no admin", start,
		next(eve, groupPart(1, []agent{adam, eve}, both, keyBox("1"), nil)))
	put("group_first_by_stranger", "corrupt", "the first document signed by no admin of its own",
		link{team.body, nil, []signature{eve.by(documentDomain, team.body)}})
	put("group_no_admin", "corrupt", "nobody could change it ever again", start,
		next(adam, groupPart(1, nil, both, keyBox("1"), nil)))
	put("group_by_itself", "corrupt", "signed by the group's own key", start,
		next(team, groupPart(1, admins, both, keyBox("1"), nil)))

	lonely := newAgent("team@a-tech", 3)
	put("group_without_part", "corrupt", "a group without members' part", link{lonely.body, nil, []signature{adam.by(documentDomain, lonely.body)}})
	twice := team
	id := object(pair{1, bin(adam.id)}, pair{2, num(1)}, pair{3, num(0)})
	twice.fields = with(team.fields, 11, object(pair{1, num(1)}, pair{2, bins(adam.id)}, pair{3, array(id, id)}, pair{4, bins(attachmentHash(keyBox("1")))}))
	twice = twice.fixed()
	put("group_member_twice", "corrupt", "a member listed twice", link{twice.body, nil, []signature{adam.by(documentDomain, twice.body)}})
	astray := team
	id = object(pair{1, bin(adam.id)}, pair{2, num(1)}, pair{3, num(1)})
	astray.fields = with(team.fields, 11, object(pair{1, num(1)}, pair{2, bins(adam.id)}, pair{3, array(id)}, pair{4, bins(attachmentHash(keyBox("1")))}))
	astray = astray.fixed()
	put("group_member_no_box", "corrupt", "a member whose box isn't there", link{astray.body, nil, []signature{adam.by(documentDomain, astray.body)}})
	writeFromNow(put)
}
