package envelope

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	bit7s = 0x80 * ones

	// Added to an ASCII byte, these set bit 7 unless the byte is too low for a key, or for a value.
	addKey   = (0x80 - 0x21) * ones
	addValue = (0x80 - 0x20) * ones
)

// isKey reports whether all bytes are printable ASCII and not spaces. It does not check the length.
func isKey(b []byte) bool { return isText(b, addKey, false) }

// isValue reports whether b is UTF-8 without control characters.
func isValue(b []byte) bool { return isText(b, addValue, true) }

// isText reports whether each ASCII byte of b is high enough (see addKey) and not 7F, and whether
// the rest is valid UTF-8, if utf allows other bytes. Every message with headers is checked, so
// isText checks eight bytes at a time.
func isText(b []byte, add uint64, utf bool) bool {
	text := b
	var good, all uint64
	if len(b) < 8 {
		w := uint64('a' * ones) // padding
		for _, c := range b {
			w = w<<8 | uint64(c)
		}
		good, all = goodBits(w, add), w
	} else {
		w := binary.LittleEndian.Uint64(b[len(b)-8:]) // may overlap the words below
		good, all = goodBits(w, add), w
	}
	for len(b) > 16 {
		v, w := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		good &= goodBits(v, add) & goodBits(w, add)
		all |= v | w
		b = b[16:]
	}
	if len(b) > 8 {
		w := binary.LittleEndian.Uint64(b)
		good &= goodBits(w, add)
		all |= w
	}
	return good&bit7s == bit7s && (all&bit7s == 0 || utf && utf8.Valid(text))
}

// goodBits sets bit 7 of each byte of w that is not ASCII, or is neither too low nor 7F. No sum
// carries into the next byte, since bit 7 is cleared first.
func goodBits(w, add uint64) uint64 {
	x := w &^ bit7s
	return (x + add) ^ (x + ones) | w
}
