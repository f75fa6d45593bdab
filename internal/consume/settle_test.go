package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/retry"
)

var errDecode = &handler.DecodeError{Err: errors.New("bad payload")}

// TestOutcome goes down the table of nsqx.Consumer.
func TestOutcome(t *testing.T) {
	dead := keeper{handler.DeadLetter, nil, nil}
	lose := func(s *source, _ *handler.Delivery) { s.end(handler.ErrConnLost) }
	expire := func(_ *source, d *handler.Delivery) { d.Expire() }
	interrupt := func(s *source, _ *handler.Delivery) { s.end(handler.ErrShutdown) }
	for name, tt := range map[string]struct {
		err      error
		attempts uint16 // 0: 2
		age      time.Duration
		edit     func(*Config)
		before   func(*source, *handler.Delivery)

		want  handler.Disposition
		delay time.Duration
	}{
		"success":           {want: handler.Finish},
		"success, late":     {before: expire, want: handler.Finish},
		"success, shutdown": {before: interrupt, want: handler.Finish},
		"success, lost":     {before: lose, want: handler.Lost},
		"failure":           {err: errFailed, want: handler.Requeue, delay: 2 * time.Second},
		"failure, late":     {err: errFailed, before: expire, want: handler.Expired},
		"failure, shutdown": {err: errFailed, before: interrupt, want: handler.Interrupted},
		"failure, lost":     {err: errFailed, before: lose, want: handler.Lost},
		"drop":              {err: retry.Drop(errFailed), want: handler.Drop},
		"drop, shutdown":    {err: retry.Drop(errFailed), before: interrupt, want: handler.Interrupted},
		"after":             {err: retry.After(time.Minute, errFailed), want: handler.Requeue, delay: time.Minute},
		"again":             {err: retry.After(time.Minute, nil), want: handler.Requeue, delay: time.Minute},
		"permanent":         {err: retry.Permanent(errFailed), want: handler.Drop}, // Unset
		"permanent, dead":   {err: retry.Permanent(errFailed), edit: givesUp(dead, 0, 0), want: handler.DeadLetter},
		"policy stops":      {err: errFailed, edit: func(c *Config) { c.Retry = stops; c.GiveUp = dead }, want: handler.DeadLetter},
		"after, policy stops": {
			err: retry.After(time.Minute, errFailed), edit: func(c *Config) { c.Retry = stops; c.GiveUp = dead }, want: handler.Requeue, delay: time.Minute,
		},
		"undecodable":            {err: errDecode, want: handler.Requeue, delay: 2 * time.Second},
		"undecodable, dead":      {err: errDecode, edit: givesUp(dead, 0, 0), want: handler.DeadLetter},
		"undecodable, discarded": {err: errDecode, edit: givesUp(Discard{}, 0, 0), want: handler.Drop},
		"undecodable, after":     {err: retry.After(time.Minute, errDecode), edit: givesUp(dead, 0, 0), want: handler.DeadLetter},
		"undecodable, again":     {err: fmt.Errorf("%w, %w", retry.After(time.Minute, nil), errDecode), edit: givesUp(dead, 0, 0), want: handler.Requeue, delay: time.Minute},
		"attempts left":          {err: errFailed, edit: givesUp(dead, 3, 0), want: handler.Requeue, delay: 2 * time.Second},
		"last attempt":           {err: errFailed, edit: givesUp(dead, 2, 0), want: handler.DeadLetter},
		"last attempt, after":    {err: retry.After(time.Minute, errFailed), edit: givesUp(dead, 2, 0), want: handler.DeadLetter},
		"last attempt, again":    {err: retry.After(time.Minute, nil), edit: givesUp(dead, 2, 0), want: handler.Requeue, delay: time.Minute},
		"young":                  {err: errFailed, age: time.Minute, edit: givesUp(dead, 0, time.Minute), want: handler.Requeue, delay: 2 * time.Second},
		"old":                    {err: errFailed, age: time.Minute + 1, edit: givesUp(dead, 0, time.Minute), want: handler.DeadLetter},
		"delay is cut":           {err: retry.After(2*time.Hour, errFailed), want: handler.Requeue, delay: time.Hour},
		"mapped": {
			err: errFailed, edit: func(c *Config) { c.Errors = func(err error) error { return retry.Drop(err) } }, want: handler.Drop,
		},
		"mapped to nothing": {
			err: errFailed, edit: func(c *Config) { c.Errors = func(error) error { return nil } }, want: handler.Requeue, delay: 2 * time.Second,
		},
		"crash guard": {
			err: errCrashes, edit: givesUp(dead, 2, 0), want: handler.DeadLetter,
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			c := newConsumer(t, &records{}, tt.edit, nil)
			s := newSource(t)
			if tt.attempts == 0 {
				tt.attempts = 2
			}
			d := s.aged(tt.attempts, tt.age, "x")
			if tt.before != nil {
				tt.before(s, d)
			}
			out, _ := c.decide(t.Context(), d, tt.err)
			wantOutcome(t, out, tt.want, tt.delay, tt.err)
		})
	}
}

