package nsqx

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// RedriveReport counts what a [Redrive] did.
type RedriveReport struct {
	Redriven int // messages published again and confirmed
	Failed   int // publishes that failed; the message is still a dead letter, or was tried again
	Newer    int // dead letters published after the start of Redrive, which stay
	NoOrigin int // dead letters that do not name their topic, if to is ""; they stay
}

// Redrive publishes the dead letters in the topic from to the topic to, or, if to is "", to the
// topic that each came from. It returns when none has arrived for a while ([WithRedriveIdle]), when
// [WithRedriveLimit] is reached, or when ctx ends. Options are its own and those that services
// share, such as [WithNSQD]. All faults of the arguments are reported together.
//
// The idle time starts when every known nsqd was tried and one reached: Redrive does not wait for one
// that is down, whose dead letters stay. If ctx ends, Redrive waits up to 20 s for publishes under
// way, and returns ctx.Err() with the report.
//
// A message is published as it was before, with its own headers and trace, and in an envelope only
// if it came in one. Only its end is gone: a message that had expired is handled. The dead letter is finished when that is confirmed, so a message may be
// published twice, but is never lost.
//
// A message that fails again returns to from. So that none circulates, Redrive leaves dead letters
// that nsqd accepted after its start, by nsqd's clock against the local one. What it leaves it
// requeues for twice the time of WithRedriveIdle, at most an hour: a later Redrive gets them.
func Redrive(ctx context.Context, from, to string, opts ...RedriveOption) (RedriveReport, error) {
	ctx = guard.Context(ctx)
	cfg := newRedriveConfig(opts)
	if to != "" {
		if err := wire.CheckTopic(to); err != nil {
			cfg.fault("to", "is faulty: "+err.Error())
		} else if to == from {
			cfg.fault("to", "is the topic that the dead letters are in")
		}
	}
	both := WithOptions(cfg.shared...)
	workers := int(min(max(cfg.rate/10, 1), 64)) // a message occupies a worker while it waits for its turn
	in := newConsumerConfig(from, cfg.channel, []ConsumerOption{both, WithConcurrency(workers), WithMaxInFlight(workers), WithMiddleware(middleware.AutoTouch()),
		WithRetry(retry.Exponential(time.Second, time.Minute)), WithoutBackoff()})
	in.consume.NoRegistration, in.consume.AnyTime = true, true
	if err := errors.Join(errors.Join(cfg.faults...), in.validate()); err != nil {
		return RedriveReport{}, err
	}
	publisher, err := NewPublisher(both)
	if err != nil {
		return RedriveReport{}, err
	}
	r := &redrive{
		cfg: cfg, to: to, began: time.Now(), every: time.Duration(float64(time.Second) / cfg.rate),
		send: publisher.Send, over: make(chan struct{}), left: make(map[letter]struct{}),
	}
	c := consume.New(in.consume, r.handle) // without a codec, to redrive what does not decode, too
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = sync.OnceFunc(func() {
		c.Pause() // otherwise nsqd would send again what waits here and is requeued now
		close(r.over)
		cancel()
	})
	defer context.AfterFunc(ctx, r.stop)()
	if ctx.Err() != nil {
		r.stop() // before Run: AfterFunc may call it later
	}
	var watcher sync.WaitGroup
	watcher.Go(func() {
		r.watch(c.Ready())
		r.stop()
	})
	err = c.Run(running)
	watcher.Wait()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), publish.CloseGrace)
	defer done()
	err = errors.Join(err, publisher.Shutdown(closing))
	if ctx.Err() != nil {
		err = errors.Join(publish.Ended(ctx), err)
	}
	r.mu.Lock() // a worker may still run, if the telemetry hangs
	defer r.mu.Unlock()
	return r.report, err
}

// redrive is one run of Redrive.
type redrive struct {
	cfg   *redriveConfig
	to    string
	began time.Time
	every time.Duration
	send  handler.Send
	stop  func()        // ends the consumer
	over  chan struct{} // closed by stop

	mu     sync.Mutex
	report RedriveReport
	last   time.Time           // when a message last arrived or was published
	next   time.Time           // when the next message may be published
	taken  int                 // messages redriven or being redriven
	left   map[letter]struct{} // messages that stay
}

// letter identifies a dead letter.
type letter struct {
	nsqd string
	id   handler.ID
}

// maxLeft limits the length of redrive.left. Letters beyond it are not counted.
const maxLeft = 1 << 20

