package envelope

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	bit7s = 0x80 * ones

	// What brings an ASCII byte to 80 or above, if it is not too low: in a key, in a value.
	addKey   = (0x80 - 0x21) * ones
	addValue = (0x80 - 0x20) * ones
)

// isKey says whether all bytes are printable ASCII, and none is a space. The length is not looked at.
func isKey(b []byte) bool { return isText(b, addKey, false) }

// isValue says whether b is UTF-8 without control characters.
func isValue(b []byte) bool { return isText(b, addValue, true) }

// isText says whether each ASCII byte of b is high enough, for which see add, and not 7F, and all else, if it may be there, is
// UTF-8. It looks at eight bytes at a time, since each message that has headers takes this way.
func isText(b []byte, add uint64, utf bool) bool {
	text := b
	var good, all uint64
	if len(b) < 8 {
		w := uint64('a' * ones) // for the bytes that are missing
		for _, c := range b {
			w = w<<8 | uint64(c)
		}
		good, all = look(w, add), w
	} else {
		w := binary.LittleEndian.Uint64(b[len(b)-8:]) // some of it is looked at twice
		good, all = look(w, add), w
	}
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
	return good&bit7s == bit7s && (all&bit7s == 0 || utf && utf8.Valid(text))
}

// look sets bit 7 of each byte of w that is not ASCII, or is neither too low nor 7F. No sum leaves its byte, since bit 7 is
// cleared before.
func look(w, add uint64) uint64 {
	x := w &^ bit7s
	return (x + add) ^ (x + ones) | w
}
