package envelope

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	bit7s = 0x80 * ones
)

// isKey says whether all bytes are printable ASCII, and none is a space. The length is not looked at.
func isKey(b []byte) bool {
	printable, high := scan(b, 0x21)
	return printable && !high
}

// isValue says whether b is UTF-8 without control characters.
func isValue(b []byte) bool {
	printable, high := scan(b, 0x20)
	return printable && (!high || utf8.Valid(b))
}

// scan says whether each ASCII byte of b is at least low, which is 1 to 7F, and below 7F, and whether any byte is not ASCII. It
// looks at eight bytes at a time, since each message that has headers takes this way.
func scan(b []byte, low uint64) (printable, high bool) {
	add := (0x80 - low) * ones
	if len(b) < 8 {
		w := uint64('a' * ones) // for the bytes that are missing
		for _, c := range b {
			w = w<<8 | uint64(c)
		}
		return look(w, add)&bit7s == bit7s, w&bit7s != 0
	}
	last := binary.LittleEndian.Uint64(b[len(b)-8:]) // some of it is looked at twice
	good, all := look(last, add), last
	for len(b) > 16 {
		v, w := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		good &= look(v, add) & look(w, add)
		all |= v | w
		b = b[16:]
	}
	if len(b) > 8 {
		w := binary.LittleEndian.Uint64(b)
		good &= look(w, add)
		all |= w
	}
	return good&bit7s == bit7s, all&bit7s != 0
}

// look sets bit 7 of each byte of w that is not ASCII, or is neither too low nor 7F. add brings a byte that is high enough to 80
// or above; no sum leaves its byte, since bit 7 is cleared before.
func look(w, add uint64) uint64 {
	x := w &^ bit7s
	return (x + add) ^ (x + ones) | w
}
