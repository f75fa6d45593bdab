package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ShutdownError lists what a consumer's shutdown could not complete.
type ShutdownError struct {
	// Abandoned are the messages whose handlers had not returned when the shutdown timeout and one
	// second of grace were over. They were requeued if nsqd still waited for them; late results of
	// their handlers change nothing.
	Abandoned []Abandoned

	// Unanswered are messages that arrived when their connection took no more answers. nsqd
	// delivers them again after their message timeout.
	Unanswered []Abandoned

	// Unconfirmed are the connections on which nsqd has not confirmed that it read all answers: it
	// may deliver finished messages again. Each is a *conn.Error.
	Unconfirmed []error

	// Running is the number of handlers that have still not returned.
	Running int

	// HookRuns reports that a hook, or the logger, has still not returned.
	HookRuns bool

	// CallbackRuns reports that a DialContext, an AuthSecret or a net.Conn of conn.Config, a Discoverer,
	// a filter or an HTTP client has still not returned. nsqd may deliver finished messages again.
	CallbackRuns bool
}

// Abandoned identifies a message that a shutdown has left behind.
type Abandoned struct {
	NSQD, Topic, Channel string
	ID                   handler.ID
	Attempts             uint16
	Requeued             bool // false if the connection was gone, or nsqd no longer waited
}

const (
	hookRuns     = "; a hook or the logger still runs"
	callbackRuns = "; a dialer, AuthSecret, net.Conn, Discoverer, filter or HTTP client has not returned"
)

// Error lists ids and addresses.
func (e *ShutdownError) Error() string {
	var b strings.Builder
	b.WriteString("nsqx: shutdown incomplete")
	for i, a := range e.Abandoned {
		if i == 0 {
			fmt.Fprintf(&b, ": %d handlers of %s/%s did not return in time, messages", len(e.Abandoned), a.Topic, a.Channel)
		}
		fmt.Fprintf(&b, " %s@%s", a.ID, a.NSQD)
	}
	for i, a := range e.Unanswered {
		if i == 0 {
			fmt.Fprintf(&b, "; %d messages of %s/%s came too late to be given back,", len(e.Unanswered), a.Topic, a.Channel)
		}
		fmt.Fprintf(&b, " %s@%s", a.ID, a.NSQD)
	}
	for _, err := range e.Unconfirmed {
		fmt.Fprintf(&b, "; %v", err)
	}
	if e.Running > 0 {
		fmt.Fprintf(&b, "; %d handlers still run", e.Running)
	}
	if e.HookRuns {
		b.WriteString(hookRuns)
	}
	if e.CallbackRuns {
		b.WriteString(callbackRuns)
	}
	return b.String()
}

// Is reports abandoned handlers as [context.DeadlineExceeded].
func (e *ShutdownError) Is(target error) bool {
	return target == context.DeadlineExceeded && len(e.Abandoned) > 0
}

// Unwrap returns Unconfirmed.
func (e *ShutdownError) Unwrap() []error { return e.Unconfirmed }

// Empty reports whether the shutdown was complete.
func (e *ShutdownError) Empty() bool {
	return len(e.Abandoned) == 0 && len(e.Unanswered) == 0 && len(e.Unconfirmed) == 0 && e.Running == 0 && !e.HookRuns && !e.CallbackRuns
}

// CloseError says what a publisher could not complete before it had to close.
type CloseError struct {
	Unconfirmed int   // messages handed to a connection, written or not, that nsqd has not answered
	Err         error // why the publisher waited no longer for publishes; nil if none was left

	// HookRuns and CallbackRuns are those of ShutdownError.
	HookRuns, CallbackRuns bool
}

// Error gives the number of unconfirmed messages, and what has not returned.
func (e *CloseError) Error() string {
	text := "nsqx: publisher closed"
	if e.Err != nil {
		text += fmt.Sprintf(" with %d messages unconfirmed: %v", e.Unconfirmed, e.Err)
	}
	if e.HookRuns {
		text += hookRuns
	}
	if e.CallbackRuns {
		text += callbackRuns
	}
	return text
}

// Empty reports whether the publisher has completed everything.
func (e *CloseError) Empty() bool { return e.Err == nil && !e.HookRuns && !e.CallbackRuns }

// Unwrap returns Err.
func (e *CloseError) Unwrap() error { return e.Err }

// GraceError names services that had not returned when the grace of a shutdown was over.
type GraceError struct {
	Services []string
	Grace    time.Duration
}

// Error names the services.
func (e *GraceError) Error() string {
	return fmt.Sprintf("nsqx: Run: not ended within the grace of %v: %s", e.Grace, strings.Join(e.Services, ", "))
}

// Is reports it as [context.DeadlineExceeded].
func (e *GraceError) Is(target error) bool { return target == context.DeadlineExceeded }
