package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// runs counts the runs of each message.
type runs struct {
	mu sync.Mutex
	of map[string]int
}

func newRuns() *runs { return &runs{of: make(map[string]int)} }

func (r *runs) add(ctx context.Context) {
	m := handler.FromContext(ctx)
	r.mu.Lock()
	r.of[m.NSQD()+m.ID.String()]++
	r.mu.Unlock()
}

// count returns how many runs there were, and the most of one message.
func (r *runs) count() (all, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.of {
		all, most = all+n, max(most, n)
	}
	return all, most
}

// TestOutageOfAnHourG3 kills no message, whatever there are of them, and costs each of thirty three runs
// at most, or four where they fail at once.
func TestOutageOfAnHourG3(t *testing.T) {
	for _, takes := range []time.Duration{0, 5 * time.Second, 29 * time.Second} {
		for _, concurrency := range []int{1, 8, 64} {
			for _, messages := range []int{4, 9, 30, 200} {
				if concurrency != 8 && messages != 30 {
					continue // internal/flow plays them all
				}
				bubble(t, fmt.Sprintf("failing after %v, %d handlers, %d messages", takes, concurrency, messages), func(t *testing.T) {
					s := nsqxtest.NewServer(t, nsqxtest.WithPatience(6*time.Hour))
					start, r := time.Now(), newRuns()
					c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
						if time.Since(start) > time.Hour {
							return nil
						}
						r.add(ctx)
						time.Sleep(takes)
						return errDown
					}, nsqx.WithConcurrency(concurrency), nsqx.WithMaxAttempts(4), nsqx.WithDeadLetter("dead"))
					publish(s, messages)
					time.Sleep(time.Hour)
					_, most := r.count()
					allowed := 3
					if takes == 0 {
						allowed = 4
					}
					if most > allowed && messages >= 30 {
						t.Errorf("a message has run %d times, want %d at most", most, allowed)
					}
					s.Await("orders", "billing", finished(messages))
					want(t, "dead letters", len(s.Published("dead")), 0)
					want(t, "given up", c.Stats().DeadLettered, 0)
				})
			}
		}
	}
}

// TestOutageMaxAttempts3G3: nor with the three attempts of a careful operator.
func TestOutageMaxAttempts3G3(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(3*time.Hour))
		start := time.Now()
		_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			if time.Since(start) > time.Hour {
				return nil
			}
			time.Sleep(5 * time.Second)
			return errDown
		}, nsqx.WithConcurrency(8), nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"))
		publish(s, 200)
		s.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 200 || time.Since(start) > 2*time.Hour })
		want(t, "finished", billing(s).Finished, 200)
		want(t, "dead letters", len(s.Published("dead")), 0)
	})
}

// TestMaxAgeInAnOutage: age counts in an outage, so what tries as a probe is given up if it is too old; what waits is not.
func TestMaxAgeInAnOutage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(3*time.Hour))
		start := time.Now()
		_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			if time.Since(start) > time.Hour {
				return nil
			}
			return errDown
		}, nsqx.WithConcurrency(8), nsqx.WithMaxAge(30*time.Minute), nsqx.WithDeadLetter("dead"))
		publish(s, 200)
		s.Await("orders", "billing", finished(200))
		if n := len(s.Published("dead")); n < 20 || n > 40 {
			t.Errorf("%d dead letters, want one a probe of half an hour", n)
		}
	})
}

// TestCannotReadG4: a release that cannot read its topic dead-letters a handful, not the topic.
func TestCannotReadG4(t *testing.T) {
	for _, concurrency := range []int{1, 8, 64} {
		bubble(t, fmt.Sprint(concurrency), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			var opened synced[int] // dead letters by then
			c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[struct{ N int }](),
				func(context.Context, struct{ N int }) error { return nil }, s.Option(), nsqx.WithLogger(discard),
				nsqx.WithConcurrency(concurrency), nsqx.WithDeadLetter("dead"),
				nsqx.WithHooks(observe.Hooks{OnBackoff: func(e observe.BackoffEvent) {
					if e.State == observe.BackoffProbe {
						opened.add(len(s.Published("dead")))
					}
				}}))
			if err != nil {
				t.Fatal(err)
			}
			nsqxtest.Run(t, c)
			publish(s, 10_000) // bare numbers
			time.Sleep(5 * time.Minute)
			before := opened.all()
			if len(before) == 0 || before[0] > 20+concurrency {
				t.Errorf("dead letters before each probe: %v, want %d at first", before, 20+concurrency)
			}
			if n := len(s.Published("dead")); n > 20+concurrency+10 {
				t.Errorf("%d dead letters in five minutes", n)
			}
		})
	}
}

