package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// publishVia connects the first connection, the consumer's, directly to nsqd, and all later ones,
// which publish, through p.
func publishVia(p *testnsqd.Proxy) conn.Config {
	var dials atomic.Int64
	var d net.Dialer
	return conn.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			addr = p.Addr()
		}
		return d.DialContext(ctx, network, addr)
	}}
}

// TestDeadLetterFailsF19: until nsqd confirms the dead letter, the message is requeued and never
// finished. After recovery it becomes a dead letter.
func TestDeadLetterFailsF19(t *testing.T) {
	t.Parallel()
	ok := []byte("\x00\x00\x00\x06\x00\x00\x00\x00OK")
	tests := map[string]struct {
		breaks, heals func(p *testnsqd.Proxy)
		each          bool // the dead letter may be published more than once
	}{
		"dial refused": {breaks: (*testnsqd.Proxy).Refuse, heals: (*testnsqd.Proxy).Allow},
		"cut within PUB": {
			breaks: func(p *testnsqd.Proxy) { p.CutAfter(testnsqd.ToServer, 3000) },
			heals:  func(p *testnsqd.Proxy) { p.CutAfter(testnsqd.ToServer, -1) },
		},
		"cut before OK": {
			breaks: func(p *testnsqd.Proxy) {
				p.Tap(func(d testnsqd.Direction, b []byte) []byte {
					if d == testnsqd.ToClient && bytes.Contains(b, ok) {
						p.Cut()
						return nil
					}
					return b
				})
			},
			heals: func(p *testnsqd.Proxy) { p.Tap(nil) },
			each:  true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			p := testnsqd.StartProxy(t, s.Addr())
			s.EnsureChannel("dead", channel)
			body := strings.Repeat("poison ", 1000)
			w := new(watch)
			c := newConsumer(t, func(context.Context, string) error { return retry.Permanent(errFailed) },
				nsqx.WithNSQD(s.Addr()), nsqx.WithConn(publishVia(p)), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()), at(policyDelay))
			tt.breaks(p)
			publish(t, s, topic, []byte(body))
			r := start(t, c)
			eventually(t, func() bool {
				st := s.Channel(topic, channel)
				return st.Requeued >= 2 && st.Unfinished() == 1
			}, "two requeues")
			tt.heals(p)
			finished(t, s, c, 1)
			r.mustStop()

			outcomes := w.settled()
			for i, o := range outcomes {
				want := handler.Outcome{Disposition: handler.Requeue, Delay: policyDelay}
				if i == len(outcomes)-1 {
					want = handler.Outcome{Disposition: handler.DeadLetter}
				}
				if o.outcome.Disposition != want.Disposition || o.outcome.Delay != want.Delay || int(o.attempts) != i+1 {
					t.Errorf("outcome %d is %s after %v at attempt %d (%v)", i+1, o.outcome.Disposition, o.outcome.Delay, o.attempts, o.outcome.Err)
				}
			}
			letters := 1
			if tt.each {
				// At least two; other attempts may find the nsqd in backoff.
				if letters = int(s.Channel("dead", channel).Messages); letters < 2 || letters > len(outcomes) {
					t.Errorf("%d dead letters of %d attempts", letters, len(outcomes))
				}
			}
			if got := collect(t, s, "dead", channel, letters); slices.ContainsFunc(got, func(b string) bool { return b != body }) {
				t.Error("a dead letter is not the message")
			}
		})
	}
}

// TestDeadLetterDeniedF19A3: the secret does not permit publishing the dead letter.
func TestDeadLetterDeniedF19A3(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	auth.SetMode(testnsqd.AuthOtherTopic)
	s := testnsqd.Start(t, auth.Require)
	w := new(watch)
	c := newConsumerOf(t, "other", channel, func(context.Context, string) error { return retry.Permanent(errFailed) },
		nsqx.WithNSQD(s.Addr()), nsqx.WithConn(conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}),
		nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()), at(policyDelay))
	publish(t, s, "other", []byte("m"))
	r := start(t, c)
	eventually(t, func() bool { return s.Channel("other", channel).Requeued >= 2 }, "two requeues")
	r.mustStop()
	if st := s.Channel("other", channel); st.Unfinished() != 1 {
		t.Errorf("nsqd says %+v, want the message kept", st)
	}
	for _, o := range w.settled() {
		if e, ok := errors.AsType[*conn.ServerError](o.outcome.Err); !ok || e.Code != "E_UNAUTHORIZED" || o.outcome.Disposition != handler.Requeue {
			t.Errorf("outcome %s with %v", o.outcome.Disposition, o.outcome.Err)
		}
	}
}

