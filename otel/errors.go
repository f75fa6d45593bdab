package nsqotel

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// errNoReturn is the failure of a handler, or of a publish, that has ended its
// goroutine instead of returning.
var errNoReturn error = &handler.PanicError{Value: "did not return"}

// errorTypes keeps the values of error.type few. The zero value has seen none.
type errorTypes struct {
	mu   sync.Mutex
	seen map[string]bool
}

// of returns the error.type of err, "" for nil.
func (e *errorTypes) of(err error) string {
	if err == nil {
		return ""
	}
	kind, known := classify(err)
	if known {
		return kind
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.seen[kind] {
		if len(e.seen) >= maxErrorTypes {
			return errorOther
		}
		if e.seen == nil {
			e.seen = make(map[string]bool)
		}
		e.seen[kind] = true
	}
	return kind
}

// classify names an error. known says that the name is one of ours, which are
// few. The methods of err are user code, and may panic.
func classify(err error) (kind string, known bool) {
	defer func() {
		if recover() != nil {
			kind, known = errorOther, true
		}
	}()
	switch {
	case isA[*handler.PanicError](err):
		return errorPanic, true
	case isA[*envelope.FormatError](err):
		return errorEnvelope, true
	case isA[*handler.DecodeError](err):
		return errorDecode, true
	}
	if e, ok := errors.AsType[*conn.ServerError](err); ok && e.Code != "" {
		return e.Code, false
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded): // handler.ErrMessageTimeout is that, too
		return errorTimeout, true
	case errors.Is(err, context.Canceled), errors.Is(err, handler.ErrShutdown), errors.Is(err, handler.ErrConnLost): // why a handler's ctx ends
		return errorCanceled, true
	}
	return semconv.ErrorType(peel(err)).Value.AsString(), false
}

// untyped says whether an error.type is that of errors.New, errors.Join or fmt.Errorf.
func untyped(kind string) bool {
	return strings.HasPrefix(kind, "*errors.") || strings.HasPrefix(kind, "*fmt.")
}

// peel takes off what nsqx, the retry vocabulary and fmt have put around an
// error: the type of what is inside tells more.
func peel(err error) error {
	for {
		if p, ok := err.(*nsqx.PublishError); ok && p.Err != nil {
			err = p.Err
			continue
		}
		t := reflect.TypeOf(err)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if p := t.PkgPath(); p != "fmt" && !strings.HasPrefix(p, "github.com/nsqx/nsqx") && !strings.HasPrefix(p, "github.com/cenkalti/backoff/") {
			return err
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// confirmed is how many messages of a publish nsqd has confirmed although it failed.
func confirmed(err error) (n int) {
	defer func() { _ = recover() }() // its methods are user code
	if p, ok := errors.AsType[*nsqx.PublishError](err); ok {
		n = p.Confirmed
	}
	return n
}

// failure returns the error for which a delivery has failed; nil if it has not.
func failure(out handler.Outcome) error {
	switch {
	case out.Disposition == handler.Pending:
		return errNoReturn
	case out.Err != nil && again(out.Err):
		return nil
	}
	return out.Err
}

// again says whether err asks for the message to come later, without a failure.
func again(err error) (yes bool) {
	defer func() { _ = recover() }() // its methods are user code
	return retry.Of(err).Action == retry.Again
}

// describe is the text of an error as exporters take it: not too long, and UTF-8.
func describe(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "its Error method panicked"
		}
	}()
	text = err.Error()
	if len(text) > maxDescription {
		text = text[:maxDescription]
	}
	return strings.ToValidUTF8(text, "")
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
