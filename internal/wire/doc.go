// Package wire speaks the bytes of the NSQ TCP protocol, version 2: it finds frames and decodes messages in place, appends commands
// to a buffer, and says what is wrong with a name, a size or a delay before nsqd does.
//
// It does no I/O and keeps no state. All functions may be called concurrently; those that append follow the
// conventions of the built-in append. Nothing allocates but errors, and a dst that has to grow.
package wire

const (
	// Magic is the first thing a client sends. It asks for version 2 of the protocol.
	Magic = "  V2"

	// IDLen is the length of a message id in bytes.
	IDLen = 16
)

// ID identifies a message: 16 hexadecimal characters as they are on the wire. It is unique per nsqd and topic only.
type ID = [IDLen]byte