// watch returns when no message has arrived for the idle time, or the redrive is stopped.
func (r *redrive) watch(ready <-chan struct{}) {
	select {
	case <-ready:
	case <-r.over:
		return
	}
	r.mu.Lock()
	r.last = time.Now()
	r.mu.Unlock()
	for quiet := r.cfg.idle; quiet > 0; quiet = r.quiet() {
		select {
		case <-time.After(quiet):
		case <-r.over:
			return
		}
	}
}

// quiet returns how much of the idle time is left. It is above 0 while a message is being redriven.
func (r *redrive) quiet() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken > r.report.Redriven {
		return r.cfg.idle
	}
	return r.cfg.idle - time.Since(r.last)
}

// handle redrives one message.
func (r *redrive) handle(ctx context.Context, m *handler.Message) error {
	if m.Timestamp().After(r.began) {
		return r.leave(m, &r.report.Newer, nil)
	}
	out := r.outgoing(m)
	if wire.CheckTopic(out.Topic) != nil || out.Topic == m.Topic() { // headers are input
		return r.leave(m, &r.report.NoOrigin, nil)
	}
	if err := r.turn(ctx); err != nil {
		return err
	}
	err := r.send(ctx, out)
	if errors.Is(err, ErrRejected) { // it would be rejected each time
		err = r.leave(m, &r.report.Failed, err)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken--
		return err
	}
	if r.done(err) {
		r.stop()
	}
	return err
}

// leave counts a message that stays a dead letter. It requeues the message for so long that it does
// not return while this Redrive waits for others.
func (r *redrive) leave(m *handler.Message, counter *int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := letter{m.NSQD(), m.ID}
	if _, again := r.left[l]; !again && len(r.left) < maxLeft {
		r.left[l] = struct{}{}
		*counter++
		if counter != &r.report.Newer { // newer ones may never end
			r.last = time.Now()
		}
	}
	return retry.After(min(2*r.cfg.idle, time.Hour), err)
}

// turn waits until a message may be published. Otherwise it returns the answer for the message.
func (r *redrive) turn(ctx context.Context) error {
	for {
		wait, ok := r.take()
		select {
		case <-time.After(wait):
			if ok {
				return nil
			}
			continue
		case <-r.over:
		case <-ctx.Done():
		}
		if ok {
			r.release()
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return retry.After(0, nil) // for another consumer
	}
}

// take reserves the next turn, and returns how long to wait for it. If the limit allows no further
// message, ok is false and wait is the time before the next call.
func (r *redrive) take() (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.limit > 0 && r.taken >= r.cfg.limit {
		return time.Second, false // a publish under way may still fail
	}
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait = r.next.Sub(now)
	r.next = r.next.Add(r.every)
	r.taken++
	return wait, true
}

// release undoes take.
func (r *redrive) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	r.last = time.Now()
}

// done counts a publish, and reports whether it was the last.
func (r *redrive) done(err error) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	if err != nil {
		r.report.Failed++
		r.taken--
		return false
	}
	r.report.Redriven++
	return r.report.Redriven == r.cfg.limit
}

// outgoing turns a dead letter back into the original message. It encodes the envelope itself,
// since publishing would skip headers that do not fit, and telemetry would set another trace.
func (r *redrive) outgoing(m *handler.Message) *handler.Outgoing {
	headers, payload, _ := envelope.WriterOf(m.RawBody()) // an unreadable envelope is payload
	out := &handler.Outgoing{Topic: r.to, NSQD: m.NSQD()}
	if out.Topic == "" {
		out.Topic, _ = headers.Get(envelope.DeadTopic)
	}
	undescribe(&headers)
	headers.Delete(envelope.Expires)
	headers.Limit = envelope.MaxLimit
	out.Messages = []handler.OutgoingMessage{{Body: headers.AppendTo(nil, payload)}}
	return out
}

// undescribe removes the headers of the dead letter: those that consume sets, and the trace headers
// after them, which are those of the dead letter.
func undescribe(headers *envelope.Writer) {
	trace, traced := headers.Get(envelope.OriginTrace)
	dead, described := envelope.DeadKeys(), false
	var off []string
	for key := range headers.All() {
		described = described || key == envelope.DeadTopic
		ofTrace := key == "traceparent" || key == "tracestate" || key == "baggage"
		if slices.Contains(dead, key) || described && ofTrace {
			off = append(off, key)
		}
	}
	for _, key := range off {
		headers.Delete(key)
	}
	if traced {
		_ = headers.Set("traceparent", trace) // cannot fail: it was a header before
	}
}
