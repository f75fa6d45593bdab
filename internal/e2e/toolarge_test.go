package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestTooLarge: nsqd takes larger messages than the consumer. They are requeued, and given up at the
// third attempt, over one connection, on which all other messages are handled.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	const small, large, size = 200, 20, 300_000
	for _, c := range []conn.Compression{conn.NoCompression, conn.Snappy, conn.Deflate} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			ca := testnsqd.NewAuthority(t)
			s := testnsqd.Start(t, ca.Serve, func(o *nsqd.Options) { o.MaxMsgSize = 4 << 20 })
			var bodies [][]byte
			for i := range small {
				bodies = append(bodies, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 1000)))
				if i%(small/large) == 0 {
					bodies = append(bodies, bytes.Repeat([]byte("large"), size/5))
				}
			}
			publish(t, s, topic, bodies...)
			handled, given := make(chan string, len(bodies)), make(chan error, 2*large)
			cfg := conn.Config{MaxMessageSize: 10_000, Compression: c}
			if c != conn.Deflate {
				cfg.TLS = ca.ClientConfig()
			}
			consumer := newConsumer(t, func(_ context.Context, body string) error {
				handled <- body
				return nil
			}, nsqx.WithNSQD(s.Addr()), nsqx.WithConn(cfg), at(50*time.Millisecond), nsqx.WithMaxAttempts(3),
				nsqx.WithDeadLetterFunc(func(_ context.Context, m *handler.Message, err error) error {
					if m.Attempts != 3 || m.Body != nil {
						err = fmt.Errorf("attempt %d, %d bytes", m.Attempts, len(m.Body))
					}
					given <- err
					return nil
				}))
			r := start(t, consumer)
			finished(t, s, consumer, small+large)
			for range large {
				err := receive(t, given, "a message that is given up")
				if e, ok := errors.AsType[*conn.SizeError](err); !ok || *e != (conn.SizeError{Size: size, Limit: 10_000}) {
					t.Error(err)
				}
			}
			if len(handled) != small {
				t.Errorf("%d messages were handled, want %d", len(handled), small)
			}
			st := consumer.Stats().Connections[0]
			if st.Dials != 1 || st.TooLarge != 3*large || st.Received != small+3*large || st.InFlight != 0 {
				t.Errorf("connection: %+v", st)
			}
			r.mustStop()
		})
	}
}
