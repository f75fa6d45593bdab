package conn

import (
	"errors"
	"sync/atomic"
	"time"
)

// An answer to a publish is overdue after four times what answers have taken of late, at least
// leastPatience and otherwise at most a quarter of PublishTimeout. A healthy nsqd answers within
// milliseconds, or a few hundred of them while it syncs to a slow disk.
const (
	leastPatience = time.Second
	patienceOver  = 4 // times the usual
)

// debt is what nsqd owes. It is read without a lock, and written with outbox.mu held.
type debt struct {
	overdue  atomic.Bool // the oldest answer
	untested atomic.Bool // the first answer of the connection
	tell     func()      // called when an answer becomes overdue; may be nil
}

// Overdue reports whether nsqd owes an answer to a publish, or has read nothing of one, for longer than a
// healthy nsqd takes: four times what it has taken of late, at least 1 s and otherwise at most a quarter of
// PublishTimeout. It may be frozen. It costs as much as reading an atomic variable.
func (c *Conn) Overdue() bool { return c.out.pubs.debt.overdue.Load() }

// Untested reports whether something was published and nsqd has not answered any publish of this
// connection yet.
func (c *Conn) Untested() bool { return c.out.pubs.debt.untested.Load() }

// OnOverdue lets f be called each time an answer becomes overdue, from a goroutine of its own, without
// a lock. Serve waits for f to return.
func (c *Conn) OnOverdue(f func()) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.pubs.debt.tell = f
}

var errRecalled = errors.New("nsqx: nsqd is late with its answers to earlier publishes")

// Recall fails what was published and not sent yet with ErrNotSent, so that it can go elsewhere: also
// what waits because very many messages are unanswered.
func (c *Conn) Recall() {
	o := &c.out
	o.mu.Lock()
	queued := o.pubs.queued
	o.pubs.queued = nil
	o.pubs.endWait(errRecalled) // before remove makes room
	for _, p := range queued {
		o.pubs.remove(p)
	}
	o.mu.Unlock()
	for _, p := range queued {
		o.pubs.resolve(p, ErrNotSent, errRecalled)
	}
}

// patience returns how long the oldest answer may take. It requires outbox.mu.
func (q *pubs) patience(timeout time.Duration) time.Duration {
	return max(min(patienceOver*q.usual, timeout/4), leastPatience)
}

// waited returns how long nsqd has owed the oldest answer. While its publish is being written, which may
// take long on a slow link, it is how long nsqd has read nothing. It requires outbox.mu.
func (q *pubs) waited(now time.Duration) time.Duration {
	switch {
	case len(q.sent) == 0:
		return 0
	case q.sent[0].sent == never:
		return now - q.progress
	}
	return now - q.sent[0].sent
}

// answered takes an answer that has come now and has taken a while. It requires outbox.mu.
func (q *pubs) answered(now, took, timeout time.Duration) {
	if q.usual += (took - q.usual) / 16; q.usual < took {
		q.usual = took
	}
	q.debt.untested.Store(false)
	q.recover(now, timeout)
}

// recover looks whether an overdue answer still is. It requires outbox.mu.
func (q *pubs) recover(now, timeout time.Duration) {
	if !q.debt.overdue.Load() {
		return
	}
	late := q.waited(now) >= q.patience(timeout)
	if q.debt.overdue.Store(late); !late && q.timer != nil {
		q.reset(leastPatience) // it waited for the end of PublishTimeout
	}
}

// progressed notes that publishes are being written, and have made progress.
func (c *Conn) progressed() {
	now := c.terms.Now()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.pubs.progress = now
	c.out.pubs.recover(now, c.cfg.PublishTimeout)
}

// publishesWritten notes that the last write is complete: nsqd's time for the answers begins now, since
// a write may take long on a slow link. It requires o.mu.
func (c *Conn) publishesWritten(now time.Duration) {
	q := &c.out.pubs
	for i := len(q.sent) - 1; i >= 0 && q.sent[i].sent == never; i-- {
		q.sent[i].sent = now
	}
	q.recover(now, c.cfg.PublishTimeout)
	c.watchPublishes(now)
}

// watchPublishes arms the timer of the oldest answer: for when it is overdue, and then for the end of
// PublishTimeout. It requires o.mu.
func (c *Conn) watchPublishes(now time.Duration) {
	q := &c.out.pubs
	if q.armed || len(q.sent) == 0 {
		return
	}
	q.armed = true
	waited := q.waited(now)
	wait := min(leastPatience, c.cfg.PublishTimeout) // while it is being written
	if q.sent[0].sent != never {
		wait = c.cfg.PublishTimeout - waited
	}
	if !q.debt.overdue.Load() {
		wait = min(wait, q.patience(c.cfg.PublishTimeout)-waited, leastPatience) // patience may shrink
	}
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, c.checkPublishes)
		q.checks.Add(1)
	} else {
		q.reset(wait)
	}
}

// reset sets the timer anew. It requires outbox.mu.
func (q *pubs) reset(wait time.Duration) {
	if !q.timer.Reset(wait) {
		q.checks.Add(1)
	}
}

// endChecks stops the timer, and waits for checkPublishes. It is called when nothing is read or written
// any more, so nothing sets the timer again.
func (o *outbox) endChecks() {
	q := &o.pubs
	o.mu.Lock()
	if q.timer != nil && q.timer.Stop() {
		q.checks.Done()
	}
	o.mu.Unlock()
	q.checks.Wait()
}

// checkPublishes looks how old the oldest answer is that nsqd owes.
func (c *Conn) checkPublishes() {
	defer c.out.pubs.checks.Done()
	o, now := &c.out, c.terms.Now()
	o.mu.Lock()
	q := &o.pubs
	q.armed = false
	late := false
	var tell func()
	if !o.dead.Load() && len(q.sent) > 0 {
		waited := q.waited(now)
		late = waited >= c.cfg.PublishTimeout && q.sent[0].sent != never // a write has a deadline of its own
		if waited >= q.patience(c.cfg.PublishTimeout) && !q.debt.overdue.Swap(true) {
			tell = q.debt.tell
		}
	}
	if !late && !o.dead.Load() {
		c.watchPublishes(now)
	}
	o.mu.Unlock()
	if tell != nil {
		tell()
	}
	if late {
		c.Abort(ErrPublishTimeout)
	}
}
