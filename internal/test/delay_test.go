package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

const oneDay = 24 * time.Hour

// arrival is a run of a handler.
type arrival struct {
	body     string
	at       time.Time
	attempts int
}

// arrivals records the runs of a handler.
type arrivals struct{ synced[arrival] }

func (a *arrivals) handle(ctx context.Context, body string) error {
	a.add(arrival{body, time.Now(), int(handler.FromContext(ctx).Attempts)})
	return nil
}

// consumeOn is consume for another channel.
func consumeOn(t *testing.T, channel string, s *nsqxtest.Server, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c, err := nsqx.NewConsumer("orders", channel, codec.String(), fn, append(opts, s.Option(), nsqx.WithLogger(discard))...)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, c)
	synctest.Wait()
	return c
}

// wantOnTime checks that each of bodies was handled once, within a second after due, and in at most
// attempts deliveries.
func (a *arrivals) wantOnTime(t *testing.T, due time.Time, attempts int, bodies ...string) {
	t.Helper()
	var got []string
	for _, r := range a.all() {
		got = append(got, r.body)
		if late := r.at.Sub(due); late < 0 || late > time.Second {
			t.Errorf("%s was handled %v after its time", r.body, late)
		}
		if r.attempts > attempts {
			t.Errorf("%s was handled at delivery %d, want at most %d", r.body, r.attempts, attempts)
		}
	}
	slices.Sort(got)
	want(t, "handled", strings.Join(got, " "), strings.Join(bodies, " "))
}

// TestPublishAtInThreeDays: a message waits for three days on two channels of an nsqd that keeps it
// for an hour. Each channel handles it once, within a second of its time, and all attempts are left.
func TestPublishAtInThreeDays(t *testing.T) {
	for name, forgotten := range map[string]bool{"deferred by nsqd": false, "the topic had no channel": true} {
		bubble(t, name, func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(100*oneDay))
			s := servers[0]
			due := time.Now().Add(3 * oneDay)
			var billing, mailing arrivals
			var spans synced[string]
			telemetry := nsqx.WithTelemetry(&telemetry{middleware: func(next handler.Raw) handler.Raw {
				return func(ctx context.Context, m *handler.Message) error {
					spans.add(m.String())
					return next(ctx, m)
				}
			}})
			c, _ := consume(t, servers, billing.handle, max3, dead, telemetry)
			fails := func(ctx context.Context, body string) error { return errors.Join(mailing.handle(ctx, body), errBill) }
			d := consumeOn(t, "mailing", s, fails, max3, dead, nsqx.WithRetry(retry.Linear(0, 0)))
			if forgotten {
				s.PublishMessage("orders", []byte("x"), nsqxtest.WithNotBefore(due))
			} else {
				p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
				wantKind(t, p.PublishAt(t.Context(), due, "x"), nil)
				want(t, "commands", len(s.Commands("DPUB")), 1)
				want(t, "delay", s.Published("orders")[0].Delay, time.Hour)
			}
			s.Await("orders", "billing", finished(1))
			s.Await("orders", "mailing", finished(1))
			most := 72
			if forgotten {
				most++
			}
			billing.wantOnTime(t, due, most, "x")
			mailing.wantOnTime(t, due, most+2, "x", "x", "x") // the attempts of MaxAttempts
			want(t, "dead letters", d.Stats().DeadLettered, 1)
			st := c.Stats()
			want(t, "came early", int(st.Early), most-1)
			want(t, "given back", st.GivenBack, 0)
			want(t, "observed", len(spans.all()), 1)
			for _, r := range s.Requeues("orders", "billing") {
				if r.Delay > time.Hour {
					t.Errorf("requeued for %v", r.Delay)
				}
			}
		})
	}
}

// TestPublishAfterTwoChannels: a delay that nsqd has forgotten holds on each channel, and makes no
// copies.
func TestPublishAfterTwoChannels(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxRequeueTimeout(200*time.Millisecond))
		var a, b arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, a.handle)
		consumeOn(t, "mailing", s, b.handle)
		due := time.Now().Add(3 * time.Second)
		var bodies []string
		for i := range 20 {
			s.PublishMessage("orders", []byte(fmt.Sprint("m", 10+i)), nsqxtest.WithNotBefore(due))
			bodies = append(bodies, fmt.Sprint("m", 10+i))
		}
		s.Await("orders", "billing", finished(20))
		s.Await("orders", "mailing", finished(20))
		time.Sleep(oneDay)
		a.wantOnTime(t, due, 16, bodies...)
		b.wantOnTime(t, due, 16, bodies...)
	})
}

