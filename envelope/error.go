package envelope

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// What a [HeaderError] wraps.
var (
	ErrKey   = errors.New("a key has 1 to 127 printable ASCII characters without a space")
	ErrValue = errors.New("a value has at most 16383 bytes of UTF-8, without control characters")
)

const (
	maxKey   = 127
	maxValue = 16383
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

func check(key, value string) error {
	if !validKey(key) {
		return &HeaderError{Key: key, Err: ErrKey}
	}
	if !validValue(value) {
		return &HeaderError{Key: key, Err: ErrValue}
	}
	return nil
}

func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return 0 < len(key) && len(key) <= maxKey
}

func validValue(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] == 0x7F {
			return false
		}
	}
	return len(value) <= maxValue && utf8.ValidString(value)
}
