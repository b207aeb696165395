package admit

import (
	"bytes"
	"slices"
	"time"

	"l2p/envelope"
	"l2p/netq/wire"
)

const (
	// MaxInvitationTTL is how long an invitation can be good.
	MaxInvitationTTL = 30 * 24 * time.Hour
	// maxInvitations bounds the invitations that are good or were used and
	// haven't expired.
	maxInvitations     = 256
	maxInvitationsFile = maxInvitations * (wire.MaxCertSize + 256)
)

// An invitation lets in one box. The secret itself is in the ticket alone.
type invitation struct {
	Secret  envelope.Hash `cbor:"1,keyasint"` // see secretHash
	Name    string        `cbor:"2,keyasint"`
	Expires int64         `cbor:"3,keyasint"`           // Unix seconds, by this box's clock
	UsedBy  []byte        `cbor:"4,keyasint,omitempty"` // key of the box that came
	// Cert is the Signed BoxCert that it got. It is here because the
	// invitation must be spent on disk before the certificate is anywhere.
	Cert []byte `cbor:"5,keyasint,omitempty"`
}

func secretHash(secret []byte) envelope.Hash { return envelope.HashOf("l2p invitation v1\n", secret) }

// invitations are the invitations of a network, in a file of the founder's box.
// Each change is on disk before the method returns; if that fails, it isn't made.
type invitations struct {
	path string
	list []invitation
}

type invitationsFile struct {
	Format      uint         `cbor:"1,keyasint"` // 1
	Invitations []invitation `cbor:"2,keyasint"`
}

func openInvitations(path string) (*invitations, error) {
	data, err := readFile(path, maxInvitationsFile)
	if envelope.KindOf(err) == envelope.NotFound {
		return &invitations{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	var f invitationsFile
	if err := envelope.Decode(data, maxInvitationsFile, &f); err != nil {
		return nil, damaged(path, err)
	}
	if f.Format != 1 {
		return nil, damaged(path, envelope.Errorf(envelope.Corrupt, "unknown format"))
	}
	return &invitations{path: path, list: f.Invitations}, nil
}

// certificates returns those that were given for invitations.
func (v *invitations) certificates() []wire.Statement {
	var certs []wire.Statement
	for _, inv := range v.list {
		if len(inv.Cert) > 0 {
			certs = append(certs, wire.Statement{Kind: wire.StatementBox, Data: inv.Cert})
		}
	}
	return certs
}

func (v *invitations) add(inv invitation, now time.Time) error {
	return v.replace(append(slices.Clone(v.list), inv), now)
}

// find returns the invitation with the given hash of a secret.
func (v *invitations) find(secret envelope.Hash, now time.Time) (*invitation, error) {
	for n := range v.list {
		if inv := &v.list[n]; inv.Secret == secret {
			if now.Unix() > inv.Expires {
				break
			}
			return inv, nil
		}
	}
	return nil, envelope.WithHint(envelope.Errorf(envelope.Denied, "the ticket is unknown here or has expired"), "ask for a new one")
}

// spend marks an invitation as used.
func (v *invitations) spend(secret envelope.Hash, key, cert []byte, now time.Time) error {
	list := slices.Clone(v.list)
	for n := range list {
		if list[n].Secret == secret {
			list[n].UsedBy, list[n].Cert = bytes.Clone(key), cert
		}
	}
	return v.replace(list, now)
}

// replace writes the list without what has expired.
func (v *invitations) replace(list []invitation, now time.Time) error {
	list = slices.DeleteFunc(list, func(inv invitation) bool { return now.Unix() > inv.Expires })
	if len(list) > maxInvitations {
		err := envelope.Errorf(envelope.Full, "there are %d open invitations, which is the limit", maxInvitations)
		return envelope.WithHint(err, "wait until some have expired")
	}
	data, err := envelope.Encode(invitationsFile{Format: 1, Invitations: list})
	if err != nil {
		return err
	}
	if err := writeFile(v.path, data); err != nil {
		return err
	}
	v.list = list
	return nil
}
