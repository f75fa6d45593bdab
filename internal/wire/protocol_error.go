package wire

import (
	"bytes"
	"fmt"
)

const (
	maxCode = 64  // bytes of ProtocolError.Code
	maxText = 256 // bytes of ProtocolError.Text
)

// ProtocolError is an error frame of nsqd.
type ProtocolError struct {
	// Code is the first word, such as "E_FIN_FAILED". It is "" if the frame is empty, or if the
	// first word is longer than 64 bytes or has bytes outside [A-Z0-9_].
	Code string

	// Text is the rest of the frame, or all of it if there is no code, cut to 256 bytes. It may
	// contain control characters and invalid UTF-8. Error quotes it.
	Text string
}

// ParseError parses the data of an error frame, which may be anything. It does not keep data.
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

// Error quotes Code and Text, so no raw bytes of the network reach a log.
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

// Fatal reports whether nsqd closes the connection after this error. Only E_FIN_FAILED,
// E_REQ_FAILED and E_TOUCH_FAILED are not fatal: they report a message that is not in flight on
// this connection.
func (e *ProtocolError) Fatal() bool {
	switch e.Code {
	case "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED":
		return false
	}
	return true
}
