package wire

import "encoding/binary"

// DecodeMessage splits the data of a message frame, in place: body aliases data, and may be empty.
//
// timestamp is when nsqd accepted the message, in nanoseconds since 1970; attempts counts deliveries from 1, and has wrapped when it is 0.
// Both are whatever the peer sent. The id is hexadecimal, so it is safe in a command.
//
// The error is a *ShortMessageError or an *IDError; the other results are zero then.
func DecodeMessage(data []byte) (timestamp int64, attempts uint16, id ID, body []byte, err error) {
	if len(data) < MessageHeaderLen {
		return 0, 0, ID{}, nil, &ShortMessageError{Len: len(data)}
	}
	p := (*ID)(data[10:MessageHeaderLen])
	if !isHex(p) {
		return 0, 0, ID{}, nil, &IDError{ID: *p}
	}
	return int64(binary.BigEndian.Uint64(data)), binary.BigEndian.Uint16(data[8:]), *p, data[MessageHeaderLen:], nil
}

const (
	everyByte = 0x0101010101010101 // times a byte: that byte, eight times
	highBits  = 0x80 * everyByte
)

// isHex asks all bytes at once, without a branch: it is asked for every message, and the answer is yes.
// (A table of 256 entries took twice as long.)
func isHex(id *ID) bool {
	return hexBits(binary.LittleEndian.Uint64(id[:8]))&hexBits(binary.LittleEndian.Uint64(id[8:]))&highBits == highBits
}

// hexBits has the high bit of each byte set if that byte of x is a hexadecimal character. Adding 0x80-k sets a byte's high bit
// from k on, so each range is what its first character reaches and the one after its last does not. A byte that carries
// may spoil the next one; but the lowest that carries has itself been judged rightly, and is no such character.
func hexBits(x uint64) uint64 {
	lower := x | 0x20*everyByte
	digit := (x + (0x80-'0')*everyByte) &^ (x + (0x7f-'9')*everyByte)
	letter := (lower + (0x80-'a')*everyByte) &^ (lower + (0x7f-'f')*everyByte)
	return digit | letter
}