// TestAuthExpiresA4: nsqd checks a secret again and the auth server fails. Dead letters cannot be
// published, so messages are requeued until it recovers. The consumer's own connection, which nsqd
// does not check again, stays.
func TestAuthExpiresA4(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	auth.SetTTL(1)
	s := testnsqd.Start(t, auth.Require)
	s.EnsureChannel("dead", channel)
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return retry.Permanent(errFailed) },
		nsqx.WithNSQD(s.Addr()), nsqx.WithConn(conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}),
		nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()), at(policyDelay))
	publish(t, s, topic, []byte("before"))
	r := start(t, c)
	finished(t, s, c, 1)
	auth.SetMode(testnsqd.AuthError)
	time.Sleep(1100 * time.Millisecond) // more than the TTL
	publish(t, s, topic, []byte("after"))
	eventually(t, func() bool { return s.Channel(topic, channel).Requeued >= 3 }, "three requeues")
	if err := c.Healthy(); err != nil {
		t.Errorf("healthy: %v", err)
	}
	auth.SetMode(testnsqd.AuthOK)
	finished(t, s, c, 2)
	r.mustStop()
	for _, o := range w.settled() {
		e, ok := errors.AsType[*conn.ServerError](o.outcome.Err)
		if o.outcome.Disposition == handler.Requeue && (!ok || e.Code != "E_AUTH_FAILED") {
			t.Errorf("outcome with %v", o.outcome.Err)
		}
	}
	if link := c.Stats().Connections[0]; link.Dials != 1 {
		t.Errorf("connection %+v", link)
	}
	if got := collect(t, s, "dead", channel, 2, nsqx.WithConn(conn.Config{AuthSecret: secret, AllowPlaintextAuth: true})); !slices.Equal(got, []string{"after", "before"}) {
		t.Errorf("dead letters %q", got)
	}
}

// TestDeadLetterElsewhere: if the nsqd that delivered the message accepts no dead letter, another
// one gets it.
func TestDeadLetterElsewhere(t *testing.T) {
	t.Parallel()
	a, b := testnsqd.Start(t), testnsqd.Start(t)
	p := testnsqd.StartProxy(t, a.Addr())
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return retry.Permanent(errFailed) },
		nsqx.WithNSQD(p.Addr(), b.Addr()), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	w.connected(t, 2)
	p.Refuse()
	publish(t, a, topic, []byte("m"))
	finished(t, a, c, 1)
	r.mustStop()
	if got := collect(t, b, "dead", channel, 1); got[0] != "m" {
		t.Errorf("dead letters %q", got)
	}
	if got := dispositions(w); !slices.Equal(got, []handler.Disposition{handler.DeadLetter}) {
		t.Errorf("outcomes %v", got)
	}
}

// TestDeadLetterFunc: the function may fail, and may take longer than the message timeout because
// the message is touched meanwhile.
func TestDeadLetterFunc(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const timeout = 2 * time.Second
		s := testnsqd.Start(t, messageTimeout(timeout))
		w, book := new(watch), newLedger()
		var calls atomic.Int64
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			return errFailed
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithMaxAttempts(1), nsqx.WithHooks(w.hooks()), at(policyDelay),
			nsqx.WithDeadLetterFunc(func(ctx context.Context, m *handler.Message, err error) error {
				if string(m.Body) != "m" || err != errFailed {
					t.Errorf("asked to keep %q for %v", m.Body, err)
				}
				if calls.Add(1) == 1 {
					return errDomain
				}
				time.Sleep(5 * timeout / 2) // longer than the message timeout
				return ctx.Err()
			}))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		want := []handler.Outcome{{Disposition: handler.Requeue, Delay: policyDelay}, {Disposition: handler.DeadLetter}}
		checkOutcomes(t, w, book.of("m"), want)
		checkCounts(t, s, c.Stats(), want)
	})
}

// TestDeadLetterAtShutdown: a message that fails permanently during the drain still becomes a dead
// letter. If nsqd does not confirm it in time, the message is requeued.
func TestDeadLetterAtShutdown(t *testing.T) {
	t.Parallel()
	for name, frozen := range map[string]bool{"confirmed": false, "not confirmed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			p := testnsqd.StartProxy(t, s.Addr())
			s.EnsureChannel("dead", channel)
			began, release := make(chan struct{}, 1), make(chan struct{})
			c := newConsumer(t, func(context.Context, string) error {
				began <- struct{}{}
				await(t, release)
				return retry.Permanent(errFailed)
			}, nsqx.WithNSQD(s.Addr()), nsqx.WithConn(publishVia(p)), nsqx.WithDeadLetter("dead"),
				nsqx.WithConcurrency(1), nsqx.WithShutdownTimeout(2*time.Second))
			publish(t, s, topic, []byte("m"))
			r := start(t, c)
			receive(t, began, "the handler")
			if frozen {
				p.Freeze(testnsqd.ToClient)
			}
			r.cancel()
			close(release)
			err := r.stop()
			p.Thaw(testnsqd.ToClient)

			st := s.Channel(topic, channel)
			if !frozen && (err != nil || st.Unfinished() > 0) {
				t.Errorf("Run: %v; nsqd says %+v", err, st)
			}
			letters := 1
			if frozen {
				letters = 0
			}
			collect(t, s, "dead", channel, letters)
			if frozen && (!isA[*nsqx.ShutdownError](err) || st.Depth != 1 || st.InFlight > 0) {
				t.Errorf("Run: %v; nsqd says %+v, want the message requeued", err, st)
			}
		})
	}
}
