package codec

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF8 is the cause when [StrictUTF8] refuses a body.
var ErrUTF8 = errors.New("not valid UTF-8")

// checkUTF8 returns an error that is ErrUTF8 and says where, if encoding/json
// would decode body, or a part of it, to U+FFFD that it does not hold.
func checkUTF8(body []byte) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: byte %d", ErrUTF8, invalidByte(body))
	}
	if at := loneSurrogate(body); at >= 0 {
		return fmt.Errorf("%w: half a surrogate pair at byte %d", ErrUTF8, at)
	}
	return nil
}

// invalidByte returns the offset of the first byte that is not UTF-8.
func invalidByte(body []byte) int {
	at := 0
	for at < len(body) {
		r, size := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// loneSurrogate returns the offset of the first \u escape that is half a
// surrogate pair, or -1. Valid JSON has backslashes in strings only, and
// what is not valid is refused later, so it need not know where strings begin.
func loneSurrogate(body []byte) int {
	at := 0
	for at < len(body) {
		next := bytes.IndexByte(body[at:], '\\')
		if next < 0 {
			break
		}
		at += next
		switch r := escaped(body[at:]); {
		case r < 0:
			at += 2 // \n, \\ and the like
		case !utf16.IsSurrogate(r):
			at += 6
		case utf16.DecodeRune(r, escaped(body[at+6:])) == utf8.RuneError:
			return at
		default:
			at += 12
		}
	}
	return -1
}

// escaped returns the code unit of the \uXXXX that b starts with, or -1.
func escaped(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}