// TestPublishAllAfter: several values go out in one command, and wait on the channel.
func TestPublishAllAfter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		var a arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, a.handle)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		due := time.Now().Add(2 * time.Hour)
		n, err := p.PublishAllAfter(t.Context(), 2*time.Hour, []string{"a", "b", "c"})
		wantKind(t, err, nil)
		want(t, "n", n, 3)
		want(t, "commands", len(s.Commands("MPUB")), 1)
		n, err = p.PublishAll(t.Context(), []string{"d", "e"}, nsqx.At(due))
		wantKind(t, err, nil)
		want(t, "n", n, 2)
		s.Await("orders", "billing", finished(5))
		a.wantOnTime(t, due, 3, "a", "b", "c", "d", "e")
		plain := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		_, err = plain.PublishAllAfter(t.Context(), time.Second, []string{"a", "b"})
		wantKind(t, err, nsqx.ErrRejected)
		want(t, "text", strings.Contains(err.Error(), "unless they are published in an envelope"), true)
		_, err = p.PublishAllAfter(t.Context(), -1, []string{"a", "b"})
		wantKind(t, err, nsqx.ErrRejected)
	})
}

// TestDelayInput: delays and times that are not as they should be.
func TestDelayInput(t *testing.T) {
	future := func(d time.Duration) time.Time { return time.Now().Add(d) }
	years := envelope.MaxAhead
	bubble(t, "", func(t *testing.T) {
		time.Sleep(oneDay)
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		plain := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		ctx := t.Context()
		for name, tt := range map[string]struct {
			err   error
			text  string // of an ErrRejected
			delay time.Duration
		}{
			"past":                   {p.PublishAt(ctx, future(-time.Hour), "x"), "", 0},
			"long past":              {p.PublishAt(ctx, time.Unix(-1<<40, 0), "x"), "", 0},
			"now":                    {p.PublishAt(ctx, time.Now(), "x"), "", 0},
			"zero":                   {p.PublishAt(ctx, time.Time{}, "x"), "At is the zero time", 0},
			"zero, an option":        {p.Publish(ctx, "x", nsqx.At(time.Time{})), "At is the zero time", 0},
			"no delay":               {p.PublishAfter(ctx, 0, "x"), "", 0},
			"100 years":              {p.PublishAt(ctx, future(years), "x"), "", time.Hour},
			"beyond 100 years":       {p.PublishAt(ctx, future(years+time.Second), "x"), "100 years ahead at most", 0},
			"the last time":          {p.PublishAt(ctx, time.Unix(1<<60, 0), "x"), "100 years ahead at most", 0},
			"after 100 years":        {p.PublishAfter(ctx, years+time.Minute, "x"), "at most 100 years ahead", 0},
			"the longest":            {p.PublishAfter(ctx, 1<<63-1, "x"), "at most 100 years ahead", 0},
			"before now":             {p.PublishAfter(ctx, -1, "x"), "is negative", 0},
			"the option wins":        {p.PublishAfter(ctx, time.Minute, "x", nsqx.At(future(time.Second))), "", time.Second},
			"the last option wins":   {p.Publish(ctx, "x", nsqx.At(future(time.Minute)), nsqx.At(future(time.Second))), "", time.Second},
			"asynchronous":           {async(p, "x", nsqx.At(future(time.Minute))), "", time.Minute},
			"asynchronous, zero":     {async(p, "x", nsqx.At(time.Time{})), "At is the zero time", 0},
			"plain":                  {plain.PublishAt(ctx, future(time.Minute), "x"), "", time.Minute},
			"plain, long":            {plain.PublishAfter(ctx, 2*time.Hour, "x"), "publish in an envelope", 0},
			"plain, an end":          {plain.Publish(ctx, "x", nsqx.TTL(time.Hour)), "TTL needs WithEnvelope", 0},
			"an end before now":      {p.Publish(ctx, "x", nsqx.TTL(-1)), "TTL is -1ns", 0},
			"an end in 1000 years":   {p.Publish(ctx, "x", nsqx.TTL(1<<63-1)), "TTL is 2562047h", 0},
			"delay and end, beyond":  {p.PublishAfter(ctx, years, "x", nsqx.TTL(time.Hour)), "at most 100 years ahead", 0},
			"a header of the user":   {p.Publish(ctx, "x", nsqx.Header(envelope.NotBefore, "tomorrow")), "RFC 3339", 0},
			"a header for long":      {p.Publish(ctx, "x", nsqx.Header(envelope.Expires, "9000-01-01T00:00:00Z")), "at most 100 years ahead", 0},
			"a header that is right": {p.Publish(ctx, "x", nsqx.Header(envelope.NotBefore, "2000-01-02T00:00:00Z")), "", 0},
		} {
			if tt.text == "" {
				wantErr(t, name, tt.err, nil)
				continue
			}
			wantKind(t, tt.err, nsqx.ErrRejected)
			if !strings.Contains(fmt.Sprint(tt.err), tt.text) {
				t.Errorf("%s: %v, want %q", name, tt.err, tt.text)
			}
		}
		var delays []time.Duration
		for _, m := range s.Published("orders") {
			delays = append(delays, m.Delay)
		}
		slices.Sort(delays)
		want(t, "delays", fmt.Sprint(delays), "[0s 0s 0s 0s 0s 1s 1s 1m0s 1m0s 1h0m0s]")
	})
}

