package wire

import (
	"bytes"
	"fmt"
)

const (
	maxCode = 64  // bytes of ProtocolError.Code
	maxText = 256 // bytes of ProtocolError.Text
)

// ProtocolError is an error frame: what nsqd did not like.
type ProtocolError struct {
	// Code is the first word, as "E_FIN_FAILED". It is "" for an empty frame, and for a first word that cannot be a code:
	// longer than 64 bytes, or with bytes outside [A-Z0-9_].
	Code string

	// Text is the rest (all of it, if there is no code), cut to 256 bytes. It is the peer's, raw: control characters and
	// invalid UTF-8 are possible. Error quotes it.
	Text string
}

// ParseError reads the data of an error frame. It keeps nothing of data, and has a result for whatever the peer sends.
func ParseError(data []byte) *ProtocolError {
	code, text, _ := bytes.Cut(data, []byte(" "))
	if !isCode(code) {
		code, text = nil, data
	}
	return &ProtocolError{Code: string(code), Text: string(text[:min(len(text), maxText)])}
}

func isCode(word []byte) bool {
	for _, c := range word {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(word) > 0 && len(word) <= maxCode
}

// Error quotes what nsqd said, so that nothing of the network reaches a log raw.
func (e *ProtocolError) Error() string {
	switch {
	case e.Code == "" && e.Text == "":
		return "nsqx: nsqd sent an empty error"
	case e.Code == "":
		return fmt.Sprintf("nsqx: nsqd sent an error without a code: %q", e.Text)
	case e.Code == "E_BAD_PROTOCOL":
		return fmt.Sprintf("nsqx: nsqd sent the error %q: the peer does not speak NSQ's protocol V2; nsqd's TCP port is 4150 by default", e.Code)
	case e.Text == "":
		return fmt.Sprintf("nsqx: nsqd sent the error %q", e.Code)
	}
	return fmt.Sprintf("nsqx: nsqd sent the error %q: %q", e.Code, e.Text)
}

// Fatal reports whether nsqd closes the connection after this error. It does after all but E_FIN_FAILED, E_REQ_FAILED and E_TOUCH_FAILED,
// which say that a message is not in flight on this connection, or no longer.
func (e *ProtocolError) Fatal() bool {
	switch e.Code {
	case "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED":
		return false
	}
	return true
}
