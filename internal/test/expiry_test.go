package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// TestExpires: when a message is too late, by its producer or its consumer, and what becomes of it.
func TestExpires(t *testing.T) {
	const hour = time.Hour
	at := func(d time.Duration) time.Time { return time.Now().Add(d) }
	hourOld := nsqx.WithSkipOlder(hour)
	for name, tt := range map[string]struct {
		opts    []nsqx.ConsumerOption
		message func() []nsqxtest.MessageOption
		stale   bool
		text    string
	}{
		"no end":  {nil, func() []nsqxtest.MessageOption { return nil }, false, ""},
		"in time": {nil, func() []nsqxtest.MessageOption { return []nsqxtest.MessageOption{nsqxtest.WithExpires(at(1))} }, false, ""},
		"expired": {nil, func() []nsqxtest.MessageOption { return []nsqxtest.MessageOption{nsqxtest.WithExpires(at(0))} }, true, "it has expired at 2000-01-02T00:00:00Z"},
		"expired long ago": {nil, func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithExpires(time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC))}
		}, true, "it has expired at"},
		"due, and expired": {nil, func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithNotBefore(at(0)), nsqxtest.WithExpires(at(-hour))}
		}, true, "it has expired at"},
		"young": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(at(-hour))}
		}, false, ""},
		"old": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(at(-hour - 1))}
		}, true, "by WithSkipOlder: it is older than 1h0m0s"},
		"from the future": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(at(5 * hour))}
		}, false, ""},
		"no timestamp": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(time.Unix(0, 0))}
		}, false, ""},
		"delayed for long": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(at(-20 * hour)), nsqxtest.WithNotBefore(at(-hour))}
		}, false, ""},
		"delayed, and old": {opts(hourOld), func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithTimestamp(at(-20 * hour)), nsqxtest.WithNotBefore(at(-hour - 1))}
		}, true, "by WithSkipOlder"},
		"a dead letter": {nil, func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithExpires(at(-hour)), nsqxtest.WithHeader(envelope.DeadTopic, "other")}
		}, false, ""},
		"not understood, and expired": {nil, func() []nsqxtest.MessageOption {
			return []nsqxtest.MessageOption{nsqxtest.WithExpires(at(-hour)), nsqxtest.WithHeader("!zip", "1")}
		}, true, "it has expired at"},
	} {
		for does, want1 := range map[string]struct {
			opts        []nsqx.ConsumerOption
			disposition handler.Disposition
		}{
			"without a dead letter": {nil, handler.Drop},
			"discarded":             {opts(nsqx.WithDiscard()), handler.Drop},
			"dead letter":           {opts(nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })), handler.DeadLetter},
		} {
			bubble(t, name+", "+does, func(t *testing.T) {
				time.Sleep(oneDay)
				called := 0
				var settled handler.Outcome
				log := &logbook{}
				c := newLoggedConsumer(t, log, func(context.Context, string) error { called++; return nil },
					append(append(opts(nsqx.WithNSQD(nsqd1), nsqx.WithHooks(observe.Hooks{OnSettle: func(m *handler.Message) { settled = m.Outcome() }})), tt.opts...), want1.opts...)...)
				out := nsqxtest.Deliver(t, c, []byte("x"), tt.message()...)
				want(t, "seen by hooks", settled, out)
				want(t, "stale", errors.Is(out.Err, handler.ErrStale), tt.stale)
				if !tt.stale {
					if name != "not understood, and expired" {
						want(t, "disposition", out.Disposition, handler.Finish)
					}
					want(t, "called", called, 1)
					want(t, "counted", c.Stats().Stale, 0)
					return
				}
				want(t, "disposition", out.Disposition, want1.disposition)
				want(t, "called", called, 0)
				want(t, "counted", c.Stats().Stale, 1)
				if !strings.Contains(out.Err.Error(), tt.text) {
					t.Errorf("the error is %v", out.Err)
				}
				if n := log.countAttrs("dropped"); n > 0 {
					t.Errorf("%d records of an error", n)
				}
			})
		}
	}
}

