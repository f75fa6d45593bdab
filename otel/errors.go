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
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// errNoReturn is the failure of a handler or publish that did not return.
var errNoReturn error = &handler.PanicError{Value: "did not return"}

// errorTypes limits the number of error.type values. The zero value is ready to use.
type errorTypes struct {
	mu   sync.Mutex
	seen map[string]bool
}

// of returns the error.type of err, or "" for nil.
func (e *errorTypes) of(err error) string {
	if err == nil {
		return ""
	}
	kind, fixed := classify(err)
	if fixed {
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

// classify returns the type of err. fixed is true for the types of this package, which errorTypes
// does not count. The methods of err are user code and may panic.
func classify(err error) (kind string, fixed bool) {
	defer func() {
		if recover() != nil {
			kind, fixed = errorOther, true
		}
	}()
	switch {
	case isA[*handler.PanicError](err):
		return errorPanic, true
	case errors.Is(err, handler.ErrStale):
		return errorStale, true
	case isA[*envelope.FormatError](err):
		return errorEnvelope, true
	case isA[*handler.DecodeError](err):
		return errorDecode, true
	case errors.Is(err, observe.ErrNoTopic):
		return errorNoTopic, true
	}
	if e, ok := errors.AsType[*conn.ServerError](err); ok && e.Code != "" {
		return e.Code, false
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded): // includes handler.ErrMessageTimeout
		return errorTimeout, true
	case errors.Is(err, context.Canceled), errors.Is(err, handler.ErrShutdown), errors.Is(err, handler.ErrConnLost): // causes of a handler's context
		return errorCanceled, true
	case errors.Is(err, observe.ErrNoNSQD):
		return errorNoNSQD, true
	}
	err = unwrap(err)
	if strings.HasPrefix(typeOf(err).PkgPath(), module+"/internal/") && !hasErrorType(err) {
		return errorProtocol, true // of the wire, or of nsqlookupd: a type that no user knows
	}
	return semconv.ErrorType(err).Value.AsString(), false
}

// isUntyped reports whether kind is the type of errors.New, errors.Join or fmt.Errorf.
func isUntyped(kind string) bool {
	return strings.HasPrefix(kind, "*errors.") || strings.HasPrefix(kind, "*fmt.")
}

// module is the import path of nsqx.
const module = "github.com/nsqx/nsqx"

// typeOf returns the type of err, or what it points to.
func typeOf(err error) reflect.Type {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// hasErrorType reports whether err names its own type.
func hasErrorType(err error) bool {
	e, ok := err.(interface{ ErrorType() string })
	return ok && e.ErrorType() != ""
}

// unwrap removes the wrappers of nsqx, retry, backoff and fmt: the type of the error inside says
// more.
func unwrap(err error) error {
	for !hasErrorType(err) {
		if p, ok := err.(*nsqx.PublishError); ok && p.Err != nil {
			err = p.Err
			continue
		}
		if p := typeOf(err).PkgPath(); p != "fmt" && !strings.HasPrefix(p, module) && !strings.HasPrefix(p, "github.com/cenkalti/backoff/") {
			return err
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
	return err
}

// confirmed returns how many messages of a failed publish nsqd has confirmed.
func confirmed(err error) (n int) {
	defer func() { _ = recover() }() // the methods of err are user code
	if p, ok := errors.AsType[*nsqx.PublishError](err); ok {
		n = p.Confirmed
	}
	return n
}

// failure returns the error of a failed delivery, or nil if it did not fail.
func failure(out handler.Outcome) error {
	switch {
	case out.Disposition == handler.Pending:
		return errNoReturn
	case out.Err != nil && asksAgain(out.Err):
		return nil
	}
	return out.Err
}

// asksAgain reports whether err asks for a later delivery without a failure.
func asksAgain(err error) (yes bool) {
	defer func() { _ = recover() }() // the methods of err are user code
	return retry.Of(err).Action == retry.Again
}

// describe returns the text of err for a span status: UTF-8, of at most maxDescription bytes.
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
