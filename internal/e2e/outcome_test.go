package e2e

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// answers are a handler's results by attempt. The last one repeats.
type answers []func() error

func (a answers) give(attempts uint16) error { return a[min(int(attempts), len(a))-1]() }

func say(err error) func() error { return func() error { return err } }

func panics() error { panic("wet paint") }

func exits() error { runtime.Goexit(); return nil }

const policyDelay = 40 * time.Millisecond

var errDomain = errors.New("domain error")

// outcomeRow is a row of the table of nsqx.Consumer, as nsqd sees it.
type outcomeRow struct {
	name    string                // starts with the number of the row
	opts    []nsqx.ConsumerOption // in addition to a retry policy with policyDelay
	stop    bool                  // the policy returns retry.Stop
	dead    bool                  // adds a dead-letter topic
	answers answers
	want    []handler.Outcome // one for each delivery; Err is not compared
	log     string            // part of a log line of level error
}

func outcomeRows() []outcomeRow {
	fin := handler.Outcome{Disposition: handler.Finish}
	drop := handler.Outcome{Disposition: handler.Drop}
	dead := handler.Outcome{Disposition: handler.DeadLetter}
	req := func(d time.Duration) handler.Outcome {
		return handler.Outcome{Disposition: handler.Requeue, Delay: d}
	}
	outcomes := func(o ...handler.Outcome) []handler.Outcome { return o }
	options := func(o ...nsqx.ConsumerOption) []nsqx.ConsumerOption { return o }
	again, permanent := retry.After(30*time.Millisecond, nil), retry.Permanent(errFailed)
	mapping := retry.Match(retry.Is(errDomain, retry.Permanent))
	return []outcomeRow{
		{name: "2: nil", dead: true, answers: answers{say(nil)}, want: outcomes(fin)},
		{name: "4: Drop", dead: true, answers: answers{say(retry.Drop(errFailed))}, want: outcomes(drop)},
		{name: "4: Drop at the last attempt", dead: true, opts: options(nsqx.WithMaxAttempts(1)), answers: answers{say(retry.Drop(errFailed))}, want: outcomes(drop)},
		{name: "5: again, beyond MaxAttempts", dead: true, opts: options(nsqx.WithMaxAttempts(1)),
			answers: answers{say(again), say(again), say(nil)}, want: outcomes(req(30*time.Millisecond), req(30*time.Millisecond), fin)},
		{name: "5: again at once", answers: answers{say(retry.After(0, nil)), say(nil)}, want: outcomes(req(0), fin)},
		{name: "6: Permanent", dead: true, answers: answers{say(permanent)}, want: outcomes(dead)},
		{name: "6: Permanent, wrapped", dead: true, answers: answers{say(fmt.Errorf("while billing: %w", permanent))}, want: outcomes(dead)},
		{name: "6: Permanent, mapped", dead: true, opts: options(nsqx.WithErrors(mapping)), answers: answers{say(errDomain)}, want: outcomes(dead)},
		{name: "6: Permanent, no dead letter", answers: answers{say(permanent)}, want: outcomes(drop), log: "there is no dead letter"},
		{name: "6: Permanent, discarded", opts: options(nsqx.WithDiscard()), answers: answers{say(permanent)}, want: outcomes(drop)},
		{name: "6: policy stops", dead: true, stop: true, answers: answers{say(errFailed)}, want: outcomes(dead)},
		{name: "6: policy stops, no dead letter", stop: true, answers: answers{say(errFailed)}, want: outcomes(drop), log: "there is no dead letter"},
		{name: "6: policy would stop, but After", stop: true, dead: true, answers: answers{say(retry.After(0, errFailed)), say(nil)}, want: outcomes(req(0), fin)},
		{name: "8: MaxAttempts 1", dead: true, opts: options(nsqx.WithMaxAttempts(1)), answers: answers{say(errFailed)}, want: outcomes(dead)},
		{name: "F19, 8: MaxAttempts 3", dead: true, opts: options(nsqx.WithMaxAttempts(3)), answers: answers{say(errFailed)},
			want: outcomes(req(policyDelay), req(policyDelay), dead)},
		{name: "8: MaxAttempts, success at the last", dead: true, opts: options(nsqx.WithMaxAttempts(2)), answers: answers{say(errFailed), say(nil)},
			want: outcomes(req(policyDelay), fin)},
		{name: "8: MaxAttempts, After", dead: true, opts: options(nsqx.WithMaxAttempts(1)), answers: answers{say(retry.After(time.Hour, errFailed))}, want: outcomes(dead)},
		{name: "F19, 8: MaxAttempts, panic", dead: true, opts: options(nsqx.WithMaxAttempts(2)), answers: answers{panics}, want: outcomes(req(policyDelay), dead), log: "wet paint"},
		{name: "8: MaxAttempts, discarded", opts: options(nsqx.WithDiscard(), nsqx.WithMaxAttempts(1)), answers: answers{say(errFailed)}, want: outcomes(drop)},
		{name: "8: MaxAge", dead: true, opts: options(nsqx.WithMaxAge(time.Nanosecond)), answers: answers{say(errFailed)}, want: outcomes(dead)},
		{name: "8: MaxAge, not yet", dead: true, opts: options(nsqx.WithMaxAge(time.Hour)), answers: answers{say(errFailed), say(nil)}, want: outcomes(req(policyDelay), fin)},
		{name: "9: After with an error", dead: true, answers: answers{say(retry.After(70*time.Millisecond, errFailed)), say(nil)},
			want: outcomes(req(70*time.Millisecond), fin)},
		{name: "F17, 9: an error", dead: true, answers: answers{say(errFailed), say(nil)}, want: outcomes(req(policyDelay), fin)},
		{name: "F17, 9: a panic", dead: true, answers: answers{panics, say(nil)}, want: outcomes(req(policyDelay), fin), log: "wet paint"},
		{name: "9: a delay that is cut", opts: options(nsqx.WithMaxRequeueDelay(20 * time.Millisecond)),
			answers: answers{say(retry.After(time.Hour, errFailed)), say(nil)}, want: outcomes(req(20*time.Millisecond), fin)},
		{name: "F17: Goexit", opts: options(nsqx.WithMaxRequeueDelay(20 * time.Millisecond)), answers: answers{exits, say(nil)},
			want: outcomes(req(20*time.Millisecond), fin), log: "runtime.Goexit"},
	}
}

