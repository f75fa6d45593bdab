package redial

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
)

// line is one address: it dials, serves the connection, and dials again for as long as the address
// is wanted. A lazy line dials once each time it is started.
type line struct {
	set      *Set
	addr     string
	hurry    chan struct{}               // holds one: dial now
	schedule *backoff.ExponentialBackOff // of the goroutine
	room     guard.Room                  // of the goroutine: its dials

	// Guarded by set.mu.
	wanted  bool          // dial again
	removed bool          // see Set.Remove
	unnamed time.Time     // since when nobody names it, or its connection ended after that; zero while it is named
	lost    time.Time     // when its last connection ended
	tried   bool          // a dial has succeeded or failed
	away    bool          // a dial has failed since it was connected
	longest time.Duration // delay of a REQ that its nsqd accepts; 0 unless it has said so
	running bool          // there is a goroutine
	waiting bool          // it waits before the next dial, or is in doubt
	doubt   bool          // see inDoubt
	conn    *conn.Conn    // nil unless connected
	renewal
	reached     bool // it was connected once
	dials       uint64
	lastErr     error
	retryAt     time.Time
	unconfirmed []error      // of connections that ended after Set.Close
	leaving     []*conn.Conn // that have ended, with messages that are not settled
	past        conn.Stats   // of the other connections that have ended, added up
}

func newLine(s *Set, addr string) *line {
	return &line{set: s, addr: addr, hurry: make(chan struct{}, 1), schedule: newSchedule()}
}

// start starts the goroutine unless it runs. The caller holds set.mu.
func (l *line) start() {
	s := l.set
	if l.running || s.closed || s.ctx == nil {
		return
	}
	l.running = true
	s.running.Go(func() { l.run(s.ctx, nil, true) })
}

// trying reports whether there may be a connection soon; it starts a lazy line. The caller holds
// set.mu.
func (l *line) trying() bool {
	if l.waiting || !l.wanted && !l.running {
		return false
	}
	l.start()
	return true
}

// dialNow ends the wait before the next dial.
func (l *line) dialNow() {
	select {
	case l.hurry <- struct{}{}:
	default:
	}
}

// run dials and serves until ctx ends, the set is closed, or the address is not wanted any more; a
// lazy line dials once. c is served first, if it is not nil. A connection outlives ctx: its owner
// ends it.
//
// If a net.Conn of the user's ends the goroutine by runtime.Goexit, another one continues after a
// pause.
func (l *line) run(ctx context.Context, c *conn.Conn, first bool) {
	returned, replaced := false, false
	defer func() {
		if returned || replaced {
			return
		}
		l.set.running.Go(func() {
			l.wait(ctx, notify.Disconnect, l.failure(), dialPause(l.schedule, nil))
			l.run(ctx, nil, !l.set.cfg.Lazy)
		})
	}()
	for ; c != nil || l.next(ctx, first); first = false {
		if c == nil {
			var err error
			if c, err = l.dial(ctx, &l.room); err != nil {
				c = nil
				l.wait(ctx, notify.DialError, err, dialPause(l.schedule, err))
				continue
			}
			if !l.inDoubt() && !l.attach(c) {
				l.discard(c)
				c = nil
				continue
			}
		}
		began := time.Now()
		err := l.serve(ctx, c, &replaced)
		if replaced { // another goroutine serves the address
			l.set.post(notify.Disconnect, l.addr, err, 0)
			return
		}
		pause := l.pause(c, err, time.Since(began))
		if l.isAtOnce(c) {
			pause = 0
		}
		l.wait(ctx, l.ended(err), err, pause)
		c = nil
	}
	returned = true
}

// failure returns the last error.
func (l *line) failure() error {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	return l.lastErr
}

// dial connects. Dialer, secret and callbacks of TLS are user code. A dial that outlives its timeouts
// fails, and so do the next ones in the room until it has returned.
func (l *line) dial(ctx context.Context, room *guard.Room) (*conn.Conn, error) {
	cfg := &l.set.cfg
	limited, cancel := context.WithTimeout(ctx, cfg.Conn.ConnectTimeout())
	defer cancel()
	c, err := guard.Within(limited, room, func() (*conn.Conn, error) { return conn.Dial(ctx, l.addr, cfg.Conn, l.subscription()) }, l.discard)
	if err == guard.ErrHangs {
		err = &conn.Error{Addr: l.addr, Phase: conn.PhaseDial, Err: errDialHangs}
	}
	return c, err
}

var errDialHangs = fmt.Errorf("DialContext, AuthSecret or a callback of TLS hangs: %w", guard.ErrHangs)

// discard ends a connection that nobody serves.
func (l *line) discard(c *conn.Conn) {
	c.Abort(nil) // nothing was delivered
	_ = c.Serve(l.set.cfg.Sink)
}

