package wire

import "fmt"

// FrameSizeError reports a frame that is shorter than its type field, or longer than its type
// allows.
type FrameSizeError struct {
	Size uint32 // as on the wire: bytes after the size itself
	Max  int    // the largest valid Size
	Hint string // what the peer is, if its first bytes identify it; otherwise ""
}

func newFrameSizeError(size uint32, limit int64) error {
	return &FrameSizeError{Size: size, Max: int(limit), Hint: hint(size)}
}

// hint recognizes some peers other than nsqd by their first 4 bytes, here decoded as a size.
func hint(size uint32) string {
	switch {
	case size == 'H'<<24|'T'<<16|'T'<<8|'P':
		return "this is an HTTP port; nsqd's TCP port is 4150 by default"
	case size == 'S'<<24|'S'<<16|'H'<<8|'-':
		return "this is an SSH port; nsqd's TCP port is 4150 by default"
	case size>>16 == 0x1503, size>>16 == 0x1603: // an alert or a handshake record, of any TLS version
		return "the peer speaks TLS from the first byte, as an HTTPS port or a TLS proxy does; " +
			"nsqd begins in clear text, on port 4150 by default, and upgrades after IDENTIFY"
	}
	return ""
}

func (e *FrameSizeError) Error() string {
	switch {
	case e.Hint != "":
		return fmt.Sprintf("nsqx: not a frame of nsqd (size %d): %s", e.Size, e.Hint)
	case e.Size < typeLen:
		return fmt.Sprintf("nsqx: frame size %d is below %d: the stream is corrupt, or the peer is not nsqd", e.Size, typeLen)
	}
	return fmt.Sprintf("nsqx: frame size %d is above %d: allow larger messages if nsqd's -max-msg-size does; "+
		"otherwise the stream is corrupt, or the peer is not nsqd", e.Size, e.Max)
}

// FrameTypeError reports a frame that is not a response, an error or a message.
type FrameTypeError struct {
	Type FrameType
}

func (e *FrameTypeError) Error() string {
	// nsqlookupd answers Magic with a size and "E_BAD_PROTOCOL", but no type.
	if e.Type == 'E'<<24|'_'<<16|'B'<<8|'A' {
		return "nsqx: not a frame of nsqd: this is the TCP port of nsqlookupd; " +
			"nsqd's is 4150 by default, and discovery asks nsqlookupd's HTTP port, 4161 by default"
	}
	return fmt.Sprintf("nsqx: frame type %d is none of 0 (response), 1 (error), 2 (message): "+
		"the stream is corrupt, or the peer is not nsqd", int32(e.Type))
}

// ShortMessageError reports a message frame that is shorter than a message header.
type ShortMessageError struct {
	Len int // bytes of data
}

func (e *ShortMessageError) Error() string {
	return fmt.Sprintf("nsqx: message of %d bytes is shorter than its header of %d: the stream is corrupt, or the peer is not nsqd",
		e.Len, MessageHeaderLen)
}

// IDError reports a message id that is not 16 hexadecimal characters. Such an id must not be sent:
// with a newline in the id, the peer could inject commands. It has none of the bytes: in a corrupt
// stream they may be anything, such as a secret.
type IDError struct {
	At int // offset in the id of the first byte that is wrong
}

func newIDError(id *ID) error {
	at := 0
	for at < IDLen-1 && isHexByte(id[at]) {
		at++
	}
	return &IDError{At: at}
}

func isHexByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (e *IDError) Error() string {
	return fmt.Sprintf("nsqx: message id is not %d hexadecimal characters, from byte %d on: the stream is corrupt, or the peer is not nsqd",
		IDLen, e.At)
}