// TestOutcomes covers the rows that the handler's result decides.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	t.Run("F17: no handler", func(t *testing.T) {
		_, err := nsqx.NewConsumer[string](topic, channel, codec.String(), nil, nsqx.WithNSQD("127.0.0.1:4150"))
		if err == nil || !strings.Contains(err.Error(), "handler is nil") {
			t.Errorf("error is %v", err)
		}
	})
	s := testnsqd.Start(t)
	for i, tt := range outcomeRows() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			topic, body := fmt.Sprintf("outcome%d", i), "{\x00not touched\xff\n"
			opts := append(tt.opts, nsqx.WithNSQD(s.Addr()))
			if tt.stop {
				opts = append(opts, at(retry.Stop))
			} else {
				opts = append(opts, at(policyDelay))
			}
			s.EnsureChannel(topic+".dead", channel)
			if tt.dead {
				opts = append(opts, nsqx.WithDeadLetter(topic+".dead"))
			}
			var log logBuffer
			w, book := new(watch), newLedger()
			opts = append(opts, nsqx.WithHooks(w.hooks()), nsqx.WithLogger(log.logger()), nsqx.WithConcurrency(1))
			c := newConsumerOf(t, topic, channel, func(ctx context.Context, b string) error {
				book.begin(ctx, b)
				return tt.answers.give(handler.FromContext(ctx).Attempts)
			}, opts...)
			publish(t, s, topic, []byte(body))
			r := start(t, c)
			eventually(t, func() bool { return len(w.settled()) >= len(tt.want) }, "%d outcomes", len(tt.want))
			finished(t, s, c, 1)
			r.mustStop()

			checkOutcomes(t, w, book.of(body), tt.want)
			checkCounts(t, s, c.Stats(), tt.want)
			var dead []string
			if tt.want[len(tt.want)-1].Disposition == handler.DeadLetter {
				dead = []string{body}
			}
			if got := collect(t, s, topic+".dead", channel, len(dead)); !slices.Equal(got, dead) {
				t.Errorf("dead letters %q, want %q", got, dead)
			}
			if has := strings.Contains(log.String(), "level=ERROR"); has != (tt.log != "") || !strings.Contains(log.String(), tt.log) {
				t.Errorf("want an error with %q in the log:\n%s", tt.log, log.String())
			}
		})
	}
}

// TestDoesNotDecodeF19: row 7. The dead letter has the original bytes. Without a dead letter, the
// message is requeued until a release can decode it.
func TestDoesNotDecodeF19(t *testing.T) {
	t.Parallel()
	type order struct{ ID int }
	const broken = `{"ID":1,"note":"` + "\x00\xff"
	t.Run("dead letter", func(t *testing.T) {
		t.Parallel()
		s := testnsqd.Start(t)
		s.EnsureChannel("dead", channel)
		w := new(watch)
		ids := make(chan int, 2)
		c, err := nsqx.NewConsumer(topic, channel, codec.JSON[order](), func(_ context.Context, o order) error {
			ids <- o.ID
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, topic, []byte(broken), []byte(`{"ID":7}`))
		r := start(t, c)
		finished(t, s, c, 2)
		r.mustStop()
		if len(ids) != 1 || <-ids != 7 {
			t.Error("want the good order handled, once")
		}
		if got := collect(t, s, "dead", channel, 1); got[0] != broken {
			t.Errorf("dead letter %q, want %q", got[0], broken)
		}
		for _, o := range w.settled() {
			if o.body == broken && (!isA[*handler.DecodeError](o.outcome.Err) || o.outcome.Disposition != handler.DeadLetter) {
				t.Errorf("outcome %+v", o.outcome)
			}
		}
	})
	t.Run("no dead letter", func(t *testing.T) {
		t.Parallel()
		s := testnsqd.Start(t)
		var tries, calls atomic.Int32
		newer := codec.Func(
			func(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil },
			func(body []byte) (string, error) {
				switch tries.Add(1) {
				case 1:
					return "", errors.New("unknown version")
				case 2:
					panic("unknown version")
				}
				return string(body), nil
			})
		w := new(watch)
		c, err := nsqx.NewConsumer(topic, channel, newer, func(context.Context, string) error { calls.Add(1); return nil },
			nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()), at(policyDelay))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, topic, []byte(broken))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		want := []handler.Disposition{handler.Requeue, handler.Requeue, handler.Finish}
		for i, o := range w.settled() {
			if o.outcome.Disposition != want[i] || int(o.attempts) != i+1 || (i < 2 && o.outcome.Delay != policyDelay) {
				t.Errorf("delivery %d: %+v", i+1, o)
			}
		}
		if st := s.Channel(topic, channel); st.Requeued != 2 || calls.Load() != 1 {
			t.Errorf("%d calls, nsqd says %+v", calls.Load(), st)
		}
	})
}
