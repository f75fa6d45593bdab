package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestDependencyDown: while a dependency is down for five minutes, no message is given up, and all
// are handled after its return.
func TestDependencyDown(t *testing.T) {
	for name, opts := range map[string][]nsqx.ConsumerOption{
		"automatic":     nil,
		"max in flight": {nsqx.WithMaxInFlight(200)},
		"fixed RDY":     {nsqx.WithMaxInFlight(200), nsqx.WithFixedRDY()},
	} {
		bubble(t, name, func(t *testing.T) {
			most := 200
			if opts == nil {
				most = 2500
			}
			servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(most, time.Millisecond), nsqxtest.WithPatience(time.Hour))
			s := servers[0]
			d := newDependency(true)
			c, _ := consume(t, servers, d.handle, append(opts, d.hook(), nsqx.WithConcurrency(8), nsqx.WithMaxAttempts(8), nsqx.WithDeadLetter("dead"))...)
			publish(s, 1000)
			time.Sleep(5 * time.Second) // the breaker is open, from 3 s to 7 s
			want(t, "RDY in backoff", rdy(t, s), 0)
			want(t, "in flight in backoff", billing(s).InFlight, 0)
			want(t, "backoff", c.Stats().Backoff, true)
			want(t, "max in flight", c.Stats().MaxInFlight, 0)
			wantErr(t, "health", c.Healthy(), nil)
			for range 290 {
				time.Sleep(time.Second)
				if n := billing(s).InFlight; n > 1 {
					t.Errorf("%d in flight in backoff", n)
				}
			}
			time.Sleep(5 * time.Second)
			tries := len(d.runs.all())
			if tries > 50 {
				t.Errorf("%d runs in five minutes, want few", tries)
			}
			d.down.Store(false)
			back := time.Now()
			s.Await("orders", "billing", finished(1000))
			if took := time.Since(back); took > 5*time.Minute {
				t.Errorf("all were handled %v after its return", took)
			}
			want(t, "dead letters", len(s.Published("dead")), 0)
			want(t, "given up", c.Stats().DeadLettered+c.Stats().Dropped, 0)
			want(t, "runs after its return", len(d.runs.all())-tries, 1000)
			want(t, "backoff at the end", c.Stats().Backoff, false)
			const s1 = time.Second
			d.wantBackoffs(t, s1, 2*s1, 4*s1, 8*s1, 16*s1, 32*s1, 60*s1, 60*s1, 60*s1)
			want(t, "most at once", d.most.Load(), 8)
		})
	}
}

// TestBackoffEnds: after a successful trial, each success admits one more message until the
// consumer is at full speed again.
func TestBackoffEnds(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(40, time.Millisecond))
		s := servers[0]
		d := newDependency(true)
		c, _ := consume(t, servers, d.handle, d.hook(), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(40),
			nsqx.WithRetry(retry.Linear(time.Second, time.Second)))
		publish(s, 200)
		time.Sleep(900 * time.Millisecond)
		d.down.Store(false)
		want(t, "backoffs", len(d.backoffs.all()), 1)
		opened := d.backoffs.all()[0].Time
		time.Sleep(time.Until(opened.Add(time.Second)) - time.Millisecond)
		d.most.Store(0)
		s.Await("orders", "billing", finished(1))
		trial := d.runsBetween(opened.Add(time.Millisecond), time.Now()) // those of this instant may have begun already
		want(t, "runs until the trial has succeeded", trial, 1)
		s.Await("orders", "billing", finished(200))
		want(t, "max in flight", c.Stats().MaxInFlight, 40)
		want(t, "backoffs at the end", len(d.backoffs.all()), 1)
		want(t, "at once", d.most.Load(), 4)

		time.Sleep(11 * time.Second)
		d.down.Store(true) // the first delay again
		publish(s, 200)
		time.Sleep(900 * time.Millisecond)
		events := d.backoffs.all()
		if len(events) != 2 || events[1].Delay != time.Second {
			t.Errorf("backoffs %v, want another one of a second", events)
		}
		d.down.Store(false)
		s.Await("orders", "billing", finished(400))
	})
}

