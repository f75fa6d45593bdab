package wire

import "encoding/binary"

// DecodeMessage decodes the data of a message frame, in place: body aliases data, and may be empty.
//
// timestamp is the time at which nsqd accepted the message, in nanoseconds since 1970. attempts
// counts deliveries from 1; after 65535 it is 0. Neither is checked. id is hexadecimal, so it is
// safe in a command.
//
// The error is a *ShortMessageError or an *IDError; the other results are zero then.
func DecodeMessage(data []byte) (timestamp int64, attempts uint16, id ID, body []byte, err error) {
	if len(data) < MessageHeaderLen {
		return 0, 0, ID{}, nil, &ShortMessageError{Len: len(data)}
	}
	p := (*ID)(data[10:MessageHeaderLen])
	if !isHex(p) {
		return 0, 0, ID{}, nil, newIDError(p)
	}
	return int64(binary.BigEndian.Uint64(data)), binary.BigEndian.Uint16(data[8:]), *p, data[MessageHeaderLen:], nil
}

const (
	everyByte = 0x0101010101010101 // times a byte: the byte, eight times
	highBits  = 0x80 * everyByte
)

// isHex checks all bytes at once, without a branch, since every message is checked. A table of 256
// entries takes twice as long.
func isHex(id *ID) bool {
	return hexBits(binary.LittleEndian.Uint64(id[:8]))&hexBits(binary.LittleEndian.Uint64(id[8:]))&highBits == highBits
}

// hexBits sets the high bit of each byte that is a hexadecimal character in x. Adding 0x80-k sets
// the high bit of the bytes from k on, so two additions select a range. A carry can falsify the
// next byte, but the lowest byte that carries is judged correctly, and is not hexadecimal.
func hexBits(x uint64) uint64 {
	lower := x | 0x20*everyByte
	digit := (x + (0x80-'0')*everyByte) &^ (x + (0x7f-'9')*everyByte)
	letter := (lower + (0x80-'a')*everyByte) &^ (lower + (0x7f-'f')*everyByte)
	return digit | letter
}
