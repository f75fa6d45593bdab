// Tests of giveup.go and deadfunc.go, and of Keep in deadletter.go.

package consume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// sender has a Send that records its calls.
type sender struct {
	sent  []*handler.Outgoing
	ctxs  []context.Context
	err   error
	takes time.Duration
}

func (e *sender) send(ctx context.Context, out *handler.Outgoing) error {
	e.sent, e.ctxs = append(e.sent, out), append(e.ctxs, ctx)
	time.Sleep(e.takes)
	return e.err
}

// TestKeepNothing: Unset and Discard drop the message.
func TestKeepNothing(t *testing.T) {
	for _, tt := range []struct {
		giveUp     GiveUp
		configured bool
	}{
		{Unset{}, false},
		{Discard{}, true},
	} {
		s, e := newSource(t), &sender{}
		check.Want(t, "configured", tt.giveUp.Configured(), tt.configured)
		got, err := tt.giveUp.Keep(t.Context(), e.send, s.delivery(1, "x"), errFailed)
		check.Want(t, "disposition", got, handler.Drop)
		check.WantErr(t, "error", err, nil)
		check.Want(t, "sent", len(e.sent), 0)
		check.Want(t, "touched", s.touched.Len(), 0)
	}
}

// TestKeepTopic: what DeadLetterTopic publishes, and what it returns.
func TestKeepTopic(t *testing.T) {
	for name, tt := range map[string]struct {
		topic    DeadLetterTopic
		body     string
		err      error
		wantBody string
	}{
		"payload":            {DeadLetterTopic{Topic: "dead"}, "x", nil, "x"},
		"envelope":           {DeadLetterTopic{Topic: "dead"}, inEnvelope(t, "a=1", "x"), nil, inEnvelope(t, "a=1", "x")},
		"plain":              {DeadLetterTopic{Topic: "dead", Plain: true}, "x", nil, "x"},
		"plain, of envelope": {DeadLetterTopic{Topic: "dead", Plain: true}, inEnvelope(t, "a=1", "x"), nil, "x"},
		"fails":              {DeadLetterTopic{Topic: "dead"}, "x", errKeep, "x"},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s, e := newSource(t), &sender{err: tt.err}
			check.Want(t, "configured", tt.topic.Configured(), true)
			start := time.Now()
			got, err := tt.topic.Keep(t.Context(), e.send, s.delivery(3, tt.body), errFailed)
			check.WantErr(t, "error", err, tt.err)
			check.Want(t, "disposition", got, handler.DeadLetter)
			check.Want(t, "publishes", len(e.sent), 1)
			out := e.sent[0]
			check.Want(t, "topic", out.Topic, "dead")
			check.Want(t, "nsqd", out.NSQD, addrA)
			check.Want(t, "messages", len(out.Messages), 1)
			check.Want(t, "body", string(out.Messages[0].Body), tt.wantBody)
			check.Want(t, "envelope", out.Envelope, !tt.topic.Plain)
			limit, described := envelope.MaxLimit, "orders"
			if tt.topic.Plain {
				limit, described = 0, ""
			}
			check.Want(t, "limit", out.Headers.Limit, limit)
			check.Want(t, "header", headersOf(&out.Headers)[envelope.DeadTopic], described)
			deadline, ok := e.ctxs[0].Deadline()
			check.Want(t, "has a deadline", ok, true)
			check.Want(t, "deadline", deadline.Sub(start), deadLetterTimeout)
			check.Want(t, "touched", s.touched.Len(), 1)
		})
	}
}

// TestKeepFunc: the function gets the message and the error, under the given ctx.
func TestKeepFunc(t *testing.T) {
	for name, want := range map[string]error{"keeps": nil, "fails": errKeep} {
		check.Bubble(t, name, func(t *testing.T) {
			s, e := newSource(t), &sender{}
			d := s.delivery(1, "x")
			type key struct{}
			ctx := context.WithValue(t.Context(), key{}, "value")
			f := DeadLetterFunc(func(ctx context.Context, m *handler.Message, cause error) error {
				check.Want(t, "message", m, d.Message())
				check.Want(t, "cause", cause, errFailed)
				check.Want(t, "value", ctx.Value(key{}), any("value"))
				_, limited := ctx.Deadline()
				check.Want(t, "has a deadline", limited, false)
				time.Sleep(45 * time.Second)
				return want
			})
			check.Want(t, "configured", f.Configured(), true)
			got, err := f.Keep(ctx, e.send, d, errFailed)
			check.Want(t, "disposition", got, handler.DeadLetter)
			check.WantErr(t, "error", err, want)
			check.Want(t, "touched", fmt.Sprint(s.touched.All()), "[0s 20s 40s]")
			time.Sleep(time.Hour)
			check.Want(t, "touched later", s.touched.Len(), 3)
		})
	}
}