// async publishes and waits for the result.
func async(p *nsqx.Producer[string], v string, opts ...nsqx.PublishOption) error {
	done := make(chan error, 1)
	if err := p.PublishAsync(context.Background(), v, func(err error) { done <- err }, opts...); err != nil {
		return err
	}
	return <-done
}

// TestDelayCountsFromTheCall: the wait for an nsqd is part of the delay.
func TestDelayCountsFromTheCall(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithPublishTimeout(time.Hour))
		time.AfterFunc(time.Minute, func() { s.Refuse(false) })
		began := time.Now()
		wantKind(t, p.PublishAfter(t.Context(), 10*time.Minute, "x"), nil)
		m := s.Published("orders")[0]
		want(t, "waited", m.Time.After(began.Add(50*time.Second)), true)
		want(t, "due", m.Time.Add(m.Delay).Sub(began).Round(10*time.Millisecond), 10*time.Minute)
	})
}

// TestDelayOverARestart: nsqd forgets delays when it stops. The messages wait all the same.
func TestDelayOverARestart(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		var a arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, a.handle)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		due := time.Now().Add(30 * time.Minute)
		wantKind(t, p.PublishAt(t.Context(), due, "x"), nil)
		time.Sleep(time.Minute)
		s.Stop()
		time.Sleep(time.Minute)
		s.Start("")
		s.Await("orders", "billing", finished(1))
		a.wantOnTime(t, due, 2, "x")
	})
}

// TestHostileNotBefore: a message with a time that is none, or too far ahead, goes the way of a
// payload that does not decode, and its dead letter is not held.
func TestHostileNotBefore(t *testing.T) {
	for _, key := range []string{envelope.NotBefore, envelope.Expires} {
		for _, value := range []string{"", "tomorrow", "2000-01-01", "9999-12-31T23:59:59Z", "2101-01-01T00:00:00Z", strings.Repeat("9", 1000)} {
			bubble(t, fmt.Sprintf("%s %.20s", key, value), func(t *testing.T) {
				s := nsqxtest.NewServer(t)
				var seen synced[error]
				look := nsqx.WithMiddleware(func(next handler.Raw) handler.Raw {
					return func(ctx context.Context, m *handler.Message) error {
						err := next(ctx, m)
						seen.add(err)
						return err
					}
				})
				_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
					t.Error("handled")
					return nil
				}, dead, look)
				s.PublishMessage("orders", []byte("x"), nsqxtest.WithHeader(key, value))
				s.Await("orders", "billing", finished(1))
				want(t, "dead letters", len(s.Published("dead")), 1)
				if _, ok := errors.AsType[*handler.DecodeError](seen.all()[0]); !ok {
					t.Errorf("the error is %v", seen.all()[0])
				}
				var letters synced[string]
				c, err := nsqx.NewConsumer("dead", "read", codec.String(), func(_ context.Context, body string) error {
					letters.add(body)
					return nil
				}, s.Option(), nsqx.WithLogger(discard))
				wantErr(t, "NewConsumer", err, nil)
				nsqxtest.Run(t, c)
				s.Await("dead", "read", finished(1))
				want(t, "read", len(letters.all()), 1)
			})
		}
	}
}

