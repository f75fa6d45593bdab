// Package guard calls user code: hooks, loggers, policies, mappings, codecs, discoverers, dialers,
// callbacks of TLS. User code may panic, and may call runtime.Goexit; neither ends the process or
// a goroutine of nsqx.
package guard

import (
	"context"
	"errors"
	"strings"

	"github.com/nsqx/nsqx/handler"
)

// ErrGoexit is the Value of the PanicError for user code that called runtime.Goexit, as FailNow of
// a test does.
var ErrGoexit = errors.New("nsqx: user code called runtime.Goexit")

// Context returns ctx, or [context.Background] if it is nil.
func Context(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// Call calls f in the caller's goroutine. It returns a [*handler.PanicError] if f panics, with the
// stack of the panic. If f calls runtime.Goexit the goroutine ends: use Isolate where the caller
// must survive that.
func Call(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = handler.NewPanicError(p)
		}
	}()
	f()
	return nil
}

// Finally calls f as Call does, and then end with its error: also if f calls runtime.Goexit, with a
// [*handler.PanicError] that has the stack of that call.
func Finally(f func(), end func(error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = handler.NewPanicError(ErrGoexit)
		}
		end(err)
	}()
	err = Call(f)
	returned = true
}

// Value is Call for a function that returns a value and an error.
func Value[T any](f func() (T, error)) (v T, err error) {
	if failure := Call(func() { v, err = f() }); failure != nil {
		var zero T
		return zero, failure
	}
	return v, err
}

// Isolate calls f in a goroutine of its own and waits for it. It returns a [*handler.PanicError] if
// f panics or calls runtime.Goexit. It costs a goroutine, so it is for what happens rarely.
func Isolate(f func()) error {
	done := make(chan error, 1)
	go Finally(f, func(failure error) { done <- failure })
	return <-done
}

// IsolateValue is Isolate for a function that returns a value and an error.
func IsolateValue[T any](f func() (T, error)) (v T, err error) {
	if failure := Isolate(func() { v, err = f() }); failure != nil {
		var zero T
		return zero, failure
	}
	return v, err
}

// Site returns the function that panicked, from a stack as debug.Stack formats it.
func Site(stack []byte) string {
	_, rest, found := strings.Cut(string(stack), "\npanic(")
	if !found {
		return ""
	}
	for i, line := range strings.Split(rest, "\n") { // a function and its file in turn, beginning with the file of panic
		if i%2 == 0 && i > 0 && !strings.HasPrefix(line, "runtime.") && !strings.HasPrefix(line, "panic(") {
			return line[:max(strings.LastIndexByte(line, '('), 0)] // without its arguments
		}
	}
	return ""
}
