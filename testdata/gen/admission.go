package main

import (
	"bytes"
	"encoding/hex"
	"strings"
)

const (
	boxDomain     = "l2p box certificate v1\n"
	nodeDomain    = "l2p node certificate v1\n"
	revokeDomain  = "l2p revocation v1\n"
	gossipDomain  = "l2p gossip key v1\n"
	requestDomain = "l2p join request v1\n"
	certFrom      = 1767225600 // Unix seconds, 2026-01-01
	certUntil     = 1767225600 + 10*365*86400
)

var (
	root    = signingKey("root")
	boxKey  = signingKey(aTech.name)
	nodeKey = signingKey("node")
	network = hash("l2p network id v1\n", public(root))
)

// plain is a signature that names nobody: the structure itself says who signs.
func plain(label, domain string, body []byte) signature {
	return signature{1, nil, 0, sign(signingKey(label), domain, body)}
}

func boxCert() []pair {
	return []pair{{1, num(1)}, {2, bin(network)}, {3, text("a-tech")}, {4, bin(aTech.id)}, {5, bin(public(boxKey))},
		{6, bin(seed("ring nonce"))}, {7, num(certFrom)}, {8, num(certUntil)}}
}

func nodeCert(box []pair) []pair {
	return []pair{{1, num(1)}, {2, bin(network)}, {3, bin(bodyHash(object(box...)))}, {4, bin(public(nodeKey))},
		{5, num(0)}, {6, num(1)}, {7, num(certFrom)}, {8, num(certUntil)}}
}

// A credential is what a node shows, with who signs each part.
type credential struct {
	box, node             pair // the change to each certificate, if any
	rootBy, boxBy, nodeBy string
	boxDomain, nodeDomain string
}

func (c credential) encode() []byte {
	box := boxCert()
	if c.box.key != 0 {
		box = with(box, c.box.key, c.box.value)
	}
	node := nodeCert(box)
	if c.node.key != 0 {
		node = with(node, c.node.key, c.node.value)
	}
	boxBody, nodeBody := object(box...), object(node...)
	return object(
		pair{1, bin(public(root))},
		pair{2, bin(signed(boxBody, nil, plain(c.rootBy, c.boxDomain, boxBody)))},
		pair{3, bin(signed(nodeBody, nil, plain(c.boxBy, c.nodeDomain, nodeBody), plain(c.nodeBy, c.nodeDomain, nodeBody)))})
}

func writeAdmission(w *writer) {
	put := func(name, expect, why string, change func(*credential)) {
		c := credential{rootBy: "root", boxBy: aTech.name, nodeBy: "node", boxDomain: boxDomain, nodeDomain: nodeDomain}
		change(&c)
		w.vector("credentials", name, expect, why, c.encode(), line{"node", hex.EncodeToString(public(nodeKey))},
			line{"network", hex.EncodeToString(network)}, line{"time", "1767312000"})
	}
	put("ok", "ok", "a node of a box of the network", func(*credential) {})
	put("ok_not_yet", "ok", "not valid yet: clocks may be slow", func(c *credential) { c.box = pair{7, num(certFrom + 30*86400)} })
	put("box_other_root", "corrupt", "the box's certificate isn't signed by the root key", func(c *credential) { c.rootBy = "other" })
	put("box_domain", "corrupt", "signed in another domain", func(c *credential) { c.boxDomain = nodeDomain })
	put("box_format", "corrupt", "a format that isn't known", func(c *credential) { c.box = pair{1, num(2)} })
	put("box_network", "corrupt", "a certificate of another network", func(c *credential) { c.box = pair{2, bin(seed("x"))} })
	put("box_name", "corrupt", "a box name with a dot", func(c *credential) { c.box = pair{3, text("a.tech")} })
	put("box_expired", "denied", "the box's certificate has expired", func(c *credential) { c.box = pair{8, num(certFrom + 1)} })
	put("box_times", "corrupt", "it ends before it begins", func(c *credential) { c.box = pair{8, num(certFrom - 1)} })
	put("box_no_nonce", "corrupt", "no place on the ring", func(c *credential) { c.box = pair{6, nil} })
	put("node_other_box", "corrupt", "the node's certificate isn't signed by the box", func(c *credential) { c.boxBy = "other" })
	put("node_silent", "corrupt", "the node itself hasn't signed", func(c *credential) { c.nodeBy = "other" })
	put("node_box_cert", "corrupt", "it names another box certificate", func(c *credential) { c.node = pair{3, bin(seed("x"))} })
	put("node_other_key", "corrupt", "it is another node's, who hasn't signed", func(c *credential) { c.node = pair{4, bin(public(boxKey))} })
	put("node_ordinal", "corrupt", "ordinal 16", func(c *credential) { c.node = pair{5, num(16)} })
	put("node_serial", "corrupt", "serial 0", func(c *credential) { c.node = pair{6, num(0)} })
	put("node_expired", "denied", "the node's certificate has expired", func(c *credential) { c.node = pair{8, num(certFrom + 1)} })
	put("node_foreign", "denied", "rightly signed, but another node's", func(c *credential) {
		c.node, c.nodeBy = pair{4, bin(public(signingKey("second node")))}, "second node"
	})
	writeRevocations(w)
	writeGossipKeys(w)
	writeRequests(w)
	writeTickets(w)
}