// TestGivenBackIsNoAttempt: each message has the runs of MaxAttempts, however often it was given back
// before a handler saw it.
func TestGivenBackIsNoAttempt(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		bubble(t, fmt.Sprint(concurrency), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 5, nsqxtest.WithPatience(2*time.Hour))
			r := newRuns()
			c, _ := consume(t, servers, func(ctx context.Context, _ string) error {
				r.add(ctx)
				time.Sleep(5 * time.Second)
				return errBill
			}, nsqx.WithConcurrency(concurrency), nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"), nsqx.WithoutBackoff(),
				nsqx.WithRetry(retry.Linear(time.Second, time.Second)))
			for _, s := range servers {
				publish(s, 30)
			}
			for _, s := range servers {
				s.Await("orders", "billing", finished(30))
			}
			synctest.Wait() // the last worker counts its message
			all, most := r.count()
			want(t, "runs", all, 450)
			want(t, "most of a message", most, 3)
			want(t, "dead letters", c.Stats().DeadLettered, 150)
		})
	}
}

// TestAgainIsNoAttempt: what a handler wants again later is not given up for that.
func TestAgainIsNoAttempt(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var n atomic.Int32
		_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			if n.Add(1) <= 10 {
				return retry.After(100*time.Millisecond, nil)
			}
			return errBill
		}, nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"), nsqx.WithRetry(retry.Linear(0, 0)))
		publish(s, 1)
		s.Await("orders", "billing", finished(1))
		want(t, "runs", n.Load(), 13)
	})
}

// TestPolicyStopsInAnOutage: nor does a policy that stops after some attempts give up what fails in an
// outage; one that stops at such an error does.
func TestPolicyStopsInAnOutage(t *testing.T) {
	errInvalid := errors.New("invalid")
	policy := retry.PolicyFunc(func(attempt int, err error) time.Duration {
		if attempt >= 3 || errors.Is(err, errInvalid) {
			return retry.Stop
		}
		return time.Second
	})
	for name, dead := range map[string]int{"down": 0, "invalid": 50} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			d := newDependency(true)
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				if name == "invalid" {
					return errInvalid
				}
				return d.handle(ctx, body)
			}, d.hook(), nsqx.WithConcurrency(8), nsqx.WithRetry(policy), nsqx.WithDeadLetter("dead"))
			publish(s, 50)
			time.Sleep(20 * time.Minute)
			d.down.Store(false)
			s.Await("orders", "billing", finished(50))
			want(t, "dead letters", len(s.Published("dead")), dead)
			want(t, "opened", len(d.backoffs.all()) > 0, dead == 0)
		})
	}
}

// TestTakesTooLong: handlers that fail when nsqd waits no more open the breaker, too.
func TestTakesTooLong(t *testing.T) {
	for _, concurrency := range []int{1, 8} {
		bubble(t, fmt.Sprint(concurrency), func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithMessageTimeout(4*time.Second))
			d := newDependency(false)
			c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
				time.Sleep(5 * time.Second)
				return errDown
			}, d.hook(), nsqx.WithConcurrency(concurrency), nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"))
			publish(s, 100)
			time.Sleep(5 * time.Minute)
			want(t, "opened", len(d.backoffs.all()) > 0, true)
			want(t, "backoff", c.Stats().Backoff, true)
			want(t, "given up", c.Stats().DeadLettered, 0)
		})
	}
}

