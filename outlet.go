package nsqx

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// outletIdle is how long, and up to twice as long, a lazy outlet keeps a connection that nobody uses.
const outletIdle = 30 * time.Second

// outlet is one nsqd to publish to. It dials when it is started, and again when the
// connection is lost, for as long as its address is wanted; a lazy one ends then,
// and when it is idle, until it is needed again.
type outlet struct {
	p    *publishing
	addr string
	anew chan struct{} // holds one: dial at once

	redial *backoff.ExponentialBackOff // of the goroutine

	// Guarded by p.mu.
	wanted    bool
	running   bool       // there is a goroutine
	cooling   bool       // it waits before it dials again
	conn      *conn.Conn // nil unless it can publish
	dials     uint64
	lastErr   error
	retryAt   time.Time
	lastStats conn.Stats
}

// start starts the outlet's goroutine unless it runs. The caller holds p.mu.
func (o *outlet) start() {
	if o.running || o.p.closed {
		return
	}
	o.running = true
	o.p.running.Go(o.run)
}

// trying says whether there may be a connection soon; it starts a lazy outlet. The
// caller holds p.mu.
func (o *outlet) trying() bool {
	if o.cooling || !o.wanted && !o.running {
		return false
	}
	o.start()
	return true
}

// hurry ends the wait before the next dial.
func (o *outlet) hurry() {
	select {
	case o.anew <- struct{}{}:
	default:
	}
}

// run dials and serves until the publisher closes, or the address is wanted no
// more; if lazy, once.
func (o *outlet) run() {
	for first := true; o.again(first); first = false {
		c, err := conn.Dial(o.p.ctx, o.addr, o.p.cfg.conn, nil)
		if err != nil {
			delay := o.redial.NextBackOff()
			if lasting(err) {
				delay = redialMax/2 + rand.N(redialMax/2) // it will not heal by itself
			}
			o.cool(eventDialError, err, delay)
			continue
		}
		began := time.Now()
		err = o.serve(c)
		useful := err == nil || c.Stats().Published > 0
		if useful || time.Since(began) >= healthy || permanent(err) { // what nsqd does not take is no sign that it is down
			o.redial.Reset()
		}
		delay := time.Duration(0)
		if !useful {
			delay = o.redial.NextBackOff()
		}
		o.cool(eventDisconnect, err, delay)
	}
}

// again says whether to dial. If not, the goroutine is to end.
func (o *outlet) again(first bool) bool {
	p := o.p
	p.mu.Lock()
	defer p.mu.Unlock()
	o.cooling = false
	if p.closed || !o.wanted || p.lazy && !first {
		o.running = false
		if !o.wanted {
			o.remove()
		}
		p.announce()
		return false
	}
	o.dials++
	return true
}

// remove takes the outlet off the list. The caller holds p.mu.
func (o *outlet) remove() {
	o.p.outlets = slices.DeleteFunc(o.p.outlets, func(x *outlet) bool { return x == o })
}

// serve runs a connection to its end.
func (o *outlet) serve(c *conn.Conn) error {
	p := o.p
	p.mu.Lock()
	if p.closed { // nobody would end it
		p.mu.Unlock()
		c.Abort(nil)
		_ = c.Serve(noSink{})
		return nil
	}
	o.conn, o.lastErr = c, nil
	p.announce()
	p.mu.Unlock()
	p.post(eventConnect, ConnEvent{NSQD: o.addr})
	var helpers sync.WaitGroup
	if p.lazy {
		helpers.Go(func() { retireIdle(c) })
	}

	err := c.Serve(noSink{})

	helpers.Wait()
	p.mu.Lock()
	o.conn, o.lastErr = nil, err
	o.lastStats = pastStats(o.lastStats, c.Stats())
	p.announce()
	p.mu.Unlock()
	return err
}

// retireIdle closes a connection that nobody has used for a while.
func retireIdle(c *conn.Conn) {
	ticker := time.NewTicker(outletIdle)
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

// cool tells what has failed, and waits before the next dial.
func (o *outlet) cool(kind eventKind, err error, delay time.Duration) {
	p := o.p
	p.mu.Lock()
	if p.closed {
		delay = 0
	}
	o.lastErr, o.retryAt, o.cooling = err, time.Now().Add(delay), delay > 0
	p.announce()
	closed := p.closed
	p.mu.Unlock()
	if !closed || kind == eventDisconnect { // else given up with the publisher
		p.post(kind, ConnEvent{NSQD: o.addr, Err: err, Retry: delay})
	}
	if delay == 0 {
		return
	}
	select {
	case <-time.After(delay):
	case <-o.anew:
	case <-p.ctx.Done():
	}
}

// post tells of a connection.
func (p *publishing) post(kind eventKind, ev ConnEvent) {
	if p.events != nil {
		p.events.post(kind, event{ConnEvent: ev})
	}
}

// hopeless says whether all reasons for which no nsqd can be reached are lasting
// ones.
func hopeless(down error) bool {
	if down == errPublisherClosed {
		return true
	}
	why := down.(interface{ Unwrap() []error }).Unwrap()[1:] // the first is ErrNoNSQD
	return len(why) > 0 && !slices.ContainsFunc(why, func(err error) bool { return !lasting(err) })
}

// lasting says whether what has ended a connection will not heal by itself. What nsqd
// did not take of a connection that stood is no such thing: it takes others.
func lasting(err error) bool {
	e, ok := errors.AsType[*conn.Error](err)
	return ok && e.Permanent() && e.Phase != conn.PhaseStream
}

// stats adds up an address. The caller holds p.mu.
func (o *outlet) stats() ConnStats {
	s := ConnStats{Stats: o.lastStats, Connected: o.conn != nil, Dials: o.dials, LastErr: o.lastErr}
	if o.conn != nil {
		s.Stats = addStats(o.lastStats, o.conn.Stats())
	} else {
		s.RetryAt = o.retryAt
	}
	s.Addr = o.addr
	return s
}

// noSink takes what a publishing connection never delivers.
type noSink struct{}

func (noSink) Deliver(*conn.Conn, []handler.Delivery) {}
func (noSink) Refused(*conn.Conn, error)              {}
func (noSink) Yielded(*conn.Conn)                     {}
