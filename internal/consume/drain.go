package consume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lifecycle"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

const (
	// grace is what handlers have left when their contexts have ended.
	grace = time.Second

	// overtime is what a shutdown takes at most beyond its timeout.
	overtime = 2 * time.Second

	// answerTime is how long nsqd may take to answer CLS, if the timeout leaves that much;
	// closeWaitTimeout is what it has in any case.
	answerTime       = 2 * time.Second
	closeWaitTimeout = 250 * time.Millisecond

	// lateTime is how long after its answer to CLS nsqd may still send a message: one that it took
	// from its queue just before.
	lateTime = 50 * time.Millisecond

	// firstTell is when the log says what the drain waits for; then it is after twice as long each
	// time, up to lastTell.
	firstTell = 5 * time.Second
	lastTell  = time.Minute
)

// drain ends the consumer in good order; see nsqx.Consumer.Run for the promise. Dialling has ended
// with the ctx of Run.
func (c *Consumer) drain(helpers *sync.WaitGroup) error {
	began := time.Now()
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	conns := c.links.Close()

	// Intake: nothing new is handled.
	before := c.pool.Counts()
	c.control.Stop()
	c.breaker.Stop()
	for _, conn := range conns {
		conn.StopDelivery()
	}
	c.pool.Close()

	// Running handlers: time to finish, then time to notice.
	end := &observe.ShutdownError{}
	timeout := lifecycle.Within(c.ctx, c.cfg.ShutdownTimeout, overtime)
	c.postDrain(notify.Event{Kind: notify.Draining, Took: timeout, Reason: whyEnded(c.ctx)})
	atOnce := timeout == 0
	if atOnce || !c.waitHandlers(timeout) {
		for _, conn := range conns {
			conn.CancelMessages(handler.ErrShutdown)
		}
		if atOnce || !c.pool.Wait(grace) {
			end.Abandoned = c.abandon()
		}
	}
	c.stopSettling(handler.ErrShutdown)

	// Connections: everything is answered by now.
	wait := 100 * time.Millisecond // for handlers that waited for a dead letter
	if atOnce {
		wait = grace // contexts have just ended
	}
	closeConns(conns, began.Add(min(timeout, answerTime)))
	last := began.Add(timeout).Add(overtime) // the sum of both may overflow
	end.CallbackRuns = !c.waitLinks(helpers, time.Until(last)-wait)

	if !c.pool.Wait(wait) {
		left := c.pool.Snapshot()
		end.Running = left.Busy() + len(left.Parked)
	}
	end.Unconfirmed = c.links.Unconfirmed()
	c.mu.Lock()
	end.Unanswered = c.unanswered
	c.mu.Unlock()
	ev := notify.Event{Kind: notify.Drained, Took: time.Since(began), Settled: c.pool.Counts()}
	for disposition, n := range before {
		ev.Settled[disposition] -= n
	}
	if !end.Empty() {
		ev.Err = errors.New(end.Error())
	}
	c.postDrain(ev)
	end.HookRuns = !c.events.Close(last)
	if end.Empty() {
		return nil
	}
	return end
}

// waitLinks waits for connections, dials and polls to end. It returns false if some have not after d:
// a dialer, a net.Conn or a Discoverer of the user's hangs, and is left behind.
func (c *Consumer) waitLinks(helpers *sync.WaitGroup, d time.Duration) bool {
	helpers.Go(func() { c.dead.Close(false) })
	return guard.Returns(d, func() {
		c.links.Wait()
		helpers.Wait()
	})
}

// waitHandlers waits for running handlers, and tells of them now and then.
func (c *Consumer) waitHandlers(timeout time.Duration) bool {
	for next := firstTell; timeout > next; next = min(2*next, lastTell) {
		if c.pool.Wait(next) {
			return true
		}
		timeout -= next
		c.postDrain(notify.Event{Kind: notify.StillDrains, Took: timeout})
	}
	return c.pool.Wait(timeout)
}

// whyEnded returns why the ctx of a run has ended.
func whyEnded(ctx context.Context) string {
	why := context.Cause(ctx)
	if d, ok := why.(*lifecycle.Draining); ok { // of nsqx.Run
		why = d.Err
	}
	return reason(why)
}

// postDrain tells of the drain, and of the oldest message in hand.
func (c *Consumer) postDrain(ev notify.Event) {
	left := c.pool.Snapshot()
	running := append(left.Running, left.Parked...)
	if ev.Found = len(running); len(running) > 0 {
		ev.SetMessage(slices.MinFunc(running, func(a, b *handler.Delivery) int { return a.Received().Compare(b.Received()) }))
	}
	c.events.Post(ev)
}

// abandon requeues the messages whose handlers still run.
func (c *Consumer) abandon() (abandoned []observe.Abandoned) {
	left := c.pool.Snapshot()
	for _, d := range append(left.Running, left.Parked...) {
		from := d.Source().(*conn.Conn)
		requeued := from.Requeue(d, 0)
		if !requeued && from.Alive() && d.Answerable() {
			continue // the handler has just returned
		}
		abandoned = append(abandoned, newAbandoned(d, requeued))
	}
	return abandoned
}

// requeueLate gives back messages that arrived in the drain.
func (c *Consumer) requeueLate(msgs []handler.Delivery) {
	var left []observe.Abandoned
	for i := range msgs {
		if d := &msgs[i]; !c.pool.Requeue(d, handler.Interrupted, 0) {
			left = append(left, newAbandoned(d, false))
		}
	}
	c.mu.Lock()
	c.unanswered = append(c.unanswered, left...)
	c.mu.Unlock()
}

func newAbandoned(d *handler.Delivery, requeued bool) observe.Abandoned {
	return observe.Abandoned{
		NSQD: d.NSQD(), Topic: d.Topic(), Channel: d.Channel(), ID: d.ID, Attempts: d.Attempts, Requeued: requeued,
	}
}

// closeConns half-closes the connections once nsqd has stopped sending, so that what it sent last is
// given back, too. It waits for that until a little after until, or after now, whichever is later.
func closeConns(conns []*conn.Conn, until time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), max(time.Until(until), 0)+closeWaitTimeout)
	defer cancel()
	stopped := false
	for _, c := range conns {
		select {
		case <-c.DeliveryStopped():
			stopped = true
		case <-c.Done():
		case <-ctx.Done():
		}
	}
	if stopped {
		time.Sleep(lateTime)
	}
	for _, c := range conns {
		c.CloseWrite()
	}
}
