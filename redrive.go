package nsqx

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/redrive"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// RedriveReport counts what a [Redrive] did.
type RedriveReport struct {
	Redriven  int // messages published again and confirmed
	Failed    int // publishes that failed; the message is still a dead letter, or was tried again
	Newer     int // dead letters published after the start of Redrive, which stay
	Filtered  int // dead letters that the filter left out, which stay
	NoOrigin  int // dead letters that do not name their topic, if to is ""; they stay
	NoChannel int // dead letters whose channel no longer exists, if to is ""; they stay
}

// Redrive publishes the dead letters in the topic from to the topic to, or, if to is "", to the
// topic that each came from. It returns when none has arrived for a while ([WithRedriveIdle]), when
// [WithRedriveLimit] is reached, or when ctx ends. Options are its own and those that services
// share, such as [WithNSQD]. All faults of the arguments are reported together.
//
// If to is "", a message is for the channel that gave it up, which a header names: consumers of
// nsqx finish it unhandled on the other channels, and count it in Stats.Skipped. Consumers on other
// clients handle it on every channel, and see the envelope that the header is in. Redrive looks
// whether the channel exists at the nsqd to which it publishes (see [WithRedriveHTTP]). If it does
// not, the dead letter stays; if that cannot be known, it stays, too, and Redrive returns an error. A
// message for another topic, or with [WithRedriveAllChannels], is for all channels.
//
// The idle time starts when every known nsqd was tried and one reached, and again when a further one
// is. Redrive does not wait for one that is down, whose dead letters stay: it returns a
// [*RedriveIncompleteError], as it does if an nsqd says that its channel has messages of which none
// came, or if nothing came and no nsqd could be asked. If ctx ends, Redrive waits up to 20 s for
// publishes under way, and returns ctx.Err() with the report. If its channel is new, and others have
// messages, it does nothing and returns a [*RedriveChannelError].
//
// A message is published with its own headers and trace, and with those that name the first topic
// that gave it up: see envelope.OriginTopic. Only its end is gone: one that had expired is handled.
// The dead letter is finished when that is confirmed, so a message may be published twice, but is
// never lost.
//
// A dead letter that the filter leaves out ([WithRedriveFilter]) stays.
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
	workers := int(min(max(cfg.rate/10, 1), 64)) // a message occupies a worker while it waits for its turn
	in := newConsumerConfig(from, cfg.channel, []ConsumerOption{WithOptions(cfg.shared...),
		WithConcurrency(workers), WithMaxInFlight(workers), WithMiddleware(middleware.AutoTouch()),
		WithRetry(retry.Exponential(time.Second, time.Minute)), WithoutBackoff()})
	in.consume.NoRegistration, in.consume.AnyTime = true, true
	if err := errors.Join(errors.Join(cfg.faults...), in.validate()); err != nil {
		return RedriveReport{}, err
	}
	r := &redriveRun{
		cfg: cfg, to: to, began: time.Now(), every: time.Duration(float64(time.Second) / cfg.rate), maxSize: in.conn.Limits().MaxMessageSize,
		channels: cfg.channels(&in.sharedConfig), logger: guard.Logger(in.logger).With("topic", from, "channel", cfg.channel),
		over: make(chan struct{}), idle: redrive.NewIdle(cfg.idle), publishers: make(map[string]func() (*Publisher, error)),
	}
	unseen, err := r.unseen(ctx, from)
	if err != nil {
		return RedriveReport{}, err
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
		r.watch(running, c)
		r.stop()
	})
	err = c.Run(running)
	watcher.Wait()
	err = errors.Join(err, r.close(ctx))
	if ctx.Err() != nil {
		err = errors.Join(publish.Ended(ctx), err)
	}
	r.mu.Lock() // a worker may still run, if the telemetry hangs
	defer r.mu.Unlock()
	if err == nil && r.report == (RedriveReport{}) {
		err = unseen
	}
	return r.report, errors.Join(err, r.failure)
}

// redriveRun is one run of Redrive.
type redriveRun struct {
	cfg   *redriveConfig
	to    string
	began time.Time
	every time.Duration
	stop  func()        // ends the consumer
	over  chan struct{} // closed by stop

	maxSize  int // of a message
	channels *redrive.Channels
	idle     *redrive.Idle
	logger   *slog.Logger

	mu         sync.Mutex
	publishers map[string]func() (*Publisher, error) // by the nsqd to which alone it publishes; "" for all; nil after close
	failure    error                                 // the first that says why dead letters stay
	report     RedriveReport
	idled      bool         // the idle time has ended
	next       time.Time    // when the next message may be published
	taken      int          // messages redriven or being redriven
	left       redrive.Left // messages that stay
}

// watch returns when no message has arrived for the idle time, or the redrive is stopped.
func (r *redriveRun) watch(ctx context.Context, c *consume.Consumer) {
	select {
	case <-c.Ready():
	case <-r.over:
		return
	}
	r.idle.Restart()
	for {
		rest := r.rest(c)
		if rest <= 0 {
			stats := c.Stats()
			incomplete := newRedriveIncompleteError(stats, r.channels.Missing(ctx, stats))
			if rest = r.rest(c); rest <= 0 { // no message has arrived meanwhile
				r.mu.Lock()
				defer r.mu.Unlock()
				r.idled, r.failure = true, errors.Join(r.failure, incomplete)
				return
			}
		}
		select {
		case <-time.After(rest):
		case <-r.over:
			return
		}
	}
}

// rest returns how much of the idle time is left. It is above 0 while a message is being redriven.
func (r *redriveRun) rest(c *consume.Consumer) time.Duration {
	r.mu.Lock()
	publishing := r.taken > r.report.Redriven
	r.mu.Unlock()
	return r.idle.Rest(c.Stats().Connections, publishing)
}

