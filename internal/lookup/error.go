package lookup

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 256 // bytes of received text in an error

// errNoTopic reports that nsqlookupd knows no nsqd with the topic.
var errNoTopic = errors.New("no such topic")

// Error reports a failed poll or registration.
type Error struct {
	Lookupd string // address of the nsqlookupd, as given
	Status  int    // of HTTP, or of an answer in the old form; 0 without an answer
	Err     error  // the cause, such as context.DeadlineExceeded
}

// Error returns the address, the status and the cause. Received text is quoted and cut to 256
// bytes.
func (e *Error) Error() string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf("status %d: ", e.Status)
	}
	return "nsqx: nsqlookupd " + e.Lookupd + ": " + status + e.Err.Error()
}

// ErrorType is the error.type of telemetry: the status, or "" for that of the cause.
func (e *Error) ErrorType() string {
	if e.Status == 0 || e.Status == http.StatusOK {
		return ""
	}
	return strconv.Itoa(e.Status)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// said is received text.
type said string

func (s said) Error() string { return strconv.Quote(string(s)) }

// clean makes an error safe for a log. Some errors of net/http repeat received bytes, and a server
// may send the secret back. If the text must change, the result wraps nothing, since the wrapped
// error could repeat it.
func clean(err error, secret string) error {
	text := err.Error()
	words, isSaid := err.(said)
	if isSaid {
		text = string(words)
	}
	safe := redact(text, secret) // before the cut, which could split the secret
	safe = safe[:min(len(safe), maxText)]
	if safe == text && (isSaid || printable(text)) {
		return err
	}
	return said(strings.Clone(safe)) // lets the rest be collected
}

// redact replaces an Authorization in text, with or without its scheme, plain or quoted.
func redact(text, secret string) string {
	_, credentials, _ := strings.Cut(secret, " ")
	for _, s := range []string{secret, credentials} {
		if s == "" {
			continue
		}
		text = strings.ReplaceAll(text, s, "[secret]")
		quoted := strconv.Quote(s)
		text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], "[secret]")
	}
	return text
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