// TestPoison: a message that always fails stops neither the others nor its own retries.
func TestPoison(t *testing.T) {
	for name, policy := range map[string]retry.Policy{
		"default policy": retry.Exponential(time.Second, 10*time.Minute),
		"no delay":       retry.Linear(0, 0),
	} {
		for _, good := range []int{0, 1, 300} {
			bubble(t, fmt.Sprintf("%s, %d good ones", name, good), func(t *testing.T) {
				servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(20, time.Millisecond))
				s := servers[0]
				d := newDependency(false)
				var failed atomic.Int32
				_, _ = consume(t, servers, func(ctx context.Context, body string) error {
					if body == "poison" {
						failed.Add(1)
						time.Sleep(time.Millisecond)
						return errBill
					}
					return d.handle(ctx, body)
				}, d.hook(), nsqx.WithRetry(policy), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(20))
				s.Publish("orders", []byte("poison"))
				publish(s, good)
				time.Sleep(20 * time.Second)
				want(t, "finished", billing(s).Finished, good)
				want(t, "backoffs", len(d.backoffs.all()), 0)
				if n := failed.Load(); n < 4 || strings.HasPrefix(name, "no delay") && n < 5000 {
					t.Errorf("the poison message ran %d times: it was stopped", n)
				}
			})
		}
	}
}

// TestPoisonCostsNothing: 1000 good messages take as long with a poison message among them as
// without.
func TestPoisonCostsNothing(t *testing.T) {
	took := make(map[bool]time.Duration)
	for _, poison := range []bool{false, true} {
		bubble(t, fmt.Sprint(poison), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			d := newDependency(false)
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				err := d.handle(ctx, body)
				if body == "poison" {
					return errBill
				}
				return err
			}, nsqx.WithConcurrency(4))
			publish(s, 100)
			if poison {
				s.Publish("orders", []byte("poison"))
			}
			publish(s, 900)
			s.Await("orders", "billing", finished(1000))
			took[poison] = time.Since(d.start)
		})
	}
	if took[true] > took[false]*105/100 {
		t.Errorf("with a poison message it took %v, without %v", took[true], took[false])
	}
}

// TestNinePoisonMessages: nine messages that always fail do not open the breaker; 39 do.
func TestNinePoisonMessages(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(false)
		_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
			time.Sleep(time.Millisecond)
			return errBill
		}, d.hook(), nsqx.WithRetry(retry.Linear(50*time.Millisecond, 50*time.Millisecond)), nsqx.WithConcurrency(4))
		publish(s, 9)
		time.Sleep(30 * time.Second)
		want(t, "backoffs", len(d.backoffs.all()), 0)
		publish(s, 30) // 39 are
		time.Sleep(5 * time.Second)
		want(t, "backoffs", len(d.backoffs.all()) > 0, true)
	})
}

// TestNotCountedAsFailure: errors that do not point to a broken dependency do not open the breaker.
func TestNotCountedAsFailure(t *testing.T) {
	for name, err := range map[string]error{
		"again later": retry.After(time.Second, nil),
		"drop":        retry.Drop(errBill),
		"permanent":   retry.Permanent(errBill),
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			d := newDependency(false)
			c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error { return err }, d.hook(), nsqx.WithDeadLetter("dead"))
			publish(s, 200)
			time.Sleep(500 * time.Millisecond)
			want(t, "backoffs", len(d.backoffs.all()), 0)
			want(t, "backoff", c.Stats().Backoff, false)
			st := c.Stats()
			want(t, "settled", st.Requeued+st.Dropped+st.DeadLettered, 200)
		})
	}
}

// TestWithoutBackoff: WithoutBackoff keeps the breaker closed.
func TestWithoutBackoff(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(true)
		c, _ := consume(t, []*nsqxtest.Server{s}, d.handle, d.hook(), nsqx.WithoutBackoff(), nsqx.WithConcurrency(4),
			nsqx.WithRetry(retry.Linear(time.Second, time.Second)))
		publish(s, 1000)
		time.Sleep(4 * time.Second)
		want(t, "backoffs", len(d.backoffs.all()), 0)
		want(t, "backoff", c.Stats().Backoff, false)
		if n := len(d.runs.all()); n < 1500 {
			t.Errorf("%d runs in 4 s, want what 4 handlers of 10 ms can do", n)
		}
	})
}

// TestBackoffOptions: the breaker uses the values of WithBackoff.
func TestBackoffOptions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(true)
		_, _ = consume(t, []*nsqxtest.Server{s}, d.handle, d.hook(), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(1),
			nsqx.WithBackoff(nsqx.Backoff{MinResults: 5, First: 3 * time.Second, Max: 7 * time.Second}))
		publish(s, 100)
		time.Sleep(40 * time.Second)
		d.wantBackoffs(t, 3*time.Second, 6*time.Second, 7*time.Second, 7*time.Second)
		want(t, "runs before it opened", d.runsBetween(d.start, d.backoffs.all()[0].Time), 5)
	})
}

