package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestRedrive: Redrive keeps to its rate, and ends when nothing has come for the idle time.
func TestRedrive(t *testing.T) {
	tests := map[string]struct {
		to   string
		opts []nsqx.RedriveOption
		gap  time.Duration // between messages
	}{
		"by default":      {gap: 10 * time.Millisecond},
		"to a topic":      {to: "elsewhere", gap: 10 * time.Millisecond},
		"fast":            {opts: []nsqx.RedriveOption{nsqx.WithRedriveRate(1e6)}, gap: time.Microsecond},
		"one each second": {opts: []nsqx.RedriveOption{nsqx.WithRedriveRate(1), nsqx.WithRedriveIdle(100 * time.Millisecond)}, gap: time.Second},
		"one in 100 s":    {opts: []nsqx.RedriveOption{nsqx.WithRedriveRate(0.01)}, gap: 100 * time.Second}, // beyond the message timeout
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			const n = 12
			s := newRedriveServer(t)
			s.Publish("dead", deadLetters(n)...)
			pause := redriveIdle
			if name == "one each second" {
				pause = 100 * time.Millisecond
			}
			r := redrive(t.Context(), t, s, tt.to, tt.opts...)
			r.want(nsqx.RedriveReport{Redriven: n}, (n-1)*tt.gap+pause+closeTime)
			to := tt.to
			if to == "" {
				to = "orders"
			}
			var last time.Time
			var got []string
			for _, p := range s.Published(to) {
				if !last.IsZero() && p.Time.Sub(last) != tt.gap {
					t.Errorf("a message came %v after another, want %v", p.Time.Sub(last), tt.gap)
				}
				last = p.Time
				_, payload := splitHeaders(p.Body)
				got = append(got, payload)
			}
			slices.Sort(got)
			want(t, "messages", strings.Join(got, " "), "0 1 10 11 2 3 4 5 6 7 8 9")
			st := s.Stats("dead", "redrive")
			want(t, "state", st, nsqxtest.ChannelStats{Finished: n})
		})
	}
}

// originHeaders are those of the first redrive of a letter of deadLetterOf.
const originHeaders = "nsqx-origin-topic=orders\nnsqx-origin-channel=billing\nnsqx-origin-time=2000-01-01T01:30:00Z\nnsqx-redrives=1"

// TestRedriveHeaders: a redriven message has its own headers, and those that name its origin. For all
// channels it equals the original, if that had no headers.
func TestRedriveHeaders(t *testing.T) {
	malformed := []byte("\xC1\xCE\xD3\xD1\x11\x80\x85abcde")
	var many []string
	for i := range 50 {
		many = append(many, "key-"+strconv.Itoa(i), strings.Repeat("v", 200))
	}
	watched := nsqx.WithTelemetry(tracer{headers: []string{"traceparent", trace2, "tracestate", "s=2", "baggage", "b=2"}})
	tests := map[string]struct {
		body []byte
		opts []nsqx.ConsumerOption
	}{
		"plain":                {body: []byte("7")},
		"plain, observed":      {body: []byte("7"), opts: opts(watched)},
		"headers":              {body: withHeaders("7", "tenant", "acme", "b", "", "content-type", "text/plain")},
		"headers, observed":    {body: withHeaders("7", "tenant", "acme"), opts: opts(watched)},
		"trace":                {body: withHeaders("7", "traceparent", trace1, "tenant", "acme", "baggage", "b=2"), opts: opts(watched)},
		"trace, not observed":  {body: withHeaders("7", "traceparent", trace1, "tracestate", "s=1")},
		"more than is written": {body: withHeaders("7", many...)},
		"must be understood":   {body: withHeaders("7", "!zip", "1", "tenant", "acme")},
		"malformed":            {body: malformed},
		"malformed, observed":  {body: malformed, opts: opts(watched)},
		"redriven before":      {body: withHeaders("7", "traceparent", trace2), opts: opts(watched)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			letter, _ := deadLetterOf(t, tt.body, errBill, tt.opts...)
			for observed, redriveOpts := range map[string][]nsqx.RedriveOption{"not observed": nil, "observed": {watched}} {
				bubble(t, observed, func(t *testing.T) {
					s := newRedriveServer(t)
					s.Publish("dead", letter)
					opts := append(slices.Clone(redriveOpts), nsqx.WithRedriveAllChannels())
					r := redrive(handler.WithHeader(t.Context(), "of", "ctx"), t, s, "", opts...)
					r.want(nsqx.RedriveReport{Redriven: 1}, redriveIdle+closeTime)
					had, _ := splitHeaders(tt.body)
					if had == "" {
						want(t, "message", published(s, "orders"), string(tt.body))
						return
					}
					has, payload := splitHeaders([]byte(published(s, "orders")))
					want(t, "headers", has, had+"\n"+originHeaders)
					want(t, "payload", payload, "7")
				})
			}
		})
	}
}

