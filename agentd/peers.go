package agentd

import (
	"l2p/envelope"
	"l2p/netq/wire"
)

// readPeers returns where other nodes were last reached. A damaged file is as
// good as none: the node must come up without it.
func (s *stateDir) readPeers() []wire.Peer {
	data, err := s.read(filePeers)
	if err != nil || data == nil {
		return nil
	}
	var list []wire.Peer
	if envelope.Decode(data, maxStateFile, &list) != nil {
		return nil
	}
	return list
}

// writePeers remembers where other nodes were reached, across restarts.
func (s *stateDir) writePeers(list []wire.Peer) error {
	if list == nil {
		list = []wire.Peer{}
	}
	data, err := envelope.Encode(list)
	if err != nil {
		return err
	}
	return s.write(filePeers, data)
}
