package agentd

import (
	"fmt"
	"log/slog"

	"l2p/agentd/store"
	"l2p/envelope"
)

// RebuildIndex makes the index of a stopped node's store anew and returns what
// it did in one line. An error of kind Conflict says that the node runs, one of
// kind NotFound that there is none in the state directory.
func RebuildIndex(state string, log *slog.Logger) (string, error) {
	if state == "" {
		return "", envelope.Errorf(envelope.Usage, "agentd needs a state directory")
	}
	r, err := store.Rebuild(state, store.Options{Log: log})
	if err != nil {
		return "", err
	}
	line := fmt.Sprintf("index rebuilt: %d records, %d segments; ", r.Records, r.Segments)
	switch {
	case r.Aside == "":
		line += "there was no old index, so records up to 32 KiB come back only from other nodes"
	case r.Unreadable > 0:
		line += fmt.Sprintf("%d files of the old index can't be read, so some records up to 32 KiB come back only from other nodes; it is kept as %+q", r.Unreadable, r.Aside)
	default:
		line += fmt.Sprintf("the old index, all of it read, is kept as %+q", r.Aside)
	}
	return line, nil
}