// TestRedriveOfNoDeadLetter: a message that is not a dead letter is redriven unchanged, if a topic
// is given.
func TestRedriveOfNoDeadLetter(t *testing.T) {
	bodies := map[string][]byte{
		"plain": []byte("7"), "headers": withHeaders("7", "traceparent", trace1, "tracestate", "x=y", "baggage", "a=1"),
		"malformed": []byte("\xC1\xCE\xD3\xD1\x11\x80\x85abcde"), "too new": []byte("\xC1\xCE\xD3\xD1\x12\x80\x80payload"),
	}
	for name, body := range bodies {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			s.Publish("dead", body)
			redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{NoOrigin: 1}, redriveIdle+closeTime)
			want(t, "dead letters", lettersLeft(s), 1)
			time.Sleep(2 * redriveIdle) // until the requeue delay is over
			redrive(t.Context(), t, s, "orders").want(nsqx.RedriveReport{Redriven: 1}, redriveIdle+closeTime)
			want(t, "message", published(s, "orders"), string(body))
		})
	}
}

// TestRedriveNoOrigin: messages without a valid origin stay, however many there are before the
// others.
func TestRedriveNoOrigin(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRedriveServer(t)
		var slow atomic.Int64
		s.On("REQ", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			if slow.Add(1) <= 30 {
				return nsqxtest.Proceed().After(time.Second)
			}
			return nsqxtest.Proceed()
		})
		for range 10 {
			s.Publish("dead", []byte("x"), withHeaders("x", envelope.DeadTopic, "a b"), withHeaders("x", envelope.DeadTopic, "dead"))
		}
		s.Publish("dead", deadLetters(2)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveRate(1), nsqx.WithRedriveIdle(4*time.Second))
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 2, NoOrigin: 30})
		want(t, "error", r.err, nil)
		want(t, "dead letters", lettersLeft(s), 30)
	})
}

// TestRedriveIdle: each message restarts the idle time, and messages in flight are waited for.
func TestRedriveIdle(t *testing.T) {
	bubble(t, "none", func(t *testing.T) {
		redrive(t.Context(), t, newRedriveServer(t), "").want(nsqx.RedriveReport{}, redriveIdle+closeTime)
	})
	bubble(t, "now and then", func(t *testing.T) {
		s := newRedriveServer(t)
		for i, letter := range deadLetters(3) {
			s.PublishMessage("dead", letter, nsqxtest.WithDelay(time.Duration(i+1)*(redriveIdle-time.Second)))
		}
		redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{Redriven: 3}, 3*(redriveIdle-time.Second)+redriveIdle+closeTime)
	})
	bubble(t, "slow", func(t *testing.T) {
		s := newRedriveServer(t)
		onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Proceed().After(7 * time.Second)
		}, s)
		s.Publish("dead", deadLetters(4)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveRate(1), nsqx.WithRedriveIdle(100*time.Millisecond))
		r.want(nsqx.RedriveReport{Redriven: 4}, 28*time.Second+100*time.Millisecond+closeTime)
	})
	bubble(t, "an hour", func(t *testing.T) { // nsqd's longest requeue delay
		s, log := newRedriveServer(t), new(logbook)
		s.Publish("dead", []byte("no origin"))
		report, err := nsqx.Redrive(t.Context(), "dead", "", s.Option(), nsqx.WithLogger(slog.New(log)), nsqx.WithRedriveIdle(time.Hour))
		want(t, "report", report, nsqx.RedriveReport{NoOrigin: 1})
		want(t, "error", err, nil)
		want(t, "delay", s.Requeues("dead", "redrive")[0].Delay, time.Hour)
		want(t, "warnings", log.count(slog.LevelWarn, ""), 0)
	})
	bubble(t, "nsqd is not there yet", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(3)...)
		s.Refuse(true)
		time.AfterFunc(time.Minute, func() { s.Refuse(false) })
		r := redrive(t.Context(), t, s, "")
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 3})
	})
}