func givesUp(g GiveUp, attempts int, age time.Duration) func(*Config) {
	return func(c *Config) { c.GiveUp, c.MaxAttempts, c.MaxAge = g, attempts, age }
}

// TestMappedOnce: the mapping is asked once about each failure, whatever it answers, and not about
// what the consumer gives up by itself. It may count or log.
func TestMappedOnce(t *testing.T) {
	answers := map[string]func(error) error{
		"nothing": func(error) error { return nil }, "drop": retry.Drop, "permanent": retry.Permanent, "quietly": retry.Quietly,
		"after": func(err error) error { return retry.After(time.Minute, err) },
		"again": func(error) error { return retry.After(time.Minute, nil) },
	}
	ends := map[string]GiveUp{"unset": Unset{}, "discard": Discard{}, "kept": keeper{disposition: handler.DeadLetter}, "not kept": keeper{err: errKeep}}
	stale := &staleError{since: time.Now()}
	for name, answer := range answers {
		for end, giveUp := range ends {
			for err, want := range map[error]int{errFailed: 1, errDecode: 1, retry.Drop(errFailed): 1, stale: 0, errCrashes: 0} {
				check.Bubble(t, fmt.Sprint(name, ", ", end, ", ", err), func(t *testing.T) {
					calls := 0
					c := newConsumer(t, &records{}, func(cfg *Config) {
						givesUp(giveUp, 2, 0)(cfg)
						cfg.Errors = func(err error) error { calls++; return answer(err) }
					}, nil)
					c.conclude(t.Context(), newSource(t).delivery(2, "x"), err)
					check.Want(t, "calls", calls, want)
				})
			}
		}
	}
}

// TestDecidePanics: policy, mapping or dead letter panics, and the message is requeued.
func TestDecidePanics(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"policy":      func(c *Config) { c.Retry = retry.PolicyFunc(func(int, error) time.Duration { panic(errPanic) }) },
		"mapping":     func(c *Config) { c.Errors = func(error) error { panic(errPanic) } },
		"dead letter": givesUp(keeper{do: func(context.Context, handler.Send, *handler.Delivery) { panic(errPanic) }}, 1, 0),
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log := &records{}
			c := newConsumer(t, log, edit, nil)
			d := newSource(t).delivery(2, "x")
			c.conclude(t.Context(), d, errFailed)
			wantOutcome(t, d.Outcome(), handler.Requeue, fallbackDelay, errPanic)
			check.Want(t, "log", strings.Replace(log.text(), " max_attempts=1", "", 1), `level=ERROR msg="nsqx: panic while handling a message" disposition=requeue delay_seconds=10 error="nsqx: panic: the value of a panic"`)
		})
	}
}

// TestSettleFallback is never a FIN.
func TestSettleFallback(t *testing.T) {
	panicked := handler.NewPanicError(errPanic)
	for name, tt := range map[string]struct {
		err    error
		limit  time.Duration // MaxRequeueDelay
		before func(*source, *handler.Delivery)
		want   handler.Disposition
		delay  time.Duration
		is     error
	}{
		"no error":       {nil, time.Hour, nil, handler.Requeue, 10 * time.Second, errUnsettled},
		"error":          {errFailed, time.Hour, nil, handler.Requeue, 10 * time.Second, errFailed},
		"panic":          {panicked, time.Hour, nil, handler.Requeue, 10 * time.Second, errPanic},
		"short delay":    {errFailed, time.Second, nil, handler.Requeue, time.Second, errFailed},
		"late":           {nil, time.Hour, func(_ *source, d *handler.Delivery) { d.Expire() }, handler.Expired, 0, errUnsettled},
		"lost":           {nil, time.Hour, func(s *source, _ *handler.Delivery) { s.end(handler.ErrConnLost) }, handler.Lost, 0, errUnsettled},
		"shutdown":       {nil, time.Hour, func(s *source, _ *handler.Delivery) { s.end(handler.ErrShutdown) }, handler.Interrupted, 0, errUnsettled},
		"panicking text": {panickyError{}, time.Hour, nil, handler.Requeue, 10 * time.Second, panickyError{}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			c := newConsumer(t, &records{}, func(cfg *Config) { cfg.MaxRequeueDelay = tt.limit }, nil)
			s := newSource(t)
			d := s.delivery(1, "x")
			if tt.before != nil {
				tt.before(s, d)
			}
			out := c.settleFallback(d, tt.err)
			check.Want(t, "disposition", out.Disposition, tt.want)
			check.Want(t, "delay", out.Delay, tt.delay)
			check.Want(t, "error", errors.Is(out.Err, tt.is), true)
		})
	}
}

