package redial

import (
	"errors"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// learn takes a hint from the end of a connection: see conn.RequeueDelayError. The caller holds set.mu.
func (l *line) learn(err error) {
	hint, ok := errors.AsType[*conn.RequeueDelayError](err)
	if ok && (l.longest == 0 || hint.Max < l.longest) {
		l.longest = hint.Max
	}
}

// forget drops the hint when a dial has failed: an nsqd that was away may be back with other settings,
// which it does not announce. At worst the next connection ends like the one before, once. The caller
// holds set.mu.
func (l *line) forget() { l.away, l.longest = true, 0 }

// back tells that an nsqd is connected that was away. The caller holds set.mu.
func (l *line) back() {
	if l.away && l.set.cfg.Back != nil {
		l.set.cfg.Back()
	}
	l.away = false
}

// subscription returns the subscription of the next connection.
func (l *line) subscription() *conn.Subscription {
	sub := l.set.cfg.Sub
	longest := l.longestDelay()
	if sub == nil || longest == 0 || sub.MaxRequeueDelay != 0 && sub.MaxRequeueDelay <= longest {
		return sub
	}
	s := *sub
	s.MaxRequeueDelay = longest
	return &s
}

func (l *line) longestDelay() time.Duration {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	return l.longest
}
