package envelope

import (
	"errors"
	"fmt"
)

// The errors that a [HeaderError] wraps.
var (
	ErrKey   = errors.New("a key has 1 to 127 printable ASCII characters without a space")
	ErrValue = errors.New("a value has at most 16383 bytes of UTF-8, without control characters")
)

// The errors that a [FormatError] wraps.
var (
	// ErrMalformed: the body begins like an envelope but is not one.
	ErrMalformed = errors.New("malformed envelope")

	// ErrVersion: the envelope is newer than this package.
	ErrVersion = errors.New("envelope of a newer version")

	// ErrUnsupported: a key starts with "!". The payload must not be used without understanding it.
	ErrUnsupported = errors.New("envelope with a header that must be understood")
)

// HeaderError reports a header that an envelope cannot carry, or whose value does not have the form
// that its key demands. It does not contain the value.
type HeaderError struct {
	Key string
	Err error // ErrKey, ErrValue, ErrID or ErrTime
}

// Error quotes the key, cut to 64 characters.
func (e *HeaderError) Error() string {
	if e.Err == ErrTime {
		return fmt.Sprintf("nsqx: header %.64q cannot be read: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("nsqx: header %.64q cannot be carried: %v", e.Key, e.Err)
}

// Unwrap returns Err.
func (e *HeaderError) Unwrap() error { return e.Err }

// FormatError reports an envelope that cannot be read. It contains no value of a header.
type FormatError struct {
	Err    error  // ErrMalformed, ErrVersion or ErrUnsupported
	Offset int    // of the byte of the body where the error was found
	Detail string // what is wrong there, or the key if Err is ErrUnsupported; may be empty
}

// Error returns the kind of error, the offset and the detail.
func (e *FormatError) Error() string {
	switch {
	case e.Detail == "":
		return fmt.Sprintf("nsqx: %v, at byte %d", e.Err, e.Offset)
	case e.Err == ErrUnsupported:
		return fmt.Sprintf("nsqx: %v, at byte %d: %.64q", e.Err, e.Offset, e.Detail)
	}
	return fmt.Sprintf("nsqx: %v, at byte %d: %s", e.Err, e.Offset, e.Detail)
}

// Unwrap returns ErrMalformed, ErrVersion or ErrUnsupported.
func (e *FormatError) Unwrap() error { return e.Err }
