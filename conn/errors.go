package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/internal/wire"
)

// Phase is a stage in the life of a connection.
type Phase string

// The phases, in the order in which a connection passes them.
const (
	PhaseDial        Phase = "dial"
	PhaseIdentify    Phase = "identify"
	PhaseTLS         Phase = "tls"
	PhaseCompression Phase = "compression"
	PhaseAuth        Phase = "auth"
	PhaseSubscribe   Phase = "subscribe"
	PhaseStream      Phase = "stream"
	PhaseClose       Phase = "close"
)

// nsqd does not offer what the Config requires. All of these are permanent: see [Error.Permanent].
var (
	// ErrNoTLS: Config.TLS is set and nsqd has no TLS. Only IDENTIFY was sent.
	ErrNoTLS = errors.New("nsqx: nsqd offers no TLS, and conn.Config.TLS requires it")
	// ErrTLSRequired: nsqd accepts no command without TLS, and Config.TLS is not set. A connection that
	// publishes ends with it soon after the handshake.
	ErrTLSRequired = errors.New("nsqx: nsqd requires TLS: set conn.Config.TLS")
	// ErrNoCompression: nsqd does not offer Config.Compression, and CompressionOptional is not set.
	ErrNoCompression = errors.New("nsqx: nsqd does not offer the compression that conn.Config.Compression requires")
	// ErrAuthRequired: nsqd requires AUTH and Config.AuthSecret is nil.
	ErrAuthRequired = errors.New("nsqx: nsqd requires AUTH, and conn.Config.AuthSecret is not set")
	// ErrAuthNotRequired: Config.RequireAuth is set and nsqd does not require AUTH.
	ErrAuthNotRequired = errors.New("nsqx: nsqd does not ask for AUTH, and conn.Config.RequireAuth is set")
	// ErrPlaintextAuth: nsqd requires AUTH on a connection without TLS, and
	// Config.AllowPlaintextAuth is not set. AuthSecret was not called and no secret was sent.
	ErrPlaintextAuth = errors.New("nsqx: nsqd requires AUTH without TLS: set conn.Config.TLS, or AllowPlaintextAuth")
	// ErrNoPermissions: nsqd accepted the secret, but it grants nothing (permission_count 0).
	ErrNoPermissions = errors.New("nsqx: the secret for AUTH grants no permissions")
)

// Error is the failure of a connection or of an attempt to connect.
type Error struct {
	Addr  string // as dialled
	Phase Phase
	Err   error
}

// Error names the address and the phase. It is one line of printable text, cut to about a kilobyte: the
// cause may quote a peer, for instance the names in a certificate.
func (e *Error) Error() string {
	return fmt.Sprintf("nsqx: nsqd %s: %s: %s", e.Addr, e.Phase, oneLine(strings.TrimPrefix(e.Err.Error(), "nsqx: ")))
}

const maxText = 1024

func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	if strings.Contains(s, "\n") { // of errors.Join
		s = strings.ReplaceAll(s, "\n", "; ")
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether a quick retry would fail the same way: a setting that does not fit
// nsqd, a certificate, a refused secret, a name that nsqd does not accept. A change of nsqd may
// still fix it, so a slow retry is worthwhile.
func (e *Error) Permanent() bool {
	for _, err := range []error{ErrNoTLS, ErrTLSRequired, ErrNoCompression, ErrAuthRequired, ErrAuthNotRequired, ErrPlaintextAuth, ErrNoPermissions} {
		if errors.Is(e.Err, err) {
			return true
		}
	}
	if isA[*RequeueDelayError](e.Err) {
		return false // it does not happen again
	}
	if err, ok := errors.AsType[*wire.ProtocolError](e.Err); ok {
		return permanentCode(err.Code)
	}
	if isA[*ConfigError](e.Err) || isA[*wire.NameError](e.Err) || isA[*net.AddrError](e.Err) || isA[*AnswerError](e.Err) {
		return true
	}
	switch e.Phase {
	case PhaseIdentify: // another kind of server listens there
		return isA[*wire.FrameSizeError](e.Err) || isA[*wire.FrameTypeError](e.Err)
	case PhaseTLS:
		return !interrupted(e.Err)
	}
	return false
}

// permanentCode reports whether the request itself is wrong. E_SUB_FAILED is not permanent: it
// passes when another consumer leaves.
func permanentCode(code string) bool {
	switch code {
	case "E_INVALID", "E_BAD_PROTOCOL", "E_BAD_BODY", "E_BAD_TOPIC", "E_BAD_CHANNEL", "E_IDENTIFY_FAILED",
		"E_AUTH_FIRST", "E_AUTH_FAILED", "E_AUTH_ERROR", "E_AUTH_DISABLED", "E_UNAUTHORIZED":
		return true
	}
	return false
}

// interrupted distinguishes a broken connection from invalid data.
func interrupted(err error) bool {
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
		os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return isA[syscall.Errno](err)
}

// isAlert reports a TLS alert of either side. TLS 1.3 refuses a client certificate after the
// handshake, so any read may return one.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// AnswerError is an unusable answer of nsqd.
type AnswerError struct {
	Command string // the command answered: "IDENTIFY", "TLS", "snappy", "deflate", "AUTH" or "SUB"
	Field   string // of a JSON answer, such as "max_rdy_count"; "" means the whole answer
	Value   string // as nsqd sent it, raw, cut to 64 bytes
	Reason  string // what is wrong
}

const maxValue = 64

// clean redacts the secret and then shortens Value; half a secret would not be found.
func (e *AnswerError) clean(t *transport) {
	value := t.redact([]byte(e.Value))
	e.Value = string(value[:min(len(value), maxValue)])
}

// Error quotes Value, so that no raw network data reaches a log.
func (e *AnswerError) Error() string {
	what := "answer"
	if e.Field != "" {
		what = e.Field
	}
	return fmt.Sprintf("nsqx: nsqd's answer to %s: %s is %q: %s", e.Command, what, e.Value, e.Reason)
}
