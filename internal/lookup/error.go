package lookup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 256 // bytes of a text of the network in an error

// errNoTopic is how nsqlookupd says that no nsqd has the topic yet.
var errNoTopic = errors.New("no such topic")

// Error is a nsqlookupd that could not be asked, or whose answer could not be used.
type Error struct {
	Lookupd string // its address, as it was given
	Status  int    // of HTTP, or that of the answer's old form; 0 if there is no answer
	Err     error  // why; errors.Is finds context.DeadlineExceeded and the like
}

// Error names the nsqlookupd. What it wrote is cut to 256 bytes and quoted.
func (e *Error) Error() string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf("status %d: ", e.Status)
	}
	return "nsqx: nsqlookupd " + e.Lookupd + ": " + status + e.Err.Error()
}

// Unwrap returns why.
func (e *Error) Unwrap() error { return e.Err }

// said is text of the network.
type said string

func (s said) Error() string { return strconv.Quote(string(s)) }

// clean makes an error fit for a log: net/http repeats in some of its errors what came in, which may be what went out. An
// error that has to be changed loses what it wraps, which would still say it.
func clean(err error, secret string) error {
	text := err.Error()
	words, isSaid := err.(said)
	if isSaid {
		text = string(words)
	}
	safe := redact(text, secret) // before it is cut: half of the secret would not be found
	safe = safe[:min(len(safe), maxText)]
	if safe == text && (isSaid || printable(text)) {
		return err
	}
	return said(strings.Clone(safe)) // not to hold what was cut off
}

// redact takes an Authorization out of text: all of it, or without its scheme, also as %q has it.
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
