// Package wire encodes and decodes the NSQ TCP protocol, version 2. It finds frames and decodes
// messages in place, appends commands to a buffer, and rejects a name, a size or a delay that nsqd
// would reject.
//
// It does no I/O and keeps no state. All functions are safe for concurrent use. Those that append
// work like the built-in append. Only errors, and a dst without capacity, are allocated.
package wire

const (
	// Magic is the first thing that a client sends. It selects version 2 of the protocol.
	Magic = "  V2"

	// IDLen is the length of a message id in bytes.
	IDLen = 16
)

// ID identifies a message: 16 hexadecimal characters, as on the wire. It is unique only within a
// topic of one nsqd.
type ID = [IDLen]byte
