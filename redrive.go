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
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// RedriveReport is what a [Redrive] has done.
type RedriveReport struct {
	Redriven int // messages that are in their topic again, confirmed
	Failed   int // publishes that failed; the message came again, or is still a dead letter
	Newer    int // dead letters that were published after Redrive had begun: they stay
	NoOrigin int // dead letters that do not say where they come from, if no topic was given: they stay
}

// Redrive publishes the dead letters in the topic from to the topic to, and returns
// when no more have come for a while ([WithRedriveIdle]), [WithRedriveLimit] is reached,
// or ctx ends. If to is "", each goes back to the topic that it was consumed from.
// Options are those that say where the nsqds are, as of [NewConsumer], and those of
// Redrive. All that is wrong with them is reported together.
//
// The while begins when all nsqds that are named or found have been tried, and one was reached: it does
// not wait for one that is down, whose dead letters stay. When ctx
// ends, its error is returned with the report; what is on its way has 20 s to be confirmed.
//
// A message goes out as it was before it was a dead letter, with the headers that it
// had, its trace among them, and in an envelope only if it came in one. A dead letter is
// finished when its publish is confirmed; so a message may be published twice, but
// none is lost.
//
// What fails again comes back to from. Redrive leaves what was published there after it
// began, by nsqd's clock against ours: else it would go round and round. What it leaves it
// requeues for twice the time of WithRedriveIdle, an hour at most: the next Redrive gets
// it after that.
func Redrive(ctx context.Context, from, to string, opts ...RedriveOption) (RedriveReport, error) {
	cfg := newRedriveConfig(opts)
	if to != "" {
		if err := wire.CheckTopic(to); err != nil {
			cfg.fault("to", "is faulty: "+err.Error())
		} else if to == from {
			cfg.fault("to", "is the topic that the dead letters are in")
		}
	}
	both := WithOptions(cfg.shared...)
	workers := int(min(max(cfg.rate/10, 1), 64)) // a message waits for its turn with its worker
	in := newConsumerConfig(from, cfg.channel, []ConsumerOption{both,
		WithoutRegistration(), WithConcurrency(workers), WithMaxInFlight(workers), WithMiddleware(middleware.AutoTouch()),
		WithRetry(retry.Exponential(time.Second, time.Minute)), WithoutBackoff()})
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
	c := consume.New(in.consume, r.handle) // no codec: what does not decode is redriven, too
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = sync.OnceFunc(func() {
		c.Pause() // else nsqd would send again what waits here, and is given back now
		close(r.over)
		cancel()
	})
	defer context.AfterFunc(ctx, r.stop)()
	if ctx.Err() != nil {
		r.stop() // before it begins: AfterFunc does so at some time
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
	r.mu.Lock() // a telemetry that hangs may have kept a worker
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
	last   time.Time           // when a message came
	next   time.Time           // when the next message may go
	taken  int                 // messages that are redriven, or on their way
	left   map[letter]struct{} // those that stay
}

// letter identifies a dead letter.
type letter struct {
	nsqd string
	id   handler.ID
}

// maxLeft is how many of the letters that stay are remembered, and counted.
const maxLeft = 1 << 20

// watch returns when no message has come for a while, or all is over.
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

// quiet returns for how long no message must come from now on. It is never over while
// one is on its way.
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
	if errors.Is(err, ErrRejected) { // it will be, each time
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

// leave counts a message that stays a dead letter, and gives it back so that it does not come again
// while this Redrive waits for others.
func (r *redrive) leave(m *handler.Message, counter *int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := letter{m.NSQD(), m.ID}
	if _, again := r.left[l]; !again && len(r.left) < maxLeft {
		r.left[l] = struct{}{}
		*counter++
		if counter != &r.report.Newer { // those may come for ever
			r.last = time.Now()
		}
	}
	return retry.After(min(2*r.cfg.idle, time.Hour), err)
}

// turn waits until a message may go. Otherwise it returns what is to be answered.
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
		return retry.After(0, nil) // to somebody else
	}
}

// take says how long to wait before the next message goes, or, while the limit
// does not allow one, before asking again.
func (r *redrive) take() (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.limit > 0 && r.taken >= r.cfg.limit {
		return time.Second, false // one of those on their way may fail
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

// done counts a message that was sent, and says whether it was the last.
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

// outgoing makes of a dead letter what it was. Its envelope is made here: publishing
// leaves headers out when there is no room for them, and telemetry would set another trace.
func (r *redrive) outgoing(m *handler.Message) *handler.Outgoing {
	headers, payload, _ := envelope.WriterOf(m.RawBody()) // what cannot be read is payload
	out := &handler.Outgoing{Topic: r.to, NSQD: m.NSQD()}
	if out.Topic == "" {
		out.Topic, _ = headers.Get(envelope.DeadTopic)
	}
	undescribe(&headers)
	headers.Limit = envelope.MaxLimit
	out.Messages = []handler.OutgoingMessage{{Body: headers.AppendTo(nil, payload)}}
	return out
}

// undescribe takes off what made a dead letter: what describe has set, and what of a trace
// came after that, which is the dead letter's.
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
		_ = headers.Set("traceparent", trace) // a header it was
	}
}
