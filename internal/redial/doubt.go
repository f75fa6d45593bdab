package redial

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/notify"
)

// doubtTime is how long a connection in doubt must last.
const doubtTime = time.Second

// inDoubt reports whether the handshake proves nothing. An nsqd that requires TLS refuses a connection
// that publishes only after it, and so does TLS 1.3 a certificate of the client. So the first connection
// is believed, but after one that ended so, the next must have lasted for a while: else the address
// would seem to be up for an instant, again and again.
func (l *line) inDoubt() bool {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	return l.doubt
}

// attachLater attaches a connection that lasts.
func (l *line) attachLater(ctx context.Context, c *conn.Conn) {
	timer := time.NewTimer(doubtTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		if !l.attach(c) {
			c.Abort(nil)
		}
	case <-ctx.Done():
		c.Abort(nil)
	case <-c.Done():
	}
}

// ended notes why a connection has ended, and returns what to tell: one that was never attached could
// not be used.
func (l *line) ended(err error) notify.Kind {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	kind := notify.Disconnect
	if l.doubt {
		kind = notify.DialError
	}
	l.doubt = l.set.cfg.Sub == nil && Lasting(err)
	return kind
}
