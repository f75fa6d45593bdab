package envelope

import (
	"errors"
	"fmt"
)

// What a [HeaderError] wraps.
var (
	ErrKey   = errors.New("a key has 1 to 127 printable ASCII characters without a space")
	ErrValue = errors.New("a value has at most 16383 bytes of UTF-8, without control characters")
)

// What a [FormatError] wraps.
var (
	// ErrMalformed: the body begins like an envelope, but is none.
	ErrMalformed = errors.New("malformed envelope")

	// ErrVersion: the envelope is newer than this package.
	ErrVersion = errors.New("envelope of a newer version")

	// ErrUnsupported: a key starts with "!", which says that the payload must not be read without understanding it.
	ErrUnsupported = errors.New("envelope with a header that must be understood")
)

// HeaderError says which header cannot be carried, and why. The value is not in it.
type HeaderError struct {
	Key string
	Err error // ErrKey or ErrValue
}

// Error quotes the key.
func (e *HeaderError) Error() string {
	return fmt.Sprintf("nsqx: header %.64q cannot be carried: %v", e.Key, e.Err)
}

// Unwrap returns what is wrong.
func (e *HeaderError) Unwrap() error { return e.Err }

// FormatError says why an envelope cannot be read. No value of a header is in it.
type FormatError struct {
	Err    error  // ErrMalformed, ErrVersion or ErrUnsupported
	Offset int    // of the byte of the body at which it was noticed
	Detail string // what is wrong there; the key if Err is ErrUnsupported; may be empty
}

// Error says what is wrong, and where.
func (e *FormatError) Error() string {
	switch {
	case e.Detail == "":
		return fmt.Sprintf("nsqx: %v, at byte %d", e.Err, e.Offset)
	case e.Err == ErrUnsupported:
		return fmt.Sprintf("nsqx: %v, at byte %d: %.64q", e.Err, e.Offset, e.Detail)
	}
	return fmt.Sprintf("nsqx: %v, at byte %d: %s", e.Err, e.Offset, e.Detail)
}

// Unwrap returns which kind of fault it is.
func (e *FormatError) Unwrap() error { return e.Err }
