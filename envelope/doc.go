// Package envelope implements sealed files with authorship, and the vocabulary
// that the rest of l2p speaks: agents, their documents, recipients, refs,
// versions, records and segments.
//
// For most uses, use [Seal] and [Open]: one reads a file and writes an envelope
// for its readers, the other checks who wrote an envelope and writes what is
// inside. [RecipientOf] makes a reader of an agent's document; a [Signer] and
// the [Identity] that opens come from an agent's secrets (package keystore).
//
// Encryption is age's (age-encryption.org/v1): [Export] takes everything else
// off an envelope, and any age program with the right identity opens what is
// left. What the envelope adds is who wrote it, for whom, where it belongs, and
// a signature for every segment of 1 MiB, so that each piece proves itself to
// anybody who stores it, and nothing is let out before it is proven. Armor
// ([ArmorWriter]) makes text of it. The formats are docs/envelope.md and
// docs/keys.md.
//
// # In pieces
//
// An envelope on the ring is a header record and segments that are stored one
// by one. A [Sealer] makes both: segments first, then the header with their
// size. To open it, make an [Opener] of the header, which proves it, and give
// it the segments in any order. A node that stores them needs no secrets:
// [ParseRecord] and [VerifyRecord] check a record, [ParseSegment] and
// [Segment.Verify] a segment.
//
// # Agents
//
// A [Document] is one version of what an agent publishes about itself.
// [ParseDocument] and [VerifyChain] check documents, [SignDocument] makes them.
// A recovery document, which the key on paper signs, wins over all that the
// agent's other keys made ([Document.IsRecovery], [RevokedBy]).
// A Binding gives an agent a [Name]. Whoever checks a signature finds the
// signer's documents through [Documents].
//
// # Errors
//
// Every error has a kind ([KindOf]) that survives the wire and becomes an exit
// code. Text from an envelope (names, titles) may be hostile: print it through
// [SafeText] only.
//
// This package keeps no state and must not know of files other than the ones
// handed to it, of networks, or of where secrets are kept.
package envelope