// TestGiveUpsAreFailures: a message given up for MaxAttempts or MaxAge has failed.
func TestGiveUpsAreFailures(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"MaxAttempts": nsqx.WithMaxAttempts(1), "MaxAge": nsqx.WithMaxAge(time.Nanosecond)} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			d := newDependency(true)
			c, _ := consume(t, []*nsqxtest.Server{s}, d.handle, d.hook(), opt, nsqx.WithConcurrency(4), nsqx.WithDeadLetter("dead"))
			time.Sleep(time.Second)
			publish(s, 500)
			time.Sleep(time.Minute)
			want(t, "opened", len(d.backoffs.all()) > 0, true)
			if n := c.Stats().DeadLettered; n < 5 || n > 24 {
				t.Errorf("%d dead letters in a minute, want a handful", n)
			}
		})
	}
}

// TestRampAtThirtyPercent: after an outage 30 or 50 % go on failing, and the breaker closes all the same.
func TestRampAtThirtyPercent(t *testing.T) {
	for _, percent := range []int{30, 50} {
		for _, concurrency := range []int{1, 8, 64} {
			bubble(t, fmt.Sprintf("%d %%, %d handlers", percent, concurrency), func(t *testing.T) {
				s := nsqxtest.NewServer(t)
				d := newDependency(true)
				var calls atomic.Int64 // evenly mixed: by chance one start of a thousand has ten failures in a row
				c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
					fails := int(calls.Add(1)*61%100) < percent
					if err := d.handle(ctx, body); err != nil || !fails {
						return err
					}
					return errBill
				}, d.hook(), nsqx.WithConcurrency(concurrency), nsqx.WithRetry(retry.Linear(time.Second, time.Second)))
				publish(s, 100)
				time.Sleep(5 * time.Second)
				want(t, "backoff in the outage", c.Stats().Backoff, true)
				d.down.Store(false)
				for back := time.Now(); c.Stats().Backoff && time.Since(back) < 5*time.Minute; {
					time.Sleep(100 * time.Millisecond)
				}
				publish(s, 300*concurrency)
				time.Sleep(time.Second)
				before := len(d.runs.all())
				time.Sleep(time.Second)
				want(t, "backoff", c.Stats().Backoff, false)
				if got, possible := len(d.runs.all())-before, 100*concurrency; got < possible*95/100 {
					t.Errorf("%d runs in a second, want %d", got, possible)
				}
			})
		}
	}
}

// TestBackoffIsTold to hooks, log and Stats: since when, why, and that it is over.
func TestBackoffIsTold(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(true)
		var events synced[observe.BackoffEvent]
		var log logbook
		c := makeConsumer(t, d.handle, s.Option(), nsqx.WithLogger(slog.New(&log)), nsqx.WithConcurrency(4),
			nsqx.WithHooks(observe.Hooks{OnBackoff: events.add}))
		stop := nsqxtest.Run(t, c)
		defer stop()
		publish(s, 100)
		time.Sleep(1500 * time.Millisecond) // opened, one probe has failed
		opened := events.all()[0]
		st := c.Stats()
		wantErr(t, "why", st.BackoffErr, errDown)
		if since := st.BackoffSince.Sub(opened.Time); since < -time.Millisecond || since > time.Millisecond {
			t.Errorf("since %v, opened at %v", st.BackoffSince, opened.Time)
		}
		d.down.Store(false)
		s.Await("orders", "billing", finished(100))
		st = c.Stats()
		wantErr(t, "why, at last", st.BackoffErr, nil)
		want(t, "since, at last", st.BackoffSince.IsZero(), true)

		var states []observe.BackoffState
		for i, e := range events.all() {
			states = append(states, e.State)
			wantErr(t, fmt.Sprint("error of event ", i), e.Err, errDown)
			want(t, fmt.Sprint("delay of event ", i), e.Delay > 0, e.State == observe.BackoffOpen)
		}
		want(t, "states", fmt.Sprint(states), "[open probe open probe closed]")
		want(t, "opened by", fmt.Sprint(opened.Failed, opened.Results), "10 10")
		last := events.all()[4]
		want(t, "closed by", fmt.Sprint(last.Failed, last.Results), "0 3")
		want(t, "logged: opened", log.count(slog.LevelWarn, "breaker opens: nearly all messages fail"), 1)
		want(t, "logged: opened again", log.count(slog.LevelDebug, "breaker opens again"), 1)
		want(t, "logged: probe", log.count(slog.LevelDebug, "one message may try"), 2)
		want(t, "logged: closed", log.count(slog.LevelInfo, "breaker closes"), 1)
	})
}
