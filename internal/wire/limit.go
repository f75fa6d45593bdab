package wire

import (
	"fmt"
	"math"
)

// BodyError reports a message, or a batch of messages, that nsqd would refuse as empty or too long.
type BodyError struct {
	Len  int    // bytes; for a batch, all bytes of MPUB after its first length
	Max  int    // bytes
	Kind string // "body", "bodies" for the batch, or "bodies[2]" for a message of it; "" means "body"
}

func (e *BodyError) Error() string {
	kind := e.Kind
	if kind == "" {
		kind = "body"
	}
	if e.Len == 0 {
		return fmt.Sprintf("nsqx: %s: empty, which nsqd answers by closing the connection: leave it out", kind)
	}
	return fmt.Sprintf("nsqx: %s: %d bytes, above the limit of %d: publish less at a time, or raise the limit here and in nsqd",
		kind, e.Len, e.Max)
}

// ErrorType returns the code of the error that nsqd would have sent.
func (e *BodyError) ErrorType() string {
	if e.Kind == "bodies" {
		return "E_BAD_BODY"
	}
	return "E_BAD_MESSAGE"
}

// CheckBody returns a *BodyError unless body has 1 to max bytes. nsqd's limit is -max-msg-size, 1
// MiB by default.
func CheckBody(body []byte, max int) error {
	if len(body) == 0 || len(body) > max {
		return &BodyError{Len: len(body), Max: max, Kind: "body"}
	}
	return nil
}

// CheckBodies returns a *BodyError unless bodies fit one MPUB: at least one message, each valid by
// CheckBody(body, maxMessage), and at most maxBody bytes in total, including 4 for the count and 4
// for the length of each. nsqd's limit for the total is -max-body-size, 5 MiB by default.
func CheckBodies(bodies [][]byte, maxMessage, maxBody int) error {
	if len(bodies) == 0 {
		return &BodyError{Max: maxBody, Kind: "bodies"}
	}
	for i, body := range bodies {
		if len(body) == 0 || len(body) > maxMessage {
			return &BodyError{Len: len(body), Max: maxMessage, Kind: fmt.Sprintf("bodies[%d]", i)}
		}
	}
	if n := batchLen(bodies); n > int64(maxBody) {
		return &BodyError{Len: int(min(n, math.MaxInt)), Max: maxBody, Kind: "bodies"}
	}
	return nil
}

// DelayError reports a delay that nsqd would refuse.
type DelayError struct {
	MS, Max int64 // milliseconds
}

func (e *DelayError) Error() string {
	if e.MS < 0 {
		return fmt.Sprintf("nsqx: delay of %d ms is negative: use 0 to %d ms", e.MS, e.Max)
	}
	return fmt.Sprintf("nsqx: delay of %d ms is above the limit of %d ms: shorten it, raise the limit here and in nsqd (-max-req-timeout), or publish in an envelope, which carries any delay",
		e.MS, e.Max)
}

// ErrorType returns the code of the error that nsqd would have sent.
func (e *DelayError) ErrorType() string { return "E_INVALID" }

// CheckDelay returns a *DelayError unless ms is from 0 to max, in milliseconds. nsqd's limit is
// -max-req-timeout, 1 h by default.
func CheckDelay(ms, max int64) error {
	if ms < 0 || ms > max {
		return &DelayError{MS: ms, Max: max}
	}
	return nil
}
