package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// finisher finishes left messages, then half-closes the connection while more arrive.
type finisher struct{ left int }

func (f *finisher) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		switch f.left {
		case 0:
			c.Requeue(&msgs[i], 0) // has no effect after the half-close
		case 1:
			c.Finish(&msgs[i])
			c.CloseWrite()
			f.left--
		default:
			c.Finish(&msgs[i])
			f.left--
		}
		msgs[i].Release()
	}
}

func (*finisher) Refused(*conn.Conn, error) {}
func (*finisher) Yielded(*conn.Conn)        {}

// TestHalfClose: closing a socket with unread input discards most FINs already written (3236 of
// 4000 in a prototype). The half-close loses none, although nsqd still sends.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	const rounds, n, enough = 12, 400, 100
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, tt.nsqd...)
				for round := range rounds {
					topic := fmt.Sprintf("round%d", round)
					publish(t, s, topic, numbered("m", n)...)
					c, err := conn.Dial(context.Background(), s.Addr(), tt.conn, &conn.Subscription{Topic: topic, Channel: channel})
					if err != nil {
						t.Fatal(err)
					}
					c.SetQuota(200)
					if err := c.Serve(&finisher{left: enough}); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
					stragglers(t, s, topic, 200, n-enough) // nsqd still sends
					if got := c.Stats().Finished; got != enough {
						t.Errorf("round %d: %d FINs were written, want %d", round, got, enough)
					}
				}
			})
		})
	}
}

// TestHalfCloseMeetsCut: nsqd closes in the middle of a frame. Its close after our half-close
// proves that it has read everything, whatever it cut off.
func TestHalfCloseMeetsCut(t *testing.T) {
	begun := map[string][]byte{
		"frame":        {0, 0, 0, 40, 0, 0},
		"snappy chunk": {0, 32, 0, 0, 'x'},
		"snappy head":  {0, 32},
	}
	for name, bytes := range begun {
		t.Run(name, func(t *testing.T) {
			snappy := name != "frame"
			addr := fake.Listen(t, func(p *fake.Peer) {
				p.Identify(map[string]any{"snappy": snappy})
				if snappy {
					p.UpgradeSnappy()
				}
				p.Expect("SUB")
				p.Response("OK")
				p.HalfClosed()
				p.Conn.Write(bytes)
			})
			var cfg conn.Config
			if snappy {
				cfg.Compression = conn.Snappy
			}
			c, err := conn.Dial(context.Background(), addr, cfg, &conn.Subscription{Topic: topic, Channel: channel})
			if err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			if err := c.Serve(new(finisher)); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// TestShutdownProven: when Run returns, nsqd has read the last answer, however long that takes.
func TestShutdownProven(t *testing.T) {
	t.Parallel()
	const running, n = 32, 100
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, tt.nsqd...)
				p := testnsqd.StartProxy(t, s.Addr())
				publish(t, s, topic, numbered("m", n)...)
				g := newGated(t)
				c := newConsumer(t, g.handle, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(tt.conn),
					nsqx.WithConcurrency(running), nsqx.WithMaxInFlight(running))
				r := start(t, c)
				for range running {
					receive(t, g.began, "handlers")
				}
				var stopped atomic.Bool
				p.Tap(func(d testnsqd.Direction, b []byte) []byte {
					if d == testnsqd.ToClient { // the answer to CLS
						stopped.Store(true)
					}
					return b
				})
				r.cancel()
				eventually(t, stopped.Load, "the answer to CLS")
				p.Delay(testnsqd.ToServer, 100*time.Millisecond)
				close(g.gate)
				r.mustStop()
				if st := s.Channel(topic, channel); st.InFlight > 0 || st.Depth != n-running || st.Clients > 0 {
					t.Errorf("Run has returned, nsqd says %+v", st)
				}
			})
		})
	}
}

// TestShutdownLosesNoAnswer shuts down at many moments under full load. Each time nsqd has
// processed every answer.
func TestShutdownLosesNoAnswer(t *testing.T) {
	t.Parallel()
	const rounds, n = 12, 500
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, tt.nsqd...)
				late := 0
				for round := range rounds {
					topic := fmt.Sprintf("round%d", round)
					publish(t, s, topic, numbered("m", n)...)
					var handled atomic.Int64
					ctx, cancel := context.WithCancel(context.Background())
					enough := int64(1 + round*n/(2*rounds))
					c := newConsumerOf(t, topic, channel, func(context.Context, string) error {
						if handled.Add(1) == enough {
							cancel()
						}
						return nil
					}, nsqx.WithNSQD(s.Addr()), nsqx.WithConn(tt.conn), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(200))
					err := c.Run(ctx)
					cancel()
					if err != nil {
						t.Errorf("round %d: Run: %v", round, err)
					}
					late += stragglers(t, s, topic, 1, n-int(handled.Load()))
					if got := int(c.Stats().Finished); got != int(handled.Load()) {
						t.Errorf("round %d: %d handled, %d finished", round, handled.Load(), got)
					}
				}
				if late > rounds/4 {
					t.Errorf("a message was left in flight in %d of %d rounds", late, rounds)
				}
			})
		})
	}
}