// TestRedriveLimit: Redrive publishes exactly as many messages as allowed, and does not touch the
// others.
func TestRedriveLimit(t *testing.T) {
	for _, limit := range []int{1, 5, 12} {
		bubble(t, fmt.Sprint(limit), func(t *testing.T) {
			s := newRedriveServer(t)
			s.Publish("dead", deadLetters(12)...)
			redrive(t.Context(), t, s, "", nsqx.WithRedriveLimit(limit)).
				want(nsqx.RedriveReport{Redriven: limit}, time.Duration(limit-1)*10*time.Millisecond+closeTime)
			want(t, "messages", len(s.Published("orders")), limit)
			want(t, "dead letters", lettersLeft(s), 12-limit)
			want(t, "waiting", s.Stats("dead", "redrive").Deferred, 0)
		})
	}
	bubble(t, "slow", func(t *testing.T) { // the other messages are not requeued again and again meanwhile
		s := newRedriveServer(t)
		onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Proceed().After(15 * time.Second)
		}, s)
		s.Publish("dead", deadLetters(100)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveLimit(1))
		r.want(nsqx.RedriveReport{Redriven: 1}, 15*time.Second+closeTime)
		if n := s.Stats("dead", "redrive").Requeued; n > 10 {
			t.Errorf("%d dead letters were moved about", n)
		}
	})
	bubble(t, "after a failure", func(t *testing.T) {
		s := newRedriveServer(t)
		failFirst(s, 2, nsqxtest.HangUp())
		s.Publish("dead", deadLetters(9)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveLimit(7), nsqx.WithRedriveRate(5))
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 7, Failed: 2})
		want(t, "messages", len(s.Published("orders")), 7)
	})
	bubble(t, "after a loss", func(t *testing.T) { // of the connection, while messages wait
		s := newRedriveServer(t, nsqxtest.WithMessageTimeout(2*time.Second))
		s.Publish("dead", deadLetters(4)...)
		time.AfterFunc(3*time.Second, func() {
			for _, c := range s.Conns() {
				if c.Topic() == "dead" {
					c.Disconnect()
				}
			}
		})
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveLimit(4), nsqx.WithRedriveRate(0.5), nsqx.WithRedriveIdle(30*time.Second))
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 4})
		if r.took > 15*time.Second {
			t.Errorf("it waited for more: %v", r.took)
		}
	})
}