// TestHostileWithoutDeadLetter: without a dead letter such a message is kept.
func TestHostileWithoutDeadLetter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(nsqd1), nsqx.WithRetry(seconds))
		out := nsqxtest.Deliver(t, c, []byte("x"), nsqxtest.WithHeader(envelope.NotBefore, "?"))
		want(t, "disposition", out.Disposition, handler.Requeue)
		want(t, "delay", out.Delay, time.Second)
	})
}

// TestClocksApart: the clock of a producer, or of an nsqd, is hours wrong. A message is late or early
// by as much, but it has all its runs, and none is lost.
func TestClocksApart(t *testing.T) {
	for name, tt := range map[string]struct{ producer, nsqd time.Duration }{
		"producer ahead":  {5 * time.Hour, 0},
		"producer behind": {-5 * time.Hour, 0},
		"nsqd ahead":      {0, 5 * time.Hour},
		"nsqd behind":     {0, -5 * time.Hour},
	} {
		bubble(t, name, func(t *testing.T) {
			time.Sleep(oneDay)
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
			var a arrivals
			fails := func(ctx context.Context, body string) error { return errors.Join(a.handle(ctx, body), errBill) }
			_, _ = consume(t, []*nsqxtest.Server{s}, fails, max3, dead, nsqx.WithRetry(retry.Linear(0, 0)), nsqx.WithMaxAge(time.Hour))
			began := time.Now()
			due := began.Add(2*time.Hour + tt.producer)
			s.PublishMessage("orders", []byte("x"), nsqxtest.WithNotBefore(due), nsqxtest.WithDelay(time.Hour), nsqxtest.WithTimestamp(began.Add(tt.nsqd)))
			s.Await("orders", "billing", finished(1))
			first := began.Add(time.Hour)
			if due.After(first) {
				first = due
			}
			want(t, "runs", len(a.all()), 3)
			want(t, "first", a.all()[0].at.Sub(began), first.Sub(began))
			want(t, "dead letters", len(s.Published("dead")), 1)
		})
	}
}

// TestLowerLimitThanThought: nsqd keeps requeued messages for less time than the consumer thinks. The
// deliveries in between cost no attempt.
func TestLowerLimitThanThought(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxRequeueTimeout(time.Minute), nsqxtest.WithPatience(oneDay))
		var a arrivals
		fails := func(ctx context.Context, body string) error { return errors.Join(a.handle(ctx, body), errBill) }
		_, _ = consume(t, []*nsqxtest.Server{s}, fails, max3, dead, nsqx.WithRetry(retry.Linear(0, 0)))
		due := time.Now().Add(2 * time.Hour)
		s.PublishMessage("orders", []byte("x"), nsqxtest.WithNotBefore(due))
		s.Await("orders", "billing", finished(1))
		a.wantOnTime(t, due, 123, "x", "x", "x")
	})
}

// TestLowerLimitThanThoughtByTheProducer: nsqd refuses a DPUB that the producer takes for allowed.
func TestLowerLimitThanThoughtByTheProducer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxRequeueTimeout(time.Minute), nsqxtest.WithoutChecks(), nsqxtest.WithPatience(oneDay))
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		var a arrivals
		_, _ = consume(t, []*nsqxtest.Server{s}, a.handle)
		due := time.Now().Add(2 * time.Hour)
		for range 5 {
			wantKind(t, p.PublishAt(t.Context(), due, "x"), nil)
		}
		want(t, "accepted", s.Published("orders")[4].Delay, time.Minute)
		want(t, "dials", s.Dials(), 3) // one of them since a delay was refused
		s.Await("orders", "billing", finished(5))
		a.wantOnTime(t, due, 120, "x", "x", "x", "x", "x")

		plain := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		wantKind(t, plain.PublishAfter(t.Context(), time.Hour, "x"), nsqx.ErrRejected) // only nsqd knows of it
	})
}

