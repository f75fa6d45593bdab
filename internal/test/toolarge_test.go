package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// most100 lets a consumer read at most 100 bytes of a message.
var most100 = nsqx.WithConn(conn.Config{MaxMessageSize: 100})

// wantSizeError checks that err is that of a message of 1000 bytes, and names the option.
func wantSizeError(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*conn.SizeError](err)
	if !ok || *e != (conn.SizeError{Size: 1000, Limit: 100}) || !strings.Contains(err.Error(), "raise conn.Config.MaxMessageSize") {
		t.Errorf("error is %v", err)
	}
}

// TestTooLarge: what becomes of a message above MaxMessageSize. Its connection and the messages around
// it are not affected, and no handler sees it.
func TestTooLarge(t *testing.T) {
	toFunc := func(keep error) nsqx.ConsumerOption {
		return nsqx.WithDeadLetterFunc(func(_ context.Context, m *handler.Message, err error) error {
			if m.Body != nil || m.Attempts != 3 {
				return fmt.Errorf("attempt %d with %d bytes", m.Attempts, len(m.Body))
			}
			if !errors.As(err, new(*conn.SizeError)) {
				return err
			}
			return keep
		})
	}
	mapped := func(to func(error) error) nsqx.ConsumerOption {
		return nsqx.WithErrors(func(err error) error {
			wantSizeError(t, err)
			return to(err)
		})
	}
	const policy, fallback = time.Second, 10 * time.Second
	for name, tt := range map[string]struct {
		opts     []nsqx.ConsumerOption
		requeues []time.Duration // the first delays
		ends     bool            // after them
		errs     int             // records that are errors
		policy   bool            // the options have one
	}{
		"no limit":                     {nil, []time.Duration{policy, 2 * policy, 3 * policy, 4 * policy}, false, 0, false},
		"discarded":                    {opts(max3, nsqx.WithDiscard()), []time.Duration{policy, 2 * policy}, true, 0, false},
		"dead letter func":             {opts(max3, toFunc(nil)), []time.Duration{policy, 2 * policy}, true, 0, false},
		"dead letter func that fails":  {opts(max3, toFunc(errOther)), []time.Duration{policy, 2 * policy, 3 * policy}, false, 0, false},
		"dead letter topic":            {opts(max3, dead), []time.Duration{policy, 2 * policy, 3 * policy, 4 * policy}, false, 0, false},
		"plain dead letter topic":      {opts(max3, dead, nsqx.WithPlainDeadLetter()), []time.Duration{policy, 2 * policy, 3 * policy}, false, 0, false},
		"dead letter topic at once":    {opts(nsqx.WithMaxAttempts(1), dead), []time.Duration{policy, 2 * policy, 3 * policy}, false, 1, false},
		"policy that stops, no option": {opts(nsqx.WithRetry(stop)), []time.Duration{policy, fallback, fallback}, false, 0, true},
		"policy that stops, discarded": {opts(nsqx.WithRetry(stop), nsqx.WithDiscard()), []time.Duration{policy}, true, 0, true},
		"mapped to permanent":          {opts(mapped(retry.Permanent), nsqx.WithDiscard()), nil, true, 0, false},
		"permanent, but no option":     {opts(mapped(retry.Permanent)), []time.Duration{fallback, fallback}, false, 0, false},
		"mapped to drop":               {opts(mapped(retry.Drop)), nil, true, 0, false},
		"crash guard":                  {opts(nsqx.WithCrashGuard(2), dead), []time.Duration{policy, 2 * policy, 3 * policy}, false, 0, false},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			log := new(logbook)
			var seen synced[string]
			var settled synced[handler.Outcome]
			all := opts(nsqxtest.Option(s), most100, nsqx.WithConcurrency(1), nsqx.WithHooks(nsqx.Hooks{OnSettle: func(m *handler.Message) {
				settled.add(m.Outcome())
			}}))
			if !tt.policy {
				all = append(all, nsqx.WithRetry(seconds))
			}
			c := newLoggedConsumer(t, log, func(_ context.Context, body string) error {
				seen.add(body)
				return nil
			}, append(all, tt.opts...)...)
			end := nsqxtest.Run(t, c)
			s.Publish("orders", []byte("before"), make([]byte, 1000), []byte("after"))
			time.Sleep(59 * time.Second)
			want(t, "handled", strings.Join(seen.all(), " "), "before after")
			requeues := s.Requeues("orders", "billing")
			for i, delay := range tt.requeues {
				if i >= len(requeues) || requeues[i].Delay != delay {
					t.Fatalf("requeues are %v, want the delays %v", requeues, tt.requeues)
				}
			}
			want(t, "requeued for good", len(requeues) > len(tt.requeues) && !tt.ends, !tt.ends)
			st, wire := billing(s), c.Stats().Connections[0]
			want(t, "finished", st.Finished == 3, tt.ends)
			want(t, "not finished", st.Finished == 2, !tt.ends)
			want(t, "dials", wire.Dials, 1)
			want(t, "received", wire.Received, 2+wire.TooLarge)
			want(t, "in flight", wire.InFlight, 0)
			want(t, "published", len(s.Published("dead")), 0)
			for _, out := range settled.all() {
				if out.Disposition != handler.Finish {
					wantSizeError(t, out.Err)
				}
			}
			const text = "message too large"
			if tt.errs > 0 && log.count(slog.LevelError, text) == 0 {
				t.Error("no error in the log")
			}
			time.Sleep(2 * time.Minute)
			if n := log.count(slog.LevelWarn, text) + log.count(slog.LevelError, text); n < 1 || n > 12 {
				t.Errorf("%d records in three minutes", n)
			}
			end()
		})
	}
}

// TestTooLargeOpensNoBreaker: messages that no handler sees say nothing of the handlers.
func TestTooLargeOpensNoBreaker(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, done, most100, nsqx.WithMaxInFlight(10))
		for range 300 {
			s.Publish("orders", make([]byte, 1000))
		}
		time.Sleep(time.Second)
		s.Publish("orders", []byte("good"))
		time.Sleep(time.Second)
		want(t, "finished", billing(s).Finished, 1)
		want(t, "backoff", c.Stats().Backoff, false)
		if n := c.Stats().Connections[0].TooLarge; n < 300 {
			t.Errorf("%d were too large", n)
		}
	})
}
