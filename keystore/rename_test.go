package keystore

import (
	"testing"

	"l2p/envelope"
)

func TestRename(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	for _, passphrase := range []string{"", "secret"} {
		secrets := create(t, s, AgentOptions{Name: "adam@a-tech", Passphrase: []byte(passphrase), Classic: true})
		other := create(t, s, AgentOptions{Name: "eve@e-build", Classic: true})
		d, err := s.Rename(t.Context(), secrets, "adam@e-build")
		if err != nil {
			t.Fatal(err)
		}
		if d.ID() != secrets.agent || d.Version != 2 || d.Name != "adam@e-build" || d.Recipient != secrets.recipient {
			t.Errorf("another agent: version %d of %s, %s", d.Version, d.ID(), d.Name)
		}
		again, err := s.Unlock(secrets.agent, []byte(passphrase))
		if err != nil || again.version != 2 {
			t.Errorf("unlocking after a new name: %v", err)
		}
		for name, kind := range map[string]envelope.ErrorKind{
			"adam@e-build": envelope.Usage, "adam": envelope.Usage, "eve@e-build": envelope.Conflict,
		} {
			_, err := s.Rename(t.Context(), again, name)
			wantKind(t, err, kind)
		}
		s = testStore(t)
		_, err = s.Rename(t.Context(), other, "adam@e-build")
		wantKind(t, err, envelope.NotFound)
	}
}
