package agentd

import "l2p/envelope"

// ExitCode returns the exit code for an error: the number of its kind, as for
// every program of l2p.
func ExitCode(err error) int { return int(envelope.KindOf(err)) }

// UsageError returns an error of kind Usage.
func UsageError(format string, args ...any) error {
	return envelope.Errorf(envelope.Usage, format, args...)
}