// TestFailureRate: the breaker opens by the rate of failures.
func TestFailureRate(t *testing.T) {
	for percent, opens := range map[int]bool{50: false, 70: false, 95: true} {
		bubble(t, fmt.Sprint(percent), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			d := newDependency(false)
			var n atomic.Int32
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				time.Sleep(10 * time.Millisecond)
				if int(n.Add(37))%100 < percent { // each residue equally often
					return errBill
				}
				return nil
			}, d.hook(), nsqx.WithConcurrency(4))
			publish(s, 2000)
			time.Sleep(4 * time.Second)
			want(t, "opened", len(d.backoffs.all()) > 0, opens)
		})
	}
}

// TestBackoffSurvivesConnections (row F27): the connections are lost while the breaker is open, and
// none is there when the trial is due.
func TestBackoffSurvivesConnections(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2, nsqxtest.WithMaxInFlightCheck(40, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		d := newDependency(true)
		c, _ := consume(t, servers, d.handle, d.hook(), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(40), nsqx.WithMaxAttempts(8), nsqx.WithDeadLetter("dead"))
		for _, s := range servers {
			publish(s, 100)
		}
		time.Sleep(500 * time.Millisecond)
		want(t, "backoffs", len(d.backoffs.all()), 1)
		for _, s := range servers {
			s.Refuse(true)
			s.Disconnect()
		}
		before := len(d.runs.all())
		time.Sleep(30 * time.Second)
		want(t, "runs without a connection", len(d.runs.all()), before)
		wantErr(t, "health", c.Healthy(), nsqx.ErrNoNSQD)
		for _, s := range servers {
			s.Refuse(false)
		}
		d.most.Store(0)
		time.Sleep(12 * time.Second)
		for _, s := range servers {
			want(t, "subscribed again", billing(s).Subscribers, 1)
		}
		want(t, "backoff", c.Stats().Backoff, true)
		want(t, "at once while it is down", d.most.Load(), 1)
		if n := len(d.runs.all()) - before; n < 1 || n > 4 {
			t.Errorf("%d runs in 12 s of backoff, want a few trials", n)
		}
		for range 20 { // connections keep ending
			time.Sleep(300 * time.Millisecond)
			for _, s := range servers {
				s.ResetConns()
			}
		}
		synctest.Wait()
		d.down.Store(false)
		for _, s := range servers {
			s.Await("orders", "billing", finished(100))
			want(t, "dead letters", len(s.Published("dead")), 0)
		}
		want(t, "backoff at the end", c.Stats().Backoff, false)
	})
}

// TestTrialTimesOut: the handler of the trial hangs past the message timeout.
func TestTrialTimesOut(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMessageTimeout(4*time.Second), nsqxtest.WithPatience(time.Hour))
		s := servers[0]
		d := newDependency(true)
		var hang atomic.Bool
		release := make(chan struct{})
		c, _ := consume(t, servers, func(ctx context.Context, body string) error {
			if hang.Load() {
				<-release
			}
			return d.handle(ctx, body)
		}, d.hook(), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(40))
		publish(s, 100)
		time.Sleep(500 * time.Millisecond)
		hang.Store(true)
		time.Sleep(20 * time.Second)
		hang.Store(false)
		d.down.Store(false)
		close(release)
		s.Await("orders", "billing", finished(100))
		want(t, "backoff", c.Stats().Backoff, false)
	})
}

