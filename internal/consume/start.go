package consume

import (
	"context"
	"sync"
	"time"

	"github.com/nsqx/nsqx/internal/redial"
	"github.com/nsqx/nsqx/observe"
)

// life is the run that Start has started.
type life struct {
	news chan struct{} // holds one: an nsqd was tried, or a source polled

	mu   sync.Mutex
	stop context.CancelCauseFunc // ends the ctx of the run; nil before
	over chan struct{}           // closed when the run has returned err; nil before
	err  error
}

// stopped is the cause of the end of a run by Stop.
type stopped struct{}

func (stopped) Error() string { return "nsqx: Stop was called" }

// Is makes it a context.Canceled, as for any ctx that is canceled.
func (stopped) Is(target error) bool { return target == context.Canceled }

// Run connects and handles messages until ctx ends, then drains. It waits for what it starts.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return ErrAlreadyRun
	}
	return c.run(ctx)
}

// Start is Run in the background, until ctx ends or Stop is called. It returns nil once an nsqd is
// subscribed or the topic does not exist yet. If that can never be, or is not within the timeout or
// before ctx ends, it ends the run and returns the reason.
func (c *Consumer) Start(ctx context.Context, timeout time.Duration) error {
	if !c.started.CompareAndSwap(false, true) {
		return ErrAlreadyRun
	}
	ctx, stop := context.WithCancelCause(ctx)
	l, over := &c.life, make(chan struct{})
	l.mu.Lock()
	l.stop, l.over = stop, over
	l.mu.Unlock()
	go func() {
		defer close(over)
		defer stop(nil)
		l.err = c.run(ctx)
	}()
	err := c.awaitStart(ctx, timeout)
	if err != nil {
		stop(err)
		<-over
	}
	return err
}

// awaitStart returns nil once the consumer works, or why it does not.
func (c *Consumer) awaitStart(ctx context.Context, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		if c.works() {
			return nil
		}
		if err := c.allPermanent(); err != nil {
			return err
		}
		select {
		case <-c.life.news:
		case <-timer.C:
			return noNSQD(c.links.Failures(), c.discovery.Failures())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// works reports whether an nsqd is subscribed or the topic does not exist yet.
func (c *Consumer) works() bool {
	return len(c.links.Conns()) > 0 || c.discovery.Answered() && c.links.Len() == 0
}

// allPermanent returns an error if every nsqd that is known has a failure that lasts.
func (c *Consumer) allPermanent() error {
	if !c.discovery.Answered() || !c.links.Tried() {
		return nil
	}
	failures := c.links.Failures()
	for _, err := range failures {
		if !redial.Lasting(err) {
			return nil
		}
	}
	if len(failures) == 0 || len(failures) < c.links.Len() {
		return nil
	}
	return noNSQD(failures)
}

// Stop ends the run and waits for its end, or for that of ctx.
func (c *Consumer) Stop(ctx context.Context) error {
	over := c.life.ending(true)
	if over == nil {
		return observe.ErrNotRunning
	}
	select {
	case <-over:
	case <-ctx.Done():
		select {
		case <-over:
		default:
			return context.Cause(ctx)
		}
	}
	return c.life.err
}

// Wait waits for the end of the run.
func (c *Consumer) Wait() error {
	over := c.life.ending(false)
	if over == nil {
		return observe.ErrNotRunning
	}
	<-over
	return c.life.err
}

// ending returns the channel that is closed at the end of the run, nil before the run. It ends the
// run if that is asked for.
func (l *life) ending(stop bool) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		return nil
	}
	if stop {
		l.stop(stopped{})
	}
	return l.over
}
