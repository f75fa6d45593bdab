package nsqx

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// RedriveReport is what a [Redrive] has done.
type RedriveReport struct {
	Redriven int // messages that are in their topic again, confirmed
	Failed   int // publishes that failed; the message came again, or is still a dead letter
	Newer    int // deliveries of dead letters that came after Redrive had begun: they stay
	Homeless int // deliveries of dead letters that do not say where they come from, if no topic was given: they stay
}

// Redrive publishes the dead letters in the topic from to the topic to, and returns
// when no more have come for a while ([WithRedriveIdle]), [WithRedriveLimit] is reached,
// or ctx ends. If to is "", each goes back to the topic that it was consumed from.
// Options are those that say where the nsqds are, as of [NewConsumer], and those of
// Redrive.
//
// A message keeps the headers that it had before it was a dead letter, its trace among
// them; those that made it one are taken off. It goes out in an envelope only if it came
// in one. A dead letter is finished when its publish is confirmed; so a message may be
// published twice, but none is lost.
//
// What fails again comes back to from. Redrive leaves what was published there after it
// began, by nsqd's clock: else it would go round and round.
func Redrive(ctx context.Context, from, to string, opts ...RedriveOption) (RedriveReport, error) {
	cfg := newRedriveConfig(opts)
	if to != "" {
		if err := wire.CheckTopic(to); err != nil {
			cfg.fault("to", "is faulty: "+err.Error())
		} else if to == from {
			cfg.fault("to", "is the topic that the dead letters are in")
		}
	}
	if err := errors.Join(cfg.faults...); err != nil {
		return RedriveReport{}, err
	}
	r := &redrive{cfg: cfg, to: to, began: time.Now(), every: time.Duration(float64(time.Second) / cfg.rate)}
	return r.run(ctx, from)
}

// redrive is one run of Redrive.
type redrive struct {
	cfg   *redriveConfig
	to    string
	began time.Time
	every time.Duration
	send  handler.Send
	stop  context.CancelFunc // of the consumer
	over  <-chan struct{}    // closed by stop

	mu     sync.Mutex
	report RedriveReport
	last   time.Time // when a message came
	next   time.Time // when the next message may go
	taken  int       // messages that are redriven, or on their way
}

func (r *redrive) run(ctx context.Context, from string) (RedriveReport, error) {
	both := WithOptions(r.cfg.shared...)
	workers := int(min(max(r.cfg.rate/10, 1), 64)) // a message waits for its turn with its worker
	consumer, err := NewConsumer(from, r.cfg.channel, codec.Bytes(), r.handle, both,
		WithConcurrency(workers), WithMaxInFlight(workers), WithMiddleware(middleware.AutoTouch()),
		WithRetry(retry.Exponential(time.Second, time.Minute)), WithoutBackoff())
	if err != nil {
		return RedriveReport{}, err
	}
	publisher, err := NewPublisher(both)
	if err != nil {
		return RedriveReport{}, err
	}
	r.send = publisher.Send
	running, stop := context.WithCancel(ctx)
	r.stop, r.over = stop, running.Done()
	var watcher sync.WaitGroup
	watcher.Go(func() {
		r.watch(running, consumer.Ready())
		stop()
	})
	err = consumer.Run(running)
	stop()
	watcher.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err = errors.Join(err, publisher.Close(closing))
	if ctx.Err() != nil {
		err = errors.Join(ended(ctx), err)
	}
	return r.report, err
}

// watch returns when no message has come for a while, or ctx has ended.
func (r *redrive) watch(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	r.locked(func() { r.last = time.Now() })
	for {
		var quiet time.Duration
		r.locked(func() { quiet = r.cfg.idle - time.Since(r.last) })
		if quiet <= 0 {
			return
		}
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
			return
		}
	}
}

func (r *redrive) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// handle redrives one message.
func (r *redrive) handle(ctx context.Context, _ []byte) error {
	m := handler.FromContext(ctx)
	if m.Timestamp().After(r.began) {
		return r.leave(&r.report.Newer)
	}
	out, err := r.outgoing(m)
	if err != nil {
		return err
	}
	if out.Topic == "" {
		return r.leave(&r.report.Homeless)
	}
	wait, ok := r.take()
	if !ok {
		return r.later()
	}
	select {
	case <-time.After(wait):
	case <-r.over:
		return r.later()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err = r.send(ctx, out)
	r.locked(func() { r.done(err) })
	return err
}

// later gives a message back that does not come again while this Redrive waits for
// others.
func (r *redrive) later() error { return retry.After(2*r.cfg.idle, nil) }

// leave counts a message that stays a dead letter.
func (r *redrive) leave(counter *int) error {
	r.locked(func() { *counter++ })
	return r.later()
}

// take says how long to wait before the next message goes, and whether it may.
func (r *redrive) take() (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.limit > 0 && r.taken >= r.cfg.limit {
		return 0, false
	}
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait = r.next.Sub(now)
	r.next = r.next.Add(r.every)
	r.last = r.next
	r.taken++
	return wait, true
}

// done counts a message. The caller holds mu.
func (r *redrive) done(err error) {
	r.last = time.Now()
	if err != nil {
		r.report.Failed++
		r.taken--
		return
	}
	r.report.Redriven++
	if r.cfg.limit > 0 && r.report.Redriven >= r.cfg.limit {
		r.stop()
	}
}

// outgoing makes of a dead letter what it was.
func (r *redrive) outgoing(m *handler.Message) (*handler.Outgoing, error) {
	headers, payload, err := envelope.WriterOf(m.RawBody())
	if err != nil {
		return nil, err
	}
	out := &handler.Outgoing{Topic: r.to, NSQD: m.NSQD(), Bodies: [][]byte{payload}}
	if out.Topic == "" {
		out.Topic, _ = headers.Get(envelope.DeadTopic)
	}
	trace, traced := headers.Get(envelope.OriginTrace)
	for _, key := range envelope.DeadKeys() {
		headers.Delete(key)
	}
	if traced {
		err = headers.Set("traceparent", trace)
	} else { // it is that of the dead letter
		headers.Delete("traceparent")
		headers.Delete("tracestate")
	}
	out.Headers, out.Envelope = headers, headers.Len() > 0
	return out, err
}
