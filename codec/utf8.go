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

// checkUTF8 returns ErrUTF8, with an offset, if encoding/json would substitute U+FFFD in body.
func checkUTF8(body []byte) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: byte %d", ErrUTF8, invalidByte(body))
	}
	if at := loneSurrogate(body); at >= 0 {
		return fmt.Errorf("%w: half a surrogate pair at byte %d", ErrUTF8, at)
	}
	return nil
}

// invalidByte returns the offset of the first invalid byte.
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

// loneSurrogate returns the offset of the first \u escape that is half a surrogate pair, or -1. It
// need not know where strings begin: valid JSON has backslashes only in strings, and invalid JSON
// fails later.
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

// escaped returns the code unit of the \uXXXX at the start of b, or -1.
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