// TestCrashGuard: a message that was delivered as often as the crash guard says is not handled.
func TestCrashGuard(t *testing.T) {
	for _, tt := range []struct {
		guard    int
		attempts uint16
		handled  bool
	}{
		{0, 65535, true}, {0, 0, true},
		{11, 10, true}, {11, 11, false},
		{65535, 65534, true}, {65535, 65535, false},
		{65535, 0, false}, // nsqd's counter has wrapped
	} {
		check.Bubble(t, fmt.Sprint(tt.guard, tt.attempts), func(t *testing.T) {
			handled := false
			c := newConsumer(t, &records{}, func(cfg *Config) {
				givesUp(keeper{handler.DeadLetter, nil, nil}, 5, 0)(cfg)
				cfg.CrashGuard = tt.guard
			}, nil)
			d := newSource(t).delivery(tt.attempts, "x")
			err := c.settle(func(context.Context, *handler.Message) error { handled = true; return nil })(t.Context(), d.Message())
			check.Want(t, "handled", handled, tt.handled)
			if tt.handled {
				wantOutcome(t, d.Outcome(), handler.Finish, 0, nil)
				return
			}
			check.WantErr(t, "error", err, errCrashes)
			wantOutcome(t, d.Outcome(), handler.DeadLetter, 0, errCrashes)
		})
	}
}

// TestExhausted: attempts and age, each with and without a limit.
func TestExhausted(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		for _, tt := range []struct {
			maxAttempts int
			maxAge      time.Duration
			attempts    uint16
			age         time.Duration
			want        bool
		}{
			{0, 0, 65535, 1000 * time.Hour, false},
			{3, 0, 2, 0, false}, {3, 0, 3, 0, true}, {3, 0, 4, 0, true}, {3, 0, 0, 0, true},
			{0, time.Hour, 9, time.Hour, false}, {0, time.Hour, 1, time.Hour + 1, true},
			{3, time.Hour, 1, 2 * time.Hour, true}, {3, time.Hour, 3, 0, true}, {3, time.Hour, 2, time.Minute, false},
		} {
			c := &Consumer{cfg: Config{MaxAttempts: tt.maxAttempts, MaxAge: tt.maxAge}}
			d := newSource(t).aged(tt.attempts, tt.age, "x")
			check.Want(t, fmt.Sprint(tt), c.tooOld(d) || c.attemptsReach(d, tt.maxAttempts), tt.want)
		}
		c := &Consumer{cfg: Config{MaxAge: time.Hour}}
		d := new(handler.Delivery)
		d.Init(&handler.Read{Source: newSource(t)}, handler.ID{}, 1, 0, nil)
		check.Want(t, "without a timestamp", c.tooOld(d), false)
	})
}

// TestRequeueDelay: a delay is cut to MaxRequeueDelay, with one warning.
func TestRequeueDelay(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		c := newConsumer(t, log, nil, nil)
		d := newSource(t).delivery(1, "x")
		for _, tt := range []struct{ delay, want time.Duration }{
			{-1, 0}, {0, 0}, {time.Second, time.Second}, {time.Hour, time.Hour}, {time.Hour + 1, time.Hour}, {3 * time.Hour, time.Hour},
		} {
			wantOutcome(t, c.requeue(d, tt.delay, errFailed), handler.Requeue, tt.want, errFailed)
		}
		c.events.Start()
		c.events.Close(time.Now().Add(time.Second))
		check.Want(t, "warnings", strings.Count(log.text(), "delay of a message was cut"), 1)
		check.Want(t, "records", log.Len(), 1)
	})
}
