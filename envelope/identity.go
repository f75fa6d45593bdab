package envelope

import (
	"errors"
	"time"
)

// Keys of the headers that say what a message is, when it may be handled and until when. See
// [Time] for the form of an instant.
const (
	ID        = "nsqx-id"         // of the message, over retries, copies and dead letters: see CheckID
	Key       = "nsqx-key"        // what the message belongs to, such as an account: see CheckID
	Published = "nsqx-time"       // when it was published, by the clock of the producer
	NotBefore = "nsqx-not-before" // when it may be handled first
	Expires   = "nsqx-expires"    // when it is handled no more
)

// MaxID is the most bytes of an ID or Key.
const MaxID = 255

// ErrID is what a [HeaderError] wraps for an ID or Key that is too long.
var ErrID = errors.New("an id or key has at most 255 bytes")

// CheckID returns a [*HeaderError] unless value can be the ID or Key of a message: at most 255 bytes
// of UTF-8 without control characters. key is ID or Key.
func CheckID(key, value string) error {
	if len(value) > MaxID {
		return &HeaderError{Key: key, Err: ErrID}
	}
	return check(key, value)
}

// MaxAhead is how far in the future an instant of a header may be. A message with one beyond is
// taken for faulty: no clock is so wrong, and nsqd would keep the message for ever.
const MaxAhead = 100 * 365 * 24 * time.Hour

// ErrTime is what a [HeaderError] wraps for a NotBefore or Expires that is no instant, or too far
// ahead.
var ErrTime = errors.New("a time is in RFC 3339 form, and at most 100 years ahead")

// FormatTime returns an instant as headers have it: RFC 3339 in UTC, with nanoseconds if there are
// any.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ParseTime parses the value of Published, NotBefore or Expires. The error is a [*HeaderError] with
// the key, if value is no instant or more than MaxAhead after now.
func ParseTime(key, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || time.Until(t) > MaxAhead {
		return time.Time{}, &HeaderError{Key: key, Err: ErrTime}
	}
	return t, nil
}