func writeRevocations(w *writer) {
	put := func(name, expect, why, by, domain string, change pair) {
		fields := []pair{{1, num(1)}, {2, bin(network)}, {3, bin(bodyHash(object(boxCert()...)))}, {4, num(certFrom)}}
		if change.key != 0 {
			fields = with(fields, change.key, change.value)
		}
		body := object(fields...)
		w.vector("revocation", name, expect, why, signed(body, nil, plain(by, domain, body)),
			line{"root", hex.EncodeToString(public(root))}, line{"box", hex.EncodeToString(public(boxKey))})
	}
	put("ok", "ok", "the root key ends a certificate", "root", revokeDomain, pair{})
	put("ok_left", "ok", "a box goes by itself", aTech.name, revokeDomain, pair{5, boolean(true)})
	put("signature", "corrupt", "signed by somebody else", "other", revokeDomain, pair{})
	put("by_box", "corrupt", "a box can't expel", aTech.name, revokeDomain, pair{})
	put("domain", "corrupt", "signed in another domain", "root", boxDomain, pair{})
	put("format", "corrupt", "a format that isn't known", "root", revokeDomain, pair{1, num(2)})
	put("cert", "corrupt", "no certificate named", "root", revokeDomain, pair{3, nil})
	put("left_false", "corrupt", "a false that should be absent", "root", revokeDomain, pair{5, boolean(false)})
}

func writeGossipKeys(w *writer) {
	put := func(name, expect, why, by, domain string, change pair) {
		fields := []pair{{1, num(1)}, {2, bin(network)}, {3, num(1)}, {4, bin(seed("gossip key"))}}
		if change.key != 0 {
			fields = with(fields, change.key, change.value)
		}
		body := object(fields...)
		w.vector("gossipkey", name, expect, why, signed(body, nil, plain(by, domain, body)), line{"root", hex.EncodeToString(public(root))})
	}
	put("ok", "ok", "the first key of a network", "root", gossipDomain, pair{})
	put("ok_later", "ok", "a later one", "root", gossipDomain, pair{3, num(900)})
	put("signature", "corrupt", "signed by a box", aTech.name, gossipDomain, pair{})
	put("domain", "corrupt", "signed in another domain", "root", revokeDomain, pair{})
	put("format", "corrupt", "a format that isn't known", "root", gossipDomain, pair{1, num(2)})
	put("network", "corrupt", "no network", "root", gossipDomain, pair{2, nil})
	put("serial", "corrupt", "serial 0", "root", gossipDomain, pair{3, num(0)})
	put("zero", "corrupt", "a key of zeros", "root", gossipDomain, pair{4, bin(make([]byte, 32))})
	put("short", "corrupt", "a key of 31 bytes", "root", gossipDomain, pair{4, bin(make([]byte, 31))})
	put("more", "corrupt", "a field that isn't known", "root", gossipDomain, pair{5, num(1)})
}

func writeRequests(w *writer) {
	put := func(name, expect, why, by string, change pair) {
		fields := []pair{{1, num(1)}, {2, bin(network)}, {3, text("a-tech")}, {4, bin(signed(aTech.body, nil, aTech.self(aTech.body)))},
			{5, bin(public(boxKey))}, {6, bin(aTech.id)}, {7, text(":7946")}, {8, num(certFrom)}, {9, bin(public(nodeKey))}}
		if change.key != 0 {
			fields = with(fields, change.key, change.value)
		}
		body := object(fields...)
		w.vector("request", name, expect, why, signed(body, nil, plain(by, requestDomain, body)))
	}
	put("ok", "ok", "a box asks for admission", aTech.name, pair{})
	put("signature", "corrupt", "signed by somebody else", "other", pair{})
	put("format", "corrupt", "a format that isn't known", aTech.name, pair{1, num(2)})
	put("name", "corrupt", "a name with an escape sequence", aTech.name, pair{3, text("a\x1b[2J")})
	put("addr", "corrupt", "an address that isn't one", aTech.name, pair{7, text("here; rm -rf")})
	put("addr_port", "corrupt", "port 0", aTech.name, pair{7, text("127.0.0.1:0")})
	put("node", "corrupt", "no node", aTech.name, pair{9, nil})
}

func writeTickets(w *writer) {
	body := func(change pair) []byte {
		fields := []pair{{1, num(1)}, {2, bin(network)}, {3, text("e-build")}, {4, bin(seed("secret")[:16])},
			{5, num(certUntil)}, {6, array(text("192.0.2.1:7946"), text("box.example:7946"))}}
		if change.key != 0 {
			fields = with(fields, change.key, change.value)
		}
		return object(fields...)
	}
	ok := bech(body(pair{}), "l2pticket")
	put := func(name, expect, why, ticket string) { w.vector("ticket", name, expect, why, []byte(ticket)) }
	put("ok", "ok", "a ticket for two addresses", ok)
	typed := []byte(ok)
	i := bytes.IndexByte(typed, '1') + 20
	typed[i] = map[bool]byte{true: 'p', false: 'q'}[typed[i] == 'q']
	put("mistyped", "usage", "one character is wrong", string(typed))
	put("short", "usage", "the end is missing", ok[:len(ok)-1])
	put("upper", "usage", "in capitals: one text has one form", strings.ToUpper(ok))
	put("prefix", "usage", "another prefix", bech(body(pair{}), "l2pnet"))
	put("format", "usage", "a format that isn't known", bech(body(pair{1, num(2)}), "l2pticket"))
	put("no_address", "usage", "nowhere to go", bech(body(pair{6, array()}), "l2pticket"))
	put("address", "usage", "an address that isn't one", bech(body(pair{6, array(text("x y:1"))}), "l2pticket"))
	put("secret", "usage", "a secret of 15 bytes", bech(body(pair{4, bin(seed("secret")[:15])}), "l2pticket"))
	put("trailing", "usage", "a byte behind the value", bech(append(body(pair{}), 0), "l2pticket"))
}