// TestRedriveFailures: a message whose publish is not confirmed is redriven again; none is lost.
func TestRedriveFailures(t *testing.T) {
	tests := map[string]struct {
		action nsqxtest.Action
		failed int
	}{
		"refused":      {nsqxtest.Fail("E_UNAUTHORIZED not allowed"), 3}, // it stays
		"cut":          {nsqxtest.HangUp(), 3},
		"reset":        {nsqxtest.Reset(), 3},
		"unanswered":   {nsqxtest.Drop(), 3},
		"wrong answer": {nsqxtest.Respond("NO"), 3},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			failFirst(s, 3, tt.action)
			s.Publish("dead", deadLetters(6)...)
			r := redrive(t.Context(), t, s, "", nsqx.WithRedriveRate(2), nsqx.WithConn(conn.Config{PublishTimeout: 3 * time.Second}))
			want(t, "failures", r.report.Failed, tt.failed)
			want(t, "error", r.err, nil)
			left := 0
			if name == "refused" {
				left = 3
			}
			want(t, "redriven", r.report.Redriven, 6-left)
			want(t, "dead letters", lettersLeft(s), left)
			want(t, "messages", len(s.Published("orders")), 6-left)
			if st := s.Stats("dead", "redrive"); st.Requeued < 3 || st.TimedOut > 0 {
				t.Errorf("state: %+v", st)
			}
		})
	}
	bubble(t, "forever", func(t *testing.T) { // the longest delay of a failed message, one minute, is less than the idle time
		s := newRedriveServer(t)
		onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Fail("E_UNAUTHORIZED no")
		}, s)
		s.Publish("dead", deadLetters(3)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		r := redrive(ctx, t, s, "", nsqx.WithRedriveIdle(10*time.Minute))
		want(t, "error", r.err, nil)
		want(t, "report", r.report, nsqx.RedriveReport{Failed: 3})
		want(t, "dead letters", lettersLeft(s), 3)
	})
}

// TestRedriveEnds: when ctx ends, publishes in flight are confirmed or their messages stay; all
// others stay at once.
func TestRedriveEnds(t *testing.T) {
	tests := map[string]struct {
		action nsqxtest.Action
		done   int
		took   time.Duration
	}{
		"confirmed": {nsqxtest.Proceed().After(3 * time.Second), 1, 3*time.Second + closeTime},
		"never":     {nsqxtest.Drop(), 0, time.Second + 20*time.Second + closeTime},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return tt.action }, s)
			s.Publish("dead", deadLetters(30)...)
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second+headStart, func() { cancel(why) })
			r := redrive(ctx, t, s, "", nsqx.WithRedriveRate(0.2), nsqx.WithConn(conn.Config{PublishTimeout: time.Minute}))
			wantErr(t, "error", r.err, context.Canceled)
			wantErr(t, "error", r.err, why)
			want(t, "report", r.report, nsqx.RedriveReport{Redriven: tt.done, Failed: 1 - tt.done})
			want(t, "took", r.took, tt.took)
			want(t, "dead letters", lettersLeft(s), 30-tt.done)
			want(t, "waiting", s.Stats("dead", "redrive").Depth, 30-tt.done)
		})
	}
	bubble(t, "waiting", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(64)...)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond+headStart)
		defer cancel()
		r := redrive(ctx, t, s, "")
		wantErr(t, "error", r.err, context.DeadlineExceeded)
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 3})
		want(t, "took", r.took, 25*time.Millisecond+closeTime)
		want(t, "waiting", s.Stats("dead", "redrive").Depth, 61)
	})
	bubble(t, "before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(3)...)
		r := redrive(ctx, t, s, "")
		wantErr(t, "error", r.err, context.Canceled)
		want(t, "report", r.report, nsqx.RedriveReport{})
		want(t, "messages", len(s.Published("orders")), 0)
	})
	bubble(t, "no nsqd", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Refuse(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := redrive(ctx, t, s, "")
		wantErr(t, "error", r.err, context.DeadlineExceeded)
		want(t, "took", r.took, time.Minute-headStart)
	})
}

// TestRedriveLoop: the consumer gives up the redriven messages again. They stay, and do not keep
// Redrive running.
func TestRedriveLoop(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRedriveServer(t)
		var sick atomic.Bool
		sick.Store(true)
		var handled atomic.Int64
		_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			time.Sleep(headStart)
			if sick.Load() {
				return retry.Permanent(errBill)
			}
			handled.Add(1)
			return nil
		}, dead)
		publish(s, 20)
		s.Await("orders", "billing", finished(20))
		redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{Redriven: 20, Newer: 20}, 190*time.Millisecond+redriveIdle+closeTime)
		want(t, "dead letters", lettersLeft(s), 20)

		sick.Store(false)
		time.Sleep(2 * redriveIdle)
		redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{Redriven: 20}, 190*time.Millisecond+redriveIdle+closeTime)
		want(t, "dead letters", lettersLeft(s), 0)
		want(t, "handled", handled.Load(), 20)
	})
}

