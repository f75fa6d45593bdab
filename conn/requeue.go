package conn

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RequeueDelayError is the end of a connection because of a REQ. nsqd up to 1.0.0 accepts no delay above
// its --max-req-timeout; later versions shorten it silently.
type RequeueDelayError struct {
	Max time.Duration // what nsqd accepts
	Err *ServerError
}

// Error names the setting to change.
func (e *RequeueDelayError) Error() string {
	return fmt.Sprintf("%v: this nsqd ends the connection for a requeue delay above its --max-req-timeout, so delays are cut to %v from now on: see WithMaxRequeueDelay", e.Err, e.Max)
}

// Unwrap returns nsqd's error.
func (e *RequeueDelayError) Unwrap() error { return e.Err }

// requeueDelay returns the hint in nsqd's error "REQ timeout 5000000000 out of range 0-1000000000"; nil
// if it is none.
func requeueDelay(err *ServerError) *RequeueDelayError {
	text, ok := strings.CutPrefix(err.Text, "REQ timeout ")
	if !ok || err.Code != "E_INVALID" {
		return nil
	}
	_, most, ok := strings.Cut(text, " out of range 0-")
	ns, bad := strconv.ParseInt(most, 10, 64)
	if !ok || bad != nil || ns < int64(time.Millisecond) {
		return nil
	}
	return &RequeueDelayError{Max: time.Duration(ns).Truncate(time.Millisecond), Err: err}
}

// requeueMillis returns the delay of a REQ: rounded up, and at most what nsqd accepts.
func (c *Conn) requeueMillis(delay time.Duration) int64 {
	delay = max(delay, 0)
	if most := c.sub.MaxRequeueDelay; most > 0 {
		delay = min(delay, most)
	}
	ms := delay.Milliseconds()
	if delay > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return ms
}
