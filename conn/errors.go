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

	"github.com/nsqx/nsqx/internal/wire"
)

// Phase is the part of a connection's life in which something failed.
type Phase string

// The phases, in the order in which a connection goes through them.
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

// What nsqd offers does not fit what the Config requires. All of them are permanent: see [Error.Permanent].
var (
	// ErrNoTLS: Config.TLS is set, and nsqd has no TLS. Nothing but IDENTIFY has been sent.
	ErrNoTLS = errors.New("nsqx: nsqd offers no TLS, and conn.Config.TLS requires it")
	// ErrNoCompression: nsqd does not offer Config.Compression, and CompressionOptional is not set.
	ErrNoCompression = errors.New("nsqx: nsqd does not offer the compression that conn.Config.Compression requires")
	// ErrAuthRequired: nsqd wants AUTH, and Config.AuthSecret is nil.
	ErrAuthRequired = errors.New("nsqx: nsqd requires AUTH, and conn.Config.AuthSecret is not set")
	// ErrAuthNotRequired: Config.RequireAuth is set, and nsqd does not ask for AUTH.
	ErrAuthNotRequired = errors.New("nsqx: nsqd does not ask for AUTH, and conn.Config.RequireAuth is set")
	// ErrPlaintextAuth: nsqd wants AUTH on a connection without TLS, and Config.AllowPlaintextAuth is not set. The secret has been
	// neither asked for nor sent.
	ErrPlaintextAuth = errors.New("nsqx: nsqd requires AUTH without TLS: set conn.Config.TLS, or AllowPlaintextAuth")
	// ErrNoPermissions: nsqd took the secret, but it grants nothing (permission_count 0).
	ErrNoPermissions = errors.New("nsqx: the secret for AUTH grants no permissions")
)

// Error is what prevents or ends a connection.
type Error struct {
	Addr  string // as it was dialled
	Phase Phase
	Err   error
}

// Error names the address and the phase.
func (e *Error) Error() string {
	return fmt.Sprintf("nsqx: nsqd %s: %s: %s", e.Addr, e.Phase, strings.TrimPrefix(e.Err.Error(), "nsqx: "))
}

// Unwrap returns what happened.
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether a quick retry would meet the same: a setting that does not fit nsqd, a certificate, a refused secret,
// a name that nsqd does not take. It may still heal, when somebody changes nsqd, so it is worth a slow retry.
func (e *Error) Permanent() bool {
	for _, err := range []error{ErrNoTLS, ErrNoCompression, ErrAuthRequired, ErrAuthNotRequired, ErrPlaintextAuth, ErrNoPermissions} {
		if errors.Is(e.Err, err) {
			return true
		}
	}
	if err, ok := errors.AsType[*wire.ProtocolError](e.Err); ok {
		return permanentCode(err.Code)
	}
	if isA[*ConfigError](e.Err) || isA[*wire.NameError](e.Err) || isA[*net.AddrError](e.Err) || isA[*AnswerError](e.Err) {
		return true
	}
	switch e.Phase {
	case PhaseIdentify: // something else listens there
		return isA[*wire.FrameSizeError](e.Err) || isA[*wire.FrameTypeError](e.Err)
	case PhaseTLS:
		return !interrupted(e.Err)
	}
	return false
}

// permanentCode says which of nsqd's errors are about what was asked for. E_SUB_FAILED is not: with too many consumers on
// a channel it passes when one leaves.
func permanentCode(code string) bool {
	switch code {
	case "E_INVALID", "E_BAD_PROTOCOL", "E_BAD_BODY", "E_BAD_TOPIC", "E_BAD_CHANNEL", "E_IDENTIFY_FAILED",
		"E_AUTH_FIRST", "E_AUTH_FAILED", "E_AUTH_ERROR", "E_AUTH_DISABLED", "E_UNAUTHORIZED":
		return true
	}
	return false
}

// interrupted tells a connection that broke from one whose bytes were not what they should be.
func interrupted(err error) bool {
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
		os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return isA[syscall.Errno](err)
}

// isAlert reports whether the peer, or our side, ended TLS. With TLS 1.3 a client certificate is refused after the handshake,
// so this may come with any read.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// AnswerError is an answer of nsqd that cannot be worked with.
type AnswerError struct {
	Command string // what it answers: "IDENTIFY", "TLS", "snappy", "deflate", "AUTH" or "SUB"
	Field   string // of a JSON answer, as "max_rdy_count"; "" if it is about all of the answer
	Value   string // as nsqd sent it, raw, cut to 64 bytes
	Reason  string // what is wrong with it
}

const maxValue = 64

// clean makes an AnswerError that may be shown. The secret goes first: half of it would not be found.
func (e *AnswerError) clean(t *transport) {
	value := t.redact([]byte(e.Value))
	e.Value = string(value[:min(len(value), maxValue)])
}

// Error quotes what nsqd sent, so that nothing of the network reaches a log raw.
func (e *AnswerError) Error() string {
	what := "answer"
	if e.Field != "" {
		what = e.Field
	}
	return fmt.Sprintf("nsqx: nsqd's answer to %s: %s is %q: %s", e.Command, what, e.Value, e.Reason)
}
