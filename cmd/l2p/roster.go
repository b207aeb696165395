package main

import (
	"bytes"
	"context"
	"slices"

	"l2p/envelope"
	"l2p/netq/wire"
)

// maxBoxes bounds what is taken of a roster.
const maxBoxes = 100_000

// boxesIn returns the boxes that a network admits, by name, as the node's
// roster says. It believes the network's root key only, whose hash is the
// network's id.
func (d *directory) boxesIn(ctx context.Context, network envelope.NetworkID) (map[string]envelope.AgentID, error) {
	var (
		have        []envelope.Hash
		root        []byte
		admitted    = make(map[envelope.Hash]*wire.BoxCert)
		revocations []*envelope.Signed
	)
	for {
		reply, err := d.client.Roster(ctx, have)
		if err != nil {
			return nil, err
		}
		if envelope.NetworkIDOf(reply.RootKey) != network {
			return nil, envelope.Errorf(envelope.WrongNetwork, "the node's roster is not of the network that it says it is in")
		}
		root = reply.RootKey
		before := len(have)
		for _, st := range reply.Statements {
			signed, err := envelope.ParseSigned(st.Data, wire.MaxCertSize)
			if err != nil {
				return nil, err
			}
			hash := signed.Hash()
			if slices.Contains(have[:before], hash) {
				continue
			}
			have = append(have, hash)
			switch st.Kind {
			case wire.StatementBox:
				if admitted[hash], err = wire.VerifyBoxCert(signed, root); err != nil {
					return nil, err
				}
			case wire.StatementRevocation:
				revocations = append(revocations, signed)
			}
		}
		if len(have) == before {
			break
		}
		if len(have) > maxBoxes {
			return nil, envelope.Errorf(envelope.Full, "the network's roster has more than %d statements", maxBoxes)
		}
		slices.SortFunc(have, func(a, b envelope.Hash) int { return bytes.Compare(a[:], b[:]) })
	}
	if err := revoke(admitted, revocations, root); err != nil {
		return nil, err
	}
	boxes := make(map[string]envelope.AgentID)
	for _, cert := range admitted {
		if have, ok := boxes[cert.Name]; ok && have != cert.Agent {
			return nil, envelope.Errorf(envelope.Conflict, "the network has admitted two boxes called %s", cert.Name)
		}
		boxes[cert.Name] = cert.Agent
	}
	return boxes, nil
}

// revoke takes out of admitted the certificates that revocations end.
func revoke(admitted map[envelope.Hash]*wire.BoxCert, revocations []*envelope.Signed, root []byte) error {
	for _, signed := range revocations {
		r, err := wire.ParseRevocation(signed)
		if err != nil {
			return err
		}
		cert := admitted[r.Cert]
		if cert == nil {
			continue // a node's certificate
		}
		key := root
		if r.Left {
			key = cert.Key
		}
		if _, err := wire.VerifyRevocation(signed, key); err != nil {
			return err
		}
		delete(admitted, r.Cert)
	}
	return nil
}