// TestTTL: the end counts from the publish, or from the end of the delay, and the option of a publish
// wins.
func TestTTL(t *testing.T) {
	for name, tt := range map[string]struct {
		opts  []nsqx.PublishOption
		delay time.Duration
		want  string // from now
	}{
		"of the producer":     {nil, 0, "1m0s"},
		"after a delay":       {nil, time.Hour, "1h1m0s"},
		"of the publish":      {[]nsqx.PublishOption{nsqx.TTL(time.Hour)}, 0, "1h0m0s"},
		"of a later publish":  {[]nsqx.PublishOption{nsqx.TTL(time.Hour)}, time.Hour, "2h0m0s"},
		"none of the publish": {[]nsqx.PublishOption{nsqx.TTL(0)}, time.Hour, ""},
		"two":                 {[]nsqx.PublishOption{nsqx.TTL(0), nsqx.TTL(time.Second)}, 0, "1s"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithTTL(time.Minute))
			wantKind(t, p.PublishAfter(t.Context(), tt.delay, "x", tt.opts...), nil)
			n, err := p.PublishAllAfter(t.Context(), tt.delay, []string{"x", "y"}, tt.opts...)
			wantKind(t, err, nil)
			want(t, "confirmed", n, 2)
			for _, m := range s.Published("orders") {
				h, _, _ := envelope.Split(m.Body)
				value, _ := h.Get(envelope.Expires)
				got := ""
				if end, err := time.Parse(time.RFC3339Nano, string(value)); err == nil {
					got = time.Until(end).String()
				}
				want(t, "end", got, tt.want)
			}
		})
	}
}

// TestStaleBacklog: after an outage a consumer skips what is stale, without a run, and the breaker
// takes it for neither good nor bad.
func TestStaleBacklog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithTTL(time.Hour))
		for i := range 300 {
			wantKind(t, p.Publish(t.Context(), fmt.Sprint("old ", i)), nil)
		}
		time.Sleep(2 * time.Hour)
		d := newDependency(true)
		for i := range 50 {
			wantKind(t, p.Publish(t.Context(), fmt.Sprint("new ", i)), nil)
		}
		c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
			if strings.HasPrefix(body, "old") {
				t.Errorf("%s is handled", body)
			}
			return d.handle(ctx, body)
		}, d.hook(), dead, nsqx.WithConcurrency(4))
		time.Sleep(time.Minute)
		want(t, "opened", len(d.backoffs.all()) > 0, true)
		want(t, "stale", c.Stats().Stale, 300)
		want(t, "dead letters", len(s.Published("dead")), 300)
		d.down.Store(false)
		s.Await("orders", "billing", finished(350))
	})
}

// TestStaleDeadLetterFails: a stale message whose dead letter is not confirmed is kept.
func TestStaleDeadLetterFails(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		fails := true
		c := newConsumer(t, func(context.Context, string) error { t.Error("handled"); return nil }, nsqx.WithNSQD(nsqd1),
			nsqx.WithRetry(seconds), nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error {
				if fails {
					return errOther
				}
				return nil
			}))
		expired := nsqxtest.WithExpires(time.Now())
		out := nsqxtest.Deliver(t, c, []byte("x"), expired)
		want(t, "disposition", out.Disposition, handler.Requeue)
		want(t, "delay", out.Delay, time.Second)
		want(t, "counted", c.Stats().Stale, 0)
		fails = false
		want(t, "disposition", nsqxtest.Deliver(t, c, []byte("x"), expired).Disposition, handler.DeadLetter)
		want(t, "counted", c.Stats().Stale, 1)
	})
}

// TestMaxAgeOfADelayedMessage: the age of a message begins when it may be handled.
func TestMaxAgeOfADelayedMessage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		var a arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
			return errors.Join(a.handle(ctx, body), errBill)
		}, maxAge, dead, nsqx.WithRetry(retry.Linear(25*time.Minute, 25*time.Minute)))
		due := time.Now().Add(10 * time.Hour)
		s.PublishMessage("orders", []byte("x"), nsqxtest.WithNotBefore(due))
		s.Await("orders", "billing", finished(1))
		var after []time.Duration
		for _, r := range a.all() {
			after = append(after, r.at.Sub(due))
		}
		want(t, "runs", fmt.Sprint(after), "[0s 25m0s 50m0s 1h15m0s]")
	})
}

// TestRedriveOfAStaleMessage: a redriven message has no end any more.
func TestRedriveOfAStaleMessage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRedriveServer(t)
		var a arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, a.handle, dead)
		s.PublishMessage("orders", []byte("x"), nsqxtest.WithExpires(time.Now()), nsqxtest.WithUID("7"))
		s.Await("orders", "billing", finished(1))
		want(t, "dead letters", len(s.Published("dead")), 1)
		redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{Redriven: 1}, redriveIdle+closeTime)
		s.Await("orders", "billing", finished(2))
		want(t, "runs", len(a.all()), 1)
		m := nsqxtest.Message(s.Published("orders")[0].Body)
		want(t, "message", fmt.Sprint(m.UID(), " ", string(m.Body), " ", m.Expires().IsZero()), "7 x true")
	})
}
