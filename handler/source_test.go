package handler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestAnswerBy(t *testing.T) {
	const quarter = 15 * time.Minute
	for name, c := range map[string]struct {
		terms                      *handler.Terms
		received, touched, answer  time.Duration
		contextEnd, untouchableEnd time.Duration
	}{
		"untouched": {
			terms:  &handler.Terms{MessageTimeout: time.Minute, MaxMessageTimeout: quarter, Margin: time.Second},
			answer: 59 * time.Second, contextEnd: 58 * time.Second, untouchableEnd: quarter,
		},
		"received later": {
			terms:    &handler.Terms{MessageTimeout: time.Minute, MaxMessageTimeout: quarter, Margin: time.Second},
			received: 5 * time.Second,
			answer:   64 * time.Second, contextEnd: 63 * time.Second, untouchableEnd: quarter + 5*time.Second,
		},
		"touched": {
			terms:    &handler.Terms{MessageTimeout: time.Minute, MaxMessageTimeout: quarter, Margin: time.Second},
			received: 5 * time.Second, touched: 25 * time.Second,
			answer: 84 * time.Second, contextEnd: 83 * time.Second, untouchableEnd: quarter + 5*time.Second,
		},
		"touched, capped": {
			terms:    &handler.Terms{MessageTimeout: time.Minute, MaxMessageTimeout: 70 * time.Second, Margin: time.Second},
			received: 5 * time.Second, touched: 25 * time.Second,
			answer: 74 * time.Second, contextEnd: 73 * time.Second, untouchableEnd: 75 * time.Second,
		},
		"maximum below the timeout": {
			terms:  &handler.Terms{MessageTimeout: time.Minute, MaxMessageTimeout: 30 * time.Second, Margin: time.Second},
			answer: 29 * time.Second, contextEnd: 28 * time.Second, untouchableEnd: 30 * time.Second,
		},
		"no maximum": {
			terms:   &handler.Terms{MessageTimeout: time.Minute, Margin: time.Second},
			touched: 50 * time.Second,
			answer:  109 * time.Second, contextEnd: 108 * time.Second,
		},
		"short timeout: the context ends a tenth of it earlier": {
			terms:  &handler.Terms{MessageTimeout: time.Second, MaxMessageTimeout: quarter, Margin: 250 * time.Millisecond},
			answer: 750 * time.Millisecond, contextEnd: 650 * time.Millisecond, untouchableEnd: quarter,
		},
		"ten seconds: a tenth is a second": {
			terms:  &handler.Terms{MessageTimeout: 10 * time.Second, MaxMessageTimeout: quarter},
			answer: 10 * time.Second, contextEnd: 9 * time.Second, untouchableEnd: quarter,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				start := s.terms.Start
				s.terms.MessageTimeout, s.terms.MaxMessageTimeout, s.terms.Margin = c.terms.MessageTimeout, c.terms.MaxMessageTimeout, c.terms.Margin

				time.Sleep(c.received)
				m := s.message("body")
				if c.touched > 0 {
					time.Sleep(c.touched - c.received)
					wantErr(t, "Touch", m.Touch(), nil)
				}

				by, ok := delivery(m).AnswerBy()
				check.Want(t, "AnswerBy", by, c.answer)
				check.Want(t, "expires", ok, true)
				at, ok := m.Deadline()
				check.Want(t, "Deadline", at.Sub(start), c.answer)
				check.Want(t, "has a deadline", ok, true)
				never, ok := m.Context().Deadline()
				check.Want(t, "the context has a deadline", ok, c.untouchableEnd > 0)
				if ok {
					check.Want(t, "the context's Deadline", never.Sub(start), c.untouchableEnd)
				}

				<-m.Context().Done()
				check.Want(t, "the context ended at", time.Since(start), c.contextEnd)
				time.Sleep(c.answer - c.contextEnd - 1)
				check.Want(t, "Answerable just before AnswerBy", delivery(m).Answerable(), true)
				time.Sleep(time.Nanosecond)
				check.Want(t, "Answerable at AnswerBy", delivery(m).Answerable(), false)
			})
		})
	}
}

func TestNoMessageTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.terms.MessageTimeout = 0
		m := s.message("body")
		ctx := m.Context()
		if _, ok := delivery(m).AnswerBy(); ok {
			t.Error("AnswerBy: want none")
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the context's Deadline: want none")
		}
		time.Sleep(1000 * time.Hour)
		check.Want(t, "Answerable", delivery(m).Answerable(), true)
		check.Want(t, "Err", ctx.Err(), nil)
		select {
		case <-ctx.Done():
			t.Error("the context has ended")
		default:
		}
		wantErr(t, "Touch", m.Touch(), nil)
		s.end(handler.ErrConnLost)
		<-ctx.Done()
		wantErr(t, "cause", context.Cause(ctx), handler.ErrConnLost)
	})
}

// TestSlept: what was delivered, or touched last, before the clock stood still expires so much earlier.
func TestSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		wantBy := func(what string, m *handler.Message, want time.Duration) {
			t.Helper()
			by, _ := delivery(m).AnswerBy()
			check.Want(t, what, by, want)
		}
		before, touched := s.message("before"), s.message("touched")
		time.Sleep(10 * time.Second)
		s.terms.Slept(20 * time.Second)
		wantBy("before", before, 39*time.Second)
		time.Sleep(time.Second)
		wantErr(t, "Touch", touched.Touch(), nil)
		wantBy("touched after", touched, 70*time.Second)
		after := s.message("after")
		wantBy("after", after, 70*time.Second)
		time.Sleep(time.Second)
		s.terms.Slept(5 * time.Second)
		wantBy("before, twice", before, 34*time.Second)
		wantBy("after, the sum", after, 45*time.Second)
		time.Sleep(22 * time.Second)
		check.Want(t, "answerable", delivery(before).Answerable(), false)
		wantErr(t, "the context's Err", before.Context().Err(), context.DeadlineExceeded)
		wantErr(t, "Touch", before.Touch(), handler.ErrMessageTimeout)
		check.Want(t, "answerable", delivery(after).Answerable(), true)

		time.Sleep(20 * time.Minute)
		later := s.message("later")
		time.Sleep(time.Second)
		s.terms.Slept(2 * time.Second) // the earlier ones are forgotten
		by, _ := delivery(later).AnswerBy()
		check.Want(t, "later", by, s.terms.Now()+56*time.Second)
	})
}
