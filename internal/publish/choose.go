package publish

import (
	"errors"
	"slices"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/redial"
	"github.com/nsqx/nsqx/observe"
)

// choose returns a connection other than bad: the preferred one if it is, or may soon be, connected;
// otherwise the next in turn. One whose nsqd is late with an answer is passed over if another is
// not. Without a connection, changed is closed when another call
// may find one; and if nothing is being dialled either, down is the reason.
func (r *Router) choose(prefer string, bad *conn.Conn) (c *conn.Conn, changed <-chan struct{}, down error) {
	if prefer == "" {
		if c := r.next(bad); c != nil {
			return c, nil, nil
		}
	}
	changed = r.Changed() // before the state is looked at, so that no change is missed
	if r.Closed() {
		return nil, changed, ErrClosed
	}
	if prefer != "" {
		switch c, trying := r.Trying(prefer); {
		case usable(c, bad):
			if c.Overdue() {
				if other := r.next(bad); other != nil && !other.Overdue() {
					c = other
				}
			}
			return c, nil, nil
		case trying:
			return nil, changed, nil
		}
	}
	if c := r.next(bad); c != nil {
		return c, nil, nil
	}
	trying, errs := r.AnyTrying()
	if trying { // bad counts: it ends, and is dialled again
		return nil, changed, nil
	}
	return nil, changed, errors.Join(append([]error{observe.ErrNoNSQD}, errs...)...)
}

// usable reports whether a connection takes publishes. One that has ended stays known until it is
// served no more.
func usable(c, bad *conn.Conn) bool { return c != nil && c != bad && c.Alive() }

// next returns the connection whose turn it is; nil if there is none. A frozen nsqd must not keep its
// turn: what is published to it fails when PublishTimeout ends. So a connection with an overdue answer
// is the last choice, and one that has not answered yet gets one publish, which tests it.
func (r *Router) next(bad *conn.Conn) (late *conn.Conn) {
	conns := r.Conns()
	if len(conns) == 0 {
		return nil
	}
	n, turn := uint32(len(conns)), r.turn.Add(1)
	for i := range n {
		c := conns[(turn+i)%n]
		switch {
		case !usable(c, bad):
		case !c.Overdue() && !c.Untested():
			return c
		case late == nil || late.Overdue() && !c.Overdue():
			late = c
		}
	}
	return late
}

// overdue lets what c has not sent yet go elsewhere, if another connection is not late, too.
func (r *Router) overdue(c *conn.Conn) {
	if other := r.next(c); other != nil && !other.Overdue() {
		c.Recall()
	}
}

// pointless reports whether no nsqd is connected and waiting for one will not help.
func (r *Router) pointless(down error) bool {
	return down != nil && (r.cfg.WaitTimeout == 0 || allPermanent(down))
}

// allPermanent reports whether every reason that no nsqd is connected will last.
func allPermanent(down error) bool {
	if down == ErrClosed {
		return true
	}
	why := down.(interface{ Unwrap() []error }).Unwrap()[1:] // the first is ErrNoNSQD
	return len(why) > 0 && !slices.ContainsFunc(why, func(err error) bool { return !redial.Lasting(err) })
}
