package redial

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
)

const (
	// firstRenewal is the least time between two renewals of an address. Each further one waits twice
	// as long, up to lastRenewal, until there was none for calmRenewal.
	firstRenewal = time.Second
	lastRenewal  = time.Minute
	calmRenewal  = 10 * time.Minute

	// mostReplaced is how many replaced connections of an address may wait for their handlers.
	mostReplaced = 4

	// closeWait is how long nsqd may take to confirm CLS; lateTime is how long after that it may still
	// send a message that it took from its queue before.
	closeWait = 2 * time.Second
	lateTime  = 50 * time.Millisecond
)

// renewal is the part of a line that replaces its connection. It is guarded by set.mu.
type renewal struct {
	renewing bool         // the new connection is dialled
	dialling guard.Room   // of that dial; not guarded
	replaced []*conn.Conn // not ended yet
	renewed  uint64
	at       time.Time     // of the last renewal, or attempt
	gap      time.Duration // least time from then to the next one
	atOnce   *conn.Conn    // closed to be replaced: its end needs no pause
}

// Renew replaces a connection by a new one to the same nsqd, at once and not through the pauses of
// failures. The old one stays in use until the new one is subscribed. Then it gets CLS, and is closed in
// good order when its messages are answered. If nsqd refuses one more subscriber, the old one is
// closed first.
//
// Renew does not wait. It returns false, and does nothing, if c is not in use, is closed already to be
// replaced, or was renewed too recently.
func (s *Set) Renew(c *conn.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.lines, func(l *line) bool { return l.conn == c })
	if i < 0 || s.closed || s.ctx == nil || s.ctx.Err() != nil {
		return false
	}
	l, now := s.lines[i], time.Now()
	since := now.Sub(l.at)
	if l.renewing || l.atOnce == c || !l.wanted || len(l.replaced) >= mostReplaced || since < l.gap {
		return false
	}
	if l.gap = min(2*l.gap, lastRenewal); l.gap == 0 || since > calmRenewal {
		l.gap = firstRenewal
	}
	l.renewing, l.at = true, now
	l.dials++
	s.running.Go(func() { l.renew(s.ctx, c) })
	return true
}

// renew dials the connection that replaces old, and serves it.
func (l *line) renew(ctx context.Context, old *conn.Conn) {
	c, err := l.dial(ctx, &l.dialling)
	if err != nil {
		l.renewFailed(ctx, old, err)
		return
	}
	if !l.replace(old, c) {
		_ = guard.Call(func() { l.discard(c) })
		return
	}
	l.tellAttached()
	l.set.running.Go(func() { closeInOrder(old) })
	l.run(ctx, c, false)
}

// replace makes c the connection of the line. It returns false if old has ended, or must not be
// replaced any more.
func (l *line) replace(old, c *conn.Conn) bool {
	s := l.set
	s.mu.Lock()
	defer s.mu.Unlock()
	l.renewing = false
	if s.closed || l.conn != old {
		return false
	}
	old.StopDelivery() // before c gets a quota
	l.replaced = append(l.replaced, old)
	l.renewed++
	l.connected(c)
	return true
}

// renewFailed keeps old, unless nsqd has no room for another subscriber. The last subscriber of an
// ephemeral channel stays in any case: nsqd would delete the channel.
func (l *line) renewFailed(ctx context.Context, old *conn.Conn, err error) {
	s := l.set
	e, ok := errors.AsType[*conn.Error](err)
	full := ok && e.Phase == conn.PhaseSubscribe && !strings.HasSuffix(old.Channel(), "#ephemeral")
	s.mu.Lock()
	l.renewing = false
	ending := s.closed || ctx.Err() != nil || l.conn != old
	if full && !ending {
		old.StopDelivery()
		l.atOnce = old
		l.renewed++
	}
	s.mu.Unlock()
	if ending {
		return
	}
	s.post(notify.DialError, l.addr, err, 0)
	if full {
		closeInOrder(old)
	}
}

// isAtOnce reports whether c was closed to be replaced.
func (l *line) isAtOnce(c *conn.Conn) bool {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	return l.atOnce == c
}

func (l *line) isReplaced(c *conn.Conn) bool { return slices.Contains(l.replaced, c) }

func (l *line) forgetReplaced(c *conn.Conn) {
	l.replaced = slices.DeleteFunc(l.replaced, func(x *conn.Conn) bool { return x == c })
}

// closeInOrder closes a connection that got CLS, when all that nsqd has sent is answered.
func closeInOrder(c *conn.Conn) {
	pause := time.NewTimer(closeWait)
	defer pause.Stop()
	select {
	case <-c.DeliveryStopped():
	case <-pause.C:
	case <-c.Done():
		return
	}
	for pause.Reset(lateTime); ; pause.Reset(lateTime) {
		select {
		case <-pause.C:
		case <-c.Done():
			return
		}
		if c.Load(false).InFlight == 0 {
			c.CloseWrite()
			return
		}
	}
}
