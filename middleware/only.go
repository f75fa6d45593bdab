package middleware

import (
	"context"

	"github.com/nsqx/nsqx/handler"
)

// Only applies mw to the messages for which match returns true; others bypass it. match sees the
// body undecoded. It is called once for each message, concurrently, and must not block.
//
// A nil match matches every message. A nil mw changes nothing.
func Only(match func(*handler.Message) bool, mw handler.Middleware) handler.Middleware {
	if match == nil || mw == nil {
		return handler.Chain(mw)
	}
	return func(next handler.Raw) handler.Raw {
		matched := mw(next)
		return func(ctx context.Context, m *handler.Message) error {
			if match(m) {
				return matched(ctx, m)
			}
			return next(ctx, m)
		}
	}
}