// TestKeepTouched: at once and each third of the message timeout, until stop or a refusal.
func TestKeepTouched(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(s *source, d *handler.Delivery)
		want string
	}{
		"a minute":          {nil, "[0s 20s 40s 1m0s 1m20s 1m40s]"},
		"another timeout":   {func(s *source, _ *handler.Delivery) { s.terms.MessageTimeout = 150 * time.Second }, "[0s 50s 1m40s]"},
		"no timeout":        {func(s *source, _ *handler.Delivery) { s.terms.MessageTimeout = 0 }, "[0s]"},
		"refused":           {func(s *source, _ *handler.Delivery) { s.refuse = errKeep }, "[0s]"},
		"settled":           {func(_ *source, d *handler.Delivery) { d.Claim() }, "[]"},
		"settled later":     {func(_ *source, d *handler.Delivery) { time.AfterFunc(30*time.Second, func() { d.Claim() }) }, "[0s 20s]"},
		"no longer in time": {func(s *source, _ *handler.Delivery) { s.terms.MaxMessageTimeout = 70 * time.Second }, "[0s 20s 40s 1m0s]"},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newSource(t)
			d := s.delivery(1, "x")
			if tt.edit != nil {
				tt.edit(s, d)
			}
			stop := keepTouched(d)
			time.Sleep(110 * time.Second)
			stop()
			time.Sleep(time.Hour)
			check.Want(t, "touched", fmt.Sprint(s.touched.All()), tt.want)
		})
	}
}

// TestGiveUp: what nsqd is told of a message that is given up.
func TestGiveUp(t *testing.T) {
	lose := func(_ context.Context, _ handler.Send, d *handler.Delivery) {
		d.Source().(*source).end(handler.ErrConnLost)
	}
	expire := func(_ context.Context, _ handler.Send, d *handler.Delivery) { d.Expire() }
	interrupt := func(_ context.Context, _ handler.Send, d *handler.Delivery) {
		d.Source().(*source).end(handler.ErrShutdown)
	}
	for name, tt := range map[string]struct {
		keeper keeper
		stops  bool // the policy has no delay
		want   handler.Disposition
		delay  time.Duration
		err    error // joined with errFailed
	}{
		"dropped":     {keeper: keeper{handler.Drop, nil, nil}, want: handler.Drop},
		"dead letter": {keeper: keeper{handler.DeadLetter, nil, nil}, want: handler.DeadLetter},
		"fails":       {keeper: keeper{handler.DeadLetter, errKeep, nil}, want: handler.Requeue, delay: 3 * time.Second, err: errKeep},
		"fails, no delay": {
			keeper: keeper{handler.DeadLetter, errKeep, nil}, stops: true, want: handler.Requeue, delay: fallbackDelay, err: errKeep,
		},
		"lost":            {keeper: keeper{handler.DeadLetter, nil, lose}, want: handler.Lost},
		"lost, dropped":   {keeper: keeper{handler.Drop, nil, lose}, want: handler.Lost},
		"lost, fails":     {keeper: keeper{handler.DeadLetter, errKeep, lose}, want: handler.Lost},
		"late":            {keeper: keeper{handler.DeadLetter, nil, expire}, want: handler.Expired},
		"late, dropped":   {keeper: keeper{handler.Drop, nil, expire}, want: handler.Drop},
		"late, fails":     {keeper: keeper{handler.DeadLetter, errKeep, expire}, want: handler.Expired, err: errKeep},
		"shutdown":        {keeper: keeper{handler.DeadLetter, nil, interrupt}, want: handler.DeadLetter},
		"shutdown, fails": {keeper: keeper{handler.DeadLetter, errKeep, interrupt}, want: handler.Interrupted, err: errKeep},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log := &records{}
			c := newConsumer(t, log, func(cfg *Config) {
				cfg.GiveUp = tt.keeper
				if tt.stops {
					cfg.Retry = stops
				}
			}, nil)
			out := c.giveUp(t.Context(), newSource(t).delivery(3, "x"), errFailed)
			wantOutcome(t, out, tt.want, tt.delay, errFailed)
			check.Want(t, "has the failure", errors.Is(out.Err, errKeep), tt.err != nil)
		})
	}
}

// TestKeepContext: it has the values of the handler's, and ends only with the wait for dead letters.
func TestKeepContext(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel()
		var c *Consumer
		var during, after error
		c = newConsumer(t, &records{}, func(cfg *Config) {
			cfg.GiveUp = keeper{handler.Drop, io.EOF, func(ctx context.Context, send handler.Send, _ *handler.Delivery) {
				check.Want(t, "value", ctx.Value(key{}), any("value"))
				check.Want(t, "can send", send != nil, true)
				during = ctx.Err()
				time.AfterFunc(time.Second, func() { c.stopSettling(handler.ErrShutdown) })
				<-ctx.Done()
				after = context.Cause(ctx)
			}}
		}, nil)
		start := time.Now()
		got, err := c.keep(ctx, newSource(t).delivery(1, "x"), errFailed)
		check.Want(t, "disposition", got, handler.Drop)
		check.WantErr(t, "error", err, io.EOF)
		check.WantErr(t, "ctx at first", during, nil)
		check.WantErr(t, "cause", after, handler.ErrShutdown)
		check.Want(t, "time", time.Since(start), time.Second)
	})
}
