package middleware

import (
	"context"

	"github.com/nsqx/nsqx/handler"
)

// Recover makes a panic of the handler, or of a middleware further in, an
// error: a [*handler.PanicError] with the value and the stack of the panic.
// [runtime.Goexit] passes on.
//
// A consumer has it in its chain already, around the handler and around
// everything; one more is for a middleware that must not see those within it
// panic.
func Recover() handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) (err error) {
			returned := false
			defer func() {
				if returned { // nearly always: recover takes its time
					return
				}
				if p := recover(); p != nil {
					err = handler.NewPanicError(p)
				}
			}()
			err = next(ctx, m)
			returned = true
			return err
		}
	}
}
