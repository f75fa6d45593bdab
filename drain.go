package nsqx

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

const (
	// grace is what handlers have left when their contexts have ended.
	grace = time.Second

	// overtime is what a shutdown takes at most beyond its timeout.
	overtime = 2 * time.Second

	// answerTime is how long nsqd may take to answer CLS, if the timeout leaves
	// that much; closeWaitTimeout is what it has in any case.
	answerTime       = 2 * time.Second
	closeWaitTimeout = 250 * time.Millisecond

	// stragglers may still be sent by nsqd after its answer to CLS: it may have
	// taken one from the queue just before.
	stragglers = 50 * time.Millisecond
)

// ShutdownError says what a shutdown could not bring to a good end.
type ShutdownError struct {
	// Abandoned are the messages whose handlers had not returned when the
	// shutdown timeout and the grace were over. They were requeued, if nsqd
	// still waited for them; their late results change nothing.
	Abandoned []Abandoned

	// Unanswered are messages that came when the connection could take no more
	// answers. nsqd delivers them again after their message timeout.
	Unanswered []Abandoned

	// Unconfirmed are the connections on which nsqd has not confirmed that it
	// has read all answers: it may deliver messages again that were finished.
	// The errors are of type *conn.Error.
	Unconfirmed []error

	// Running is how many handlers have still not returned.
	Running int

	// HookRuns says that a hook, or the logger, has still not returned.
	HookRuns bool
}

// Abandoned identifies a message that a shutdown has left behind.
type Abandoned struct {
	NSQD, Topic, Channel string
	ID                   handler.ID
	Attempts             uint16
	Requeued             bool // false if the connection was gone, or nsqd had stopped waiting
}

func newAbandoned(m *handler.Delivery, requeued bool) Abandoned {
	return Abandoned{
		NSQD: m.NSQD(), Topic: m.Topic(), Channel: m.Channel(), ID: m.ID, Attempts: m.Attempts, Requeued: requeued,
	}
}

// Error lists ids and addresses.
func (e *ShutdownError) Error() string {
	var b strings.Builder
	b.WriteString("nsqx: shutdown incomplete")
	for i, a := range e.Abandoned {
		if i == 0 {
			fmt.Fprintf(&b, ": %d handlers of %s/%s did not return in time, messages", len(e.Abandoned), a.Topic, a.Channel)
		}
		fmt.Fprintf(&b, " %s@%s", a.ID, a.NSQD)
	}
	for i, a := range e.Unanswered {
		if i == 0 {
			fmt.Fprintf(&b, "; %d messages of %s/%s came too late to be given back,", len(e.Unanswered), a.Topic, a.Channel)
		}
		fmt.Fprintf(&b, " %s@%s", a.ID, a.NSQD)
	}
	for _, err := range e.Unconfirmed {
		fmt.Fprintf(&b, "; %v", err)
	}
	if e.Running > 0 {
		fmt.Fprintf(&b, "; %d handlers still run", e.Running)
	}
	if e.HookRuns {
		b.WriteString("; a hook or the logger still runs")
	}
	return b.String()
}

// Is makes abandoned handlers a deadline that passed.
func (e *ShutdownError) Is(target error) bool {
	return target == context.DeadlineExceeded && len(e.Abandoned) > 0
}

// Unwrap returns Unconfirmed.
func (e *ShutdownError) Unwrap() []error { return e.Unconfirmed }

// drain ends the consumer in good order; see Consumer.Run for the promise.
// Dialling has ended with the ctx of Run.
func (e *engine) drain(helpers *sync.WaitGroup) error {
	began := time.Now()
	e.mu.Lock()
	e.draining = true
	conns := e.conns()
	e.mu.Unlock()

	// Intake: nothing new is handled.
	e.control.stop()
	for _, c := range conns {
		c.StopDelivery()
	}
	for _, m := range e.queue.close() {
		e.workers.giveBack(m, handler.Interrupted, 0)
	}

	// Running handlers: time to finish, then time to notice.
	end := &ShutdownError{}
	lastCall := e.cfg.shutdownTimeout == 0
	if lastCall || !e.workers.end(e.cfg.shutdownTimeout) {
		for _, c := range conns {
			c.CancelMessages(handler.ErrShutdown)
		}
		if lastCall || !e.workers.end(grace) {
			end.Abandoned = e.abandon()
		}
	}
	e.stopSettling(handler.ErrShutdown)

	// Connections: everything is answered by now.
	closeConns(conns, began.Add(min(e.cfg.shutdownTimeout, answerTime)))
	e.linked.Go(func() { e.publishing.close(false) })
	e.linked.Wait()
	helpers.Wait()

	wait := 100 * time.Millisecond // for who was waiting for a dead letter
	if lastCall {
		wait = grace // contexts have just ended
	}
	if !e.workers.end(wait) {
		end.Running = e.workers.busy()
	}
	for _, l := range e.links {
		if l.unproven {
			end.Unconfirmed = append(end.Unconfirmed, l.lastErr)
		}
	}
	end.HookRuns = !e.events.end(began.Add(e.cfg.shutdownTimeout + overtime))
	e.mu.Lock()
	end.Unanswered = e.unanswered
	e.mu.Unlock()
	if len(end.Abandoned) == 0 && len(end.Unanswered) == 0 && len(end.Unconfirmed) == 0 && end.Running == 0 && !end.HookRuns {
		return nil
	}
	return end
}

// abandon requeues the messages whose handlers still run.
func (e *engine) abandon() []Abandoned {
	var abandoned []Abandoned
	for _, m := range e.workers.running() {
		c := m.Source().(*conn.Conn)
		requeued := c.Requeue(m, 0)
		if !requeued && c.Alive() && m.Answerable() {
			continue // the handler has returned just now
		}
		abandoned = append(abandoned, newAbandoned(m, requeued))
	}
	return abandoned
}

// closeConns half-closes the connections once nsqd has stopped sending, so that
// what it sent last is given back, too. It waits for that until a little after
// now or until, whichever is later.
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
		time.Sleep(stragglers)
	}
	for _, c := range conns {
		c.CloseWrite()
	}
}