// next reports whether to dial. If not, the goroutine must end.
func (l *line) next(ctx context.Context, first bool) bool {
	s := l.set
	s.mu.Lock()
	defer s.mu.Unlock()
	l.waiting = false
	if l.expired() {
		l.wanted = false
	}
	if ctx.Err() == nil && !s.closed && l.wanted && (first || !s.cfg.Lazy) {
		l.dials++
		l.waiting = l.doubt
		return true
	}
	l.running = false
	l.leave()
	s.announce()
	return false
}

// attach makes a new connection known. It returns false if the set is closed, or the address removed.
func (l *line) attach(c *conn.Conn) bool {
	s := l.set
	s.mu.Lock()
	if s.closed || l.removed {
		s.mu.Unlock()
		return false
	}
	l.connected(c)
	s.mu.Unlock()
	l.tellAttached()
	return true
}

// connected makes c the connection of the line. The caller holds set.mu.
func (l *line) connected(c *conn.Conn) {
	l.conn, l.lastErr, l.reached, l.tried = c, nil, true, true
	l.back()
	if !l.wanted && !l.set.cfg.Lazy { // forgotten during its first dial
		l.wanted, l.unnamed = true, time.Now()
	}
	if overdue := l.set.cfg.Overdue; overdue != nil {
		c.OnOverdue(func() { overdue(c) })
	}
	l.waiting, l.doubt = false, false
	select {
	case <-l.hurry: // it is connected now
	default:
	}
	l.set.announce()
}

func (l *line) tellAttached() {
	s := l.set
	s.post(notify.Connect, l.addr, nil, 0)
	if s.cfg.Attached != nil {
		s.cfg.Attached()
	}
}

// serve runs a connection to its end. It sets replaced if the line has got another one meanwhile.
func (l *line) serve(ctx context.Context, c *conn.Conn, replaced *bool) (err error) {
	s := l.set
	var helpers sync.WaitGroup
	if l.inDoubt() {
		helpers.Go(func() { l.attachLater(ctx, c) })
	}
	if s.cfg.Lazy {
		helpers.Go(func() { closeIdle(c) })
	}
	defer func() { // also after runtime.Goexit
		helpers.Wait()
		*replaced = l.detach(c, c.Err())
	}()
	return c.Serve(s.cfg.Sink)
}

// detach removes a connection that has ended. It reports whether the line had got another one.
func (l *line) detach(c *conn.Conn, err error) (replaced bool) {
	s := l.set
	s.mu.Lock()
	l.learn(err)
	replaced = l.isReplaced(c)
	if replaced {
		l.forgetReplaced(c)
		if !s.closed {
			l.leave()
		}
	} else {
		l.conn, l.lastErr, l.lost = nil, err, time.Now()
		if !l.unnamed.IsZero() {
			l.unnamed = l.lost
		}
	}
	if s.closed && err != nil {
		l.unconfirmed = append(l.unconfirmed, err)
	}
	l.leaving = append(l.leaving, c)
	l.addLeft()
	s.announce()
	s.trim() // its connection has kept it
	s.mu.Unlock()
	if s.cfg.Detached != nil {
		s.cfg.Detached(c)
	}
	return replaced
}

// wait tells what has failed, and waits before the next dial.
func (l *line) wait(ctx context.Context, kind notify.Kind, err error, pause time.Duration) {
	s := l.set
	s.mu.Lock()
	ending := s.closed || ctx.Err() != nil
	if kind == notify.DialError {
		l.forget()
	}
	if kind == notify.DialError && !l.unnamed.IsZero() {
		kind, pause = l.relax(pause)
	}
	if l.tried = true; ending || !l.wanted {
		pause = 0
	}
	if !ending {
		l.lastErr, l.retryAt, l.waiting = err, time.Now().Add(pause), pause > 0
	}
	s.announce()
	s.mu.Unlock()
	if s.cfg.Tried != nil {
		s.cfg.Tried()
	}
	if !ending || kind == notify.Disconnect { // else the dial was given up
		s.post(kind, l.addr, err, pause)
	}
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.hurry:
	case <-ctx.Done():
	}
}

func (s *Set) post(kind notify.Kind, addr string, err error, retry time.Duration) {
	if s.cfg.Post != nil {
		s.cfg.Post(kind, addr, err, retry)
	}
}

// idleTime is how long, and up to twice as long, a lazy line keeps a connection that nobody uses.
const idleTime = 30 * time.Second

// closeIdle closes a connection that nobody has used for a while.
func closeIdle(c *conn.Conn) {
	ticker := time.NewTicker(idleTime)
	defer ticker.Stop()
	var last uint64
	for {
		select {
		case <-ticker.C:
		case <-c.Done():
			return
		}
		published := c.Stats().Published
		if published == last && c.Unanswered() == 0 {
			c.CloseWrite()
		}
		last = published
	}
}