// TestTrialWithoutResult: if the trial is neither a success nor a failure, the next message is the
// trial.
func TestTrialWithoutResult(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, s *nsqxtest.Server) error{
		"again later": func(context.Context, *nsqxtest.Server) error { return retry.After(10*time.Millisecond, nil) },
		"lost": func(ctx context.Context, s *nsqxtest.Server) error {
			s.Disconnect()
			<-ctx.Done()
			return errDown
		},
	} {
		for _, concurrency := range []int{1, 4} {
			bubble(t, fmt.Sprint(name, ", ", concurrency), func(t *testing.T) {
				servers := nsqxtest.NewServers(t, 2, nsqxtest.WithMaxInFlightCheck(40, time.Millisecond), nsqxtest.WithMessageTimeout(4*time.Second),
					nsqxtest.WithPatience(time.Hour))
				d := newDependency(true)
				var nothing atomic.Int32 // number of trials without a result
				c, _ := consume(t, servers, func(ctx context.Context, body string) error {
					if nothing.Add(-1) >= 0 {
						for _, s := range servers {
							if s.Addr() == handler.FromContext(ctx).NSQD() {
								return end(ctx, s)
							}
						}
					}
					return d.handle(ctx, body)
				}, d.hook(), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(40))
				for _, s := range servers {
					publish(s, 100)
				}
				time.Sleep(700 * time.Millisecond)
				want(t, "backoffs", len(d.backoffs.all()), 1)
				want(t, "backoff", c.Stats().Backoff, true)
				nothing.Store(3)
				d.down.Store(false)
				began := time.Now()
				for _, s := range servers {
					s.Await("orders", "billing", finished(100))
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("all were handled %v after its return", took)
				}
				want(t, "trials without a result", nothing.Load() < 0, true)
				want(t, "backoffs at the end", len(d.backoffs.all()), 1)
				want(t, "backoff at the end", c.Stats().Backoff, false)
			})
		}
	}
}

// TestTrialInterrupted: a trial does not delay the shutdown.
func TestTrialInterrupted(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(true)
		var trial atomic.Bool
		c, stop := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
			if trial.Load() {
				<-ctx.Done()
			}
			return d.handle(ctx, body)
		}, d.hook(), nsqx.WithConcurrency(4), nsqx.WithShutdownTimeout(2*time.Second))
		publish(s, 100)
		time.Sleep(500 * time.Millisecond)
		trial.Store(true)
		time.Sleep(2 * time.Second)
		want(t, "running", c.Stats().Running, 1)
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("the shutdown took %v", took)
		}
		want(t, "interrupted", c.Stats().Interrupted, 1)
		want(t, "in flight", billing(s).InFlight, 0)
		want(t, "backoffs", len(d.backoffs.all()), 1)
	})
}

// TestProcessIsNotCounted: Process does not count for the breaker and sends no event, whether the
// consumer runs or not.
func TestProcessIsNotCounted(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		d := newDependency(true)
		var log logbook
		c := newLoggedConsumer(t, &log, func(ctx context.Context, body string) error {
			if body == "fails" {
				return errDown
			}
			return nil
		}, s.Option(), d.hook(), nsqx.WithRetry(retry.Linear(3*time.Second, 3*time.Second)))
		process := func(when string) {
			t.Helper()
			for i := range 100 {
				id, _ := handler.ParseID(fake.ID(uint64(i)))
				out := nsqxtest.Deliver(t, c, []byte("fails"), nsqxtest.WithID(id))
				if out.Disposition != handler.Requeue || out.Delay != 3*time.Second || !errors.Is(out.Err, errDown) {
					t.Fatalf("%s: outcome %+v", when, out)
				}
			}
			synctest.Wait()
			want(t, "backoff "+when, c.Stats().Backoff, false)
			want(t, "events dropped "+when, c.Stats().EventsDropped, 0)
			want(t, "backoffs "+when, len(d.backoffs.all()), 0)
			want(t, "log "+when, log.count(slog.LevelWarn, "")+log.count(slog.LevelError, ""), 0)
		}
		process("before Run")
		stop := nsqxtest.Run(t, c)
		process("while it runs")
		publish(s, 10)
		s.Await("orders", "billing", finished(10))
		stop()
		process("after Run")
	})
}

// TestSlowProbe: a probe whose handler works for 15 minutes, and whose message is touched meanwhile,
// does not keep the others waiting for as long.
func TestSlowProbe(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		const slow = 14 * time.Minute
		var down, probed atomic.Bool
		down.Store(true)
		c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			if down.Load() {
				return errDown
			}
			if probed.CompareAndSwap(false, true) {
				time.Sleep(slow)
			}
			return nil
		}, nsqx.WithConcurrency(4), nsqx.WithRetry(retry.Linear(time.Second, time.Second)), nsqx.WithMiddleware(middleware.AutoTouch()))
		publish(s, 50)
		time.Sleep(500 * time.Millisecond)
		want(t, "backoff", c.Stats().Backoff, true)
		down.Store(false)
		time.Sleep(2 * time.Minute)
		want(t, "probed", probed.Load(), true)
		want(t, "finished beside the probe", billing(s).Finished, 49)
		want(t, "backoff at the end", c.Stats().Backoff, false)
		time.Sleep(slow)
		want(t, "finished", billing(s).Finished, 50)
		want(t, "timeouts", billing(s).TimedOut, 0)
	})
}