// handle redrives one message.
func (r *redriveRun) handle(ctx context.Context, m *handler.Message) error {
	if m.Timestamp().After(r.began) {
		return r.leave(m, &r.report.Newer, nil)
	}
	if wanted, err := r.cfg.wanted(m); err != nil {
		r.fail(err)
		return r.leave(m, &r.report.Failed, err)
	} else if !wanted {
		return r.leave(m, &r.report.Filtered, nil)
	}
	defer r.begin(m)()
	l := redrive.Open(m)
	topic, channel, nsqd := cmp.Or(r.to, l.Topic), "", ""
	if wire.CheckTopic(topic) != nil || topic == m.Topic() { // headers are input
		return r.leave(m, &r.report.NoOrigin, nil)
	}
	if r.to == "" && !r.cfg.all {
		if wire.CheckChannel(l.Channel) != nil {
			return r.leave(m, &r.report.NoChannel, nil)
		}
		var err error
		switch nsqd, err = r.channels.Where(ctx, m.NSQD(), topic, l.Channel); {
		case nsqd == "" && err == nil:
			return r.leave(m, &r.report.NoChannel, nil)
		case nsqd == "":
			r.fail(err)
			return r.leave(m, &r.report.Failed, err)
		}
		channel = l.Channel
	}
	body, err := l.Body(topic, channel, r.cfg.all, r.maxSize)
	if err != nil {
		return r.leave(m, &r.report.Failed, err)
	}
	send, err := r.sender(nsqd)
	if err != nil {
		return err
	}
	if err := r.turn(ctx); err != nil {
		return err
	}
	out := &handler.Outgoing{Topic: topic, NSQD: cmp.Or(nsqd, m.NSQD()), Raw: true, Messages: []handler.OutgoingMessage{{Body: body}}}
	err = send(ctx, out)
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

// fail keeps the first reason why dead letters stay.
func (r *redriveRun) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = cmp.Or(r.failure, err)
}

// begin keeps the idle time from ending until end is called, unless the message has stayed before:
// such messages come again and again.
func (r *redriveRun) begin(m *handler.Message) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left.Has(m) {
		return func() {}
	}
	return r.idle.Begin()
}

// unseen looks for messages in other channels of the topic, if the channel of the redrive is new. It
// returns an error if there are some, and otherwise the one for a redrive that gets no message.
func (r *redriveRun) unseen(ctx context.Context, from string) (unseen, err error) {
	others, failure := r.channels.Of(ctx, from)
	if _, exists := others[r.cfg.channel]; exists {
		return nil, nil
	}
	e, found := &RedriveChannelError{Topic: from, Channel: r.cfg.channel, Others: others}, false
	maps.DeleteFunc(others, func(_ string, n int64) bool { found = found || n > 0; return n == 0 })
	switch {
	case found:
		return nil, e
	case len(others) > 0:
		return e, nil
	case failure != nil && ctx.Err() == nil:
		r.logger.WarnContext(ctx, "nsqx: redrive cannot tell whether other channels of the topic have messages", "error", failure)
		return &RedriveIncompleteError{from, r.cfg.channel, []error{failure}}, nil
	}
	return nil, nil
}

// sender returns the way to one nsqd alone, since the channel may not exist at others; to any if
// nsqd is "".
func (r *redriveRun) sender(nsqd string) (handler.Send, error) {
	r.mu.Lock()
	if r.publishers == nil {
		r.mu.Unlock()
		return nil, publish.ErrClosed
	}
	get := r.publishers[nsqd]
	if get == nil {
		get = sync.OnceValues(func() (*Publisher, error) { return r.cfg.publisher(nsqd) })
		r.publishers[nsqd] = get
	}
	r.mu.Unlock()
	p, err := get()
	if err != nil {
		return nil, err
	}
	return publish.Confirming(func(ctx context.Context, err error) {
		r.logger.ErrorContext(ctx, "nsqx: telemetry has failed after a message was redriven", "error", err)
	})(p.Send), nil
}

// close ends the publishers, together.
func (r *redriveRun) close(ctx context.Context) error {
	r.mu.Lock()
	all := r.publishers
	r.publishers = nil
	r.mu.Unlock()
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), publish.CloseGrace)
	defer done()
	failures := make(chan error, len(all))
	for _, get := range all {
		go func() {
			p, err := get()
			if err == nil {
				err = p.Shutdown(ctx)
			}
			failures <- err
		}()
	}
	var err error
	for range all {
		err = errors.Join(err, <-failures)
	}
	return err
}

// leave counts a message that stays a dead letter, and requeues it.
func (r *redriveRun) leave(m *handler.Message, counter *int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, full := r.left.Add(m)
	r.failure = cmp.Or(r.failure, full)
	if first {
		*counter++
		if counter != &r.report.Newer { // newer ones may never end
			r.idle.Restart()
		}
	}
	return retry.After(redrive.LeftDelay(r.cfg.idle), err)
}

// turn waits until a message may be published. Otherwise it returns the answer for the message.
func (r *redriveRun) turn(ctx context.Context) error {
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
func (r *redriveRun) take() (wait time.Duration, ok bool) {
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
func (r *redriveRun) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken--; r.idled {
		r.failure = cmp.Or(r.failure, redrive.ErrLate)
	}
}

// done counts a publish, and reports whether it was the last.
func (r *redriveRun) done(err error) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle.Restart()
	if err != nil {
		r.report.Failed++
		r.taken--
		return false
	}
	r.report.Redriven++
	return r.report.Redriven == r.cfg.limit
}