// TestOtherProcesses: a consumer that has seen none of the early deliveries subtracts as many as there
// may have been.
func TestOtherProcesses(t *testing.T) {
	for name, tt := range map[string]struct {
		wait     time.Duration // from the publish
		attempts uint16
		want     handler.Disposition
		delay    time.Duration
	}{
		"no delay":              {0, 3, handler.DeadLetter, 0},
		"a part of an hour":     {time.Second, 3, handler.Requeue, 2 * time.Second},
		"given up":              {time.Second, 4, handler.DeadLetter, 0},
		"exactly an hour":       {time.Hour, 4, handler.DeadLetter, 0},
		"more than an hour":     {time.Hour + 1, 4, handler.Requeue, 2 * time.Second},
		"three days":            {72 * time.Hour, 74, handler.Requeue, 2 * time.Second},
		"three days, given up":  {72 * time.Hour, 75, handler.DeadLetter, 0},
		"three days, the first": {72 * time.Hour, 72, handler.Requeue, time.Second},
		"fewer than there may":  {72 * time.Hour, 2, handler.Requeue, time.Second},
		"25 years":              {25 * 365 * oneDay, 65535, handler.Requeue, time.Second},
		"25 years, 65536 or so": {25 * 365 * oneDay, 0, handler.Requeue, time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			fails := func(context.Context, string) error { return errBill }
			c := newConsumer(t, fails, nsqx.WithNSQD(nsqd1), max3, nsqx.WithRetry(seconds),
				nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil }))
			now := time.Now()
			out := nsqxtest.Deliver(t, c, []byte("x"), nsqxtest.WithAttempts(tt.attempts),
				nsqxtest.WithTimestamp(now.Add(-tt.wait)), nsqxtest.WithNotBefore(now))
			want(t, "disposition", out.Disposition, tt.want)
			want(t, "delay", out.Delay, tt.delay)
		})
	}
}

// TestEarlyIsNoRun: what comes early passes no middleware and no hook, and neither opens nor closes
// the breaker.
func TestEarlyIsNoRun(t *testing.T) {
	bubble(t, "Process", func(t *testing.T) {
		called := false
		c := newConsumer(t, func(context.Context, string) error { called = true; return nil }, nsqx.WithNSQD(nsqd1),
			nsqx.WithHooks(observe.Hooks{OnSettle: func(*handler.Message) { called = true }}))
		m := []nsqxtest.MessageOption{nsqxtest.WithNotBefore(time.Now().Add(90 * time.Minute)), nsqxtest.WithAttempts(9)}
		out := nsqxtest.Deliver(t, c, []byte("x"), m...)
		want(t, "outcome", out, handler.Outcome{Disposition: handler.Requeue, Delay: time.Hour})
		time.Sleep(time.Hour)
		want(t, "outcome", nsqxtest.Deliver(t, c, []byte("x"), m...), handler.Outcome{Disposition: handler.Requeue, Delay: 30 * time.Minute})
		want(t, "called", called, false)
		time.Sleep(30 * time.Minute)
		want(t, "outcome", nsqxtest.Deliver(t, c, []byte("x"), m...), handler.Outcome{Disposition: handler.Finish})
	})
	bubble(t, "breaker", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		d := newDependency(true)
		_, _ = consume(t, []*nsqxtest.Server{s}, d.handle, d.hook(), nsqx.WithConcurrency(4))
		due := time.Now().Add(10 * time.Minute)
		for range 200 { // many that come early, each 5 s
			s.PublishMessage("orders", []byte("early"), nsqxtest.WithNotBefore(due))
		}
		publish(s, 50)
		time.Sleep(time.Minute)
		opened := len(d.backoffs.all())
		want(t, "opened", opened > 0, true)
		d.down.Store(false)
		s.Await("orders", "billing", finished(250))
		want(t, "handled before their time", time.Now().Before(due), false)
	})
	bubble(t, "capacity", func(t *testing.T) { // the time of a handler is not taken for short
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxRequeueTimeout(100*time.Millisecond), nsqxtest.WithPatience(oneDay))
		var mu sync.Mutex
		runs := 0
		c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			mu.Lock()
			runs++
			mu.Unlock()
			time.Sleep(10 * time.Second)
			return nil
		}, nsqx.WithConcurrency(2), nsqx.WithMaxRequeueDelay(100*time.Millisecond))
		due := time.Now().Add(time.Hour)
		for range 20 {
			s.PublishMessage("orders", []byte("early"), nsqxtest.WithNotBefore(due))
		}
		publish(s, 60)
		time.Sleep(10 * time.Minute)
		st := c.Stats()
		want(t, "given back", st.GivenBack, 0)
		want(t, "finished", st.Finished, 60)
	})
}

