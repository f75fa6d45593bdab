package pool

import (
	"context"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Lost reports whether the connection that delivered m is gone.
func Lost(m *handler.Delivery) bool {
	switch src := m.Source().(type) {
	case *conn.Conn:
		return !src.Alive()
	case nil:
		return false
	default:
		return context.Cause(src.Context()) == handler.ErrConnLost
	}
}

// Interrupted reports whether a shutdown has ended the context of m.
func Interrupted(m *handler.Delivery) bool {
	src := m.Source()
	return src != nil && context.Cause(src.Context()) == handler.ErrShutdown
}

// unanswered is the disposition of a message whose answer was not sent.
func unanswered(m *handler.Delivery) handler.Disposition {
	switch {
	case Lost(m):
		return handler.Lost
	case !m.Answerable():
		return handler.Expired
	}
	return handler.Interrupted // the drain has given it back before
}