// TestRedriveChannel: WithRedriveChannel replaces the default channel, which is not created.
func TestRedriveChannel(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(2)...)
		redrive(t.Context(), t, s, "", nsqx.WithRedriveChannel("archive")).want(nsqx.RedriveReport{Redriven: 2}, 10*time.Millisecond+redriveIdle+closeTime)
		want(t, "finished", s.Stats("dead", "archive").Finished, 2)
		want(t, "of the default", s.Stats("dead", "redrive"), nsqxtest.ChannelStats{})
	})
}

// TestRedriveFaults: one error has all faults, and nothing is started.
func TestRedriveFaults(t *testing.T) {
	at := nsqx.WithNSQD(nsqd1)
	tests := map[string]struct {
		from, to string
		opts     []nsqx.RedriveOption
		want     string
	}{
		"from":      {from: "a b", opts: []nsqx.RedriveOption{at}, want: "topic"},
		"to":        {from: "dead", to: "a b", opts: []nsqx.RedriveOption{at}, want: "to"},
		"the same":  {from: "dead", to: "dead", opts: []nsqx.RedriveOption{at}, want: "to"},
		"nsqds":     {from: "dead", opts: []nsqx.RedriveOption{nil, nsqx.WithRedriveLimit(1)}, want: "WithNSQD"},
		"channel":   {from: "dead", opts: []nsqx.RedriveOption{at, nsqx.WithRedriveChannel("")}, want: "WithRedriveChannel"},
		"HTTP":      {from: "dead", opts: []nsqx.RedriveOption{at, nsqx.WithRedriveHTTP("a", "b"), nsqx.WithRedriveHTTP(nsqd1, "a:1"), nsqx.WithRedriveHTTP(nsqd1, "a:1")}, want: "WithRedriveHTTP"},
		"all twice": {from: "dead", opts: []nsqx.RedriveOption{at, nsqx.WithRedriveAllChannels(), nsqx.WithRedriveAllChannels()}, want: "WithRedriveAllChannels"},
		"twice": {from: "dead", opts: []nsqx.RedriveOption{at, at, nsqx.WithRedriveChannel("a"), nsqx.WithRedriveChannel("b"),
			nsqx.WithRedriveRate(1), nsqx.WithRedriveRate(1), nsqx.WithRedriveLimit(1), nsqx.WithRedriveLimit(1),
			nsqx.WithRedriveIdle(time.Second), nsqx.WithRedriveIdle(time.Second)},
			want: "WithRedriveChannel WithRedriveRate WithRedriveLimit WithRedriveIdle WithNSQD"},
		"all": {from: "", to: "?", opts: []nsqx.RedriveOption{nsqx.WithRedriveRate(0.009), nsqx.WithRedriveLimit(0),
			nsqx.WithRedriveIdle(99 * time.Millisecond), nsqx.WithLogger(nil)},
			want: "WithRedriveRate WithRedriveLimit WithRedriveIdle to WithLogger topic WithNSQD"},
		"too much": {from: "dead", opts: []nsqx.RedriveOption{at, nsqx.WithRedriveRate(1e6 + 1), nsqx.WithRedriveIdle(time.Hour + 1)},
			want: "WithRedriveRate WithRedriveIdle"},
		"no number": {from: "dead", opts: []nsqx.RedriveOption{at, nsqx.WithRedriveRate(math.NaN())}, want: "WithRedriveRate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			report, err := nsqx.Redrive(t.Context(), tt.from, tt.to, tt.opts...)
			want(t, "report", report, nsqx.RedriveReport{})
			var got []string
			for _, fault := range optionErrors(err) {
				got = append(got, fault.Option)
			}
			want(t, "faults", strings.Join(slices.Compact(got), " "), tt.want)
		})
	}
}
