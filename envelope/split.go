package envelope

import "encoding/binary"

// Is reports whether body begins like an envelope, which may still be malformed. It reads five
// bytes.
func Is(body []byte) bool {
	return len(body) >= prefix && binary.BigEndian.Uint32(body) == magic && body[4]&0xF0 == kind
}

// Split returns the headers and the payload of body, without copying. A body without an envelope
// has no headers and is all payload.
//
// The error is a [*FormatError]. If it wraps [ErrMalformed] or [ErrVersion], there are no headers
// and payload is the whole body. If it wraps [ErrUnsupported], headers and payload are returned,
// for a caller that understands the key.
func Split(body []byte) (h Header, payload []byte, err error) {
	if !Is(body) {
		return Header{}, body, nil
	}
	return split(body)
}

func split(body []byte) (Header, []byte, error) {
	if v := body[4] &^ kind; v != version {
		if v < version {
			return malformed(body, 4, "there is no version 0")
		}
		return fault(body, ErrVersion, 4, "")
	}
	n, ok := length(body[5], body[6])
	if !ok {
		return malformed(body, 5, "bit 7 is not set in the length of the header")
	}
	end := prefix + n
	if end > len(body) {
		return malformed(body, 5, "the header is longer than the body")
	}
	required := 0 // offset of the first key with a "!"
	count := 0
	for at := prefix; at < end; count++ {
		key := at + 1
		at = key + int(body[key-1]&^marked) // offset of the value's length
		switch {
		case count == maxEntries:
			return malformed(body, key-1, "there are more than 64 entries")
		case body[key-1] <= marked:
			return malformed(body, key-1, "this is not the length of a key")
		case at+2 > end:
			return malformed(body, key-1, "the key runs over the end of the header")
		case !isKey(body[key:at]):
			return malformed(body, key, "the key has characters that no key has")
		}
		v, ok := length(body[at], body[at+1])
		switch value := at + 2; {
		case !ok:
			return malformed(body, at, "bit 7 is not set in the length of a value")
		case v > end-value:
			return malformed(body, at, "the value runs over the end of the header")
		case !isValue(body[value : value+v]):
			return malformed(body, value, "the value has control characters, or is not UTF-8")
		default:
			at = value + v
		}
		if body[key] == '!' && required == 0 {
			required = key
		}
	}
	h := Header{entries: body[prefix:end:end]}
	if required > 0 {
		key, _, _ := cutEntry(body[required-1:])
		return h, body[end:], &FormatError{Err: ErrUnsupported, Offset: required, Detail: string(key)}
	}
	return h, body[end:], nil
}

func malformed(body []byte, at int, what string) (Header, []byte, error) {
	return fault(body, ErrMalformed, at, what)
}

func fault(body []byte, err error, at int, what string) (Header, []byte, error) {
	return Header{}, body, &FormatError{Err: err, Offset: at, Detail: what}
}
