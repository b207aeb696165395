package wire

import (
	"strings"

	"github.com/btcsuite/btcd/btcutil/bech32"

	"l2p/envelope"
)

const (
	ticketPrefix = "l2pticket"
	// MaxTicketLen is the length of a ticket's text form, at most. Up to this
	// length the checksum of bech32 is sure to notice any three wrong
	// characters, and all but one in 10^9 of worse mistakes (BIP 173).
	MaxTicketLen   = 1023
	maxTicketSize  = (MaxTicketLen - len(ticketPrefix) - 1 - 6) * 5 / 8
	maxTicketAddrs = 8
)

func (t *Ticket) check() error {
	const what = "ticket"
	switch {
	case t.Format != 1:
		return malformed(what, "format")
	case t.Network.IsZero():
		return malformed(what, "network")
	case envelope.CheckBoxName(t.Name) != nil:
		return malformed(what, "box name")
	case !plausible(t.Expires):
		return malformed(what, "time")
	case len(t.Addrs) == 0 || len(t.Addrs) > maxTicketAddrs:
		return malformed(what, "number of addresses")
	}
	for _, a := range t.Addrs {
		if CheckAddr(a, false) != nil {
			return malformed(what, "address")
		}
	}
	return nil
}

// Text returns the text form of t, at most MaxTicketLen characters. It contains
// the secret.
func (t *Ticket) Text() (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	data, err := envelope.Encode(t)
	if err != nil {
		return "", err
	}
	if len(data) > maxTicketSize {
		err := envelope.Errorf(envelope.Full, "the ticket would be longer than %d characters", MaxTicketLen)
		return "", envelope.WithHint(err, "name fewer or shorter addresses")
	}
	return bech32.EncodeFromBase256(ticketPrefix, data)
}

// ParseTicket parses the text form of a ticket. It doesn't look at the expiry:
// only the issuer's clock counts.
func ParseTicket(s string) (*Ticket, error) {
	mistyped := envelope.WithHint(envelope.Errorf(envelope.Usage, "the ticket is mistyped or incomplete"),
		"copy the whole line that l2p invite printed")
	if len(s) > MaxTicketLen || !strings.HasPrefix(s, ticketPrefix+"1") {
		return nil, mistyped
	}
	prefix, groups, err := bech32.DecodeNoLimit(s)
	if err != nil || prefix != ticketPrefix {
		return nil, mistyped
	}
	data, err := bech32.ConvertBits(groups, 5, 8, false)
	if err != nil {
		return nil, mistyped
	}
	again, err := bech32.EncodeFromBase256(ticketPrefix, data)
	if err != nil || again != s {
		return nil, mistyped
	}
	var t Ticket
	if envelope.Decode(data, maxTicketSize, &t) != nil || t.check() != nil {
		return nil, mistyped
	}
	return &t, nil
}