// TestDelaysInChaos: connections are cut and nsqds are stopped while messages wait. None is early, none
// is lost, and each channel handles all of them.
func TestDelaysInChaos(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const n = 300
		r := rand.New(rand.NewPCG(1, 2))
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithPatience(oneDay))
		var billing, mailing arrivals
		_, _ = consume(t, servers, billing.handle, max3, dead)
		c, err := nsqx.NewConsumer("orders", "mailing", codec.String(), mailing.handle, nsqxtest.Option(servers...), nsqx.WithLogger(discard))
		wantErr(t, "NewConsumer", err, nil)
		nsqxtest.Run(t, c)
		p := newProducer(t, nsqx.WithPublisher(newPublisher(t, servers, nsqx.WithEnvelope())))
		due := make(map[string]time.Time)
		var last time.Time
		for _, body := range numbered(n) {
			due[body] = time.Now().Add(time.Duration(r.Int64N(int64(5 * time.Hour))))
			if due[body].After(last) {
				last = due[body]
			}
			wantKind(t, p.PublishAt(t.Context(), due[body], body), nil)
		}
		for time.Now().Before(last) {
			s := servers[r.IntN(3)]
			switch r.IntN(3) {
			case 0:
				s.ResetConns()
			case 1:
				s.Disconnect()
			default:
				s.Stop()
				time.Sleep(10 * time.Second)
				s.Start("")
			}
			time.Sleep(time.Duration(r.Int64N(int64(5 * time.Minute))))
		}
		time.Sleep(10 * time.Minute)
		for _, a := range []*arrivals{&billing, &mailing} {
			seen := make(map[string]bool)
			for _, run := range a.all() {
				seen[run.body] = true
				if late := run.at.Sub(due[run.body]); late < 0 || late > 5*time.Minute {
					t.Errorf("%s was handled %v after its time", run.body, late)
				}
			}
			want(t, "messages handled", len(seen), n)
		}
	})
}

// TestTimesInBatches: messages of a batch that come early wait, those that are stale or have broken times
// are given up, and the handler gets the others.
func TestTimesInBatches(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay))
		var got synced[string]
		c, err := nsqx.NewBatchConsumer("orders", "billing", codec.String(), func(_ context.Context, b *handler.Batch[string]) error {
			got.add(strings.Join(slices.Sorted(slices.Values(b.Values())), " "))
			return nil
		}, s.Option(), nsqx.WithLogger(discard), nsqx.WithBatch(10, time.Second), dead)
		wantErr(t, "NewBatchConsumer", err, nil)
		nsqxtest.Run(t, c)
		synctest.Wait()
		due := time.Now().Add(90 * time.Minute)
		for i := range 3 {
			s.PublishMessage("orders", []byte(fmt.Sprint("early", i)), nsqxtest.WithNotBefore(due))
		}
		s.PublishMessage("orders", []byte("stale"), nsqxtest.WithExpires(time.Now()))
		s.PublishMessage("orders", []byte("broken"), nsqxtest.WithHeader(envelope.NotBefore, "?"))
		s.Publish("orders", []byte("a"), []byte("b"))
		s.Await("orders", "billing", finished(4))
		want(t, "handled", strings.Join(got.all(), ", "), "a b")
		want(t, "dead letters", len(s.Published("dead")), 2)
		st := c.Stats()
		want(t, "early", st.Early, 3)
		want(t, "stale", st.Stale, 1)
		s.Await("orders", "billing", finished(7))
		want(t, "handled", strings.Join(got.all(), ", "), "a b, early0 early1 early2")
		want(t, "time", time.Now().Before(due), false)
		want(t, "early", c.Stats().Early, 6)

		out := nsqxtest.Deliver(t, c, []byte("x"), nsqxtest.WithNotBefore(time.Now().Add(time.Minute)))
		want(t, "outcome", out, handler.Outcome{Disposition: handler.Requeue, Delay: time.Minute})
		want(t, "stale", errors.Is(nsqxtest.Deliver(t, c, []byte("x"), nsqxtest.WithExpires(time.Now())).Err, handler.ErrStale), true)
	})
}
