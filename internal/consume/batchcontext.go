package consume

import (
	"context"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// batchContext is the context of a batch. It has the values of the ctx of Run. It ends with the
// earliest message timeout, with the loss of all connections, or with the shutdown. While it lasts it
// touches the messages each half of their timeout. FromContext finds no message in it.
type batchContext struct {
	context.Context
	cancel  context.CancelCauseFunc
	msgs    []*handler.Message
	touch   bool
	first   [4]origin // memory of origins
	origins []origin

	mu    sync.Mutex // held to touch, too, so that end waits for it
	ended bool
	timer *time.Timer // nil if the messages never expire
	live  int         // connections that are not lost
}

// origin is a connection that has delivered messages of the batch.
type origin struct {
	handler.Source
	stop func() bool // what its end causes
}

// newBatchContext returns the context of msgs, which end ends.
func newBatchContext(msgs []*handler.Message, touch bool) *batchContext {
	b := &batchContext{msgs: msgs, touch: touch}
	b.origins = b.first[:0]
	for _, m := range msgs {
		if src := (*handler.Delivery)(m).Source(); src != nil && !b.knows(src) {
			b.origins = append(b.origins, origin{Source: src})
		}
	}
	parent := context.Background()
	if len(b.origins) > 0 {
		parent = context.WithoutCancel(b.origins[0].Context())
	}
	b.Context, b.cancel = context.WithCancelCause(parent)
	b.live = len(b.origins)
	for i := range b.origins {
		o := &b.origins[i]
		o.stop = context.AfterFunc(o.Context(), func() { b.lost(o) })
	}
	b.tick()
	return b
}

// end ends the context and what it has started.
func (b *batchContext) end() {
	for i := range b.origins {
		b.origins[i].stop()
	}
	b.mu.Lock()
	b.ended = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	b.cancel(context.Canceled)
}

// knows looks at the last origin first: most messages come from the connection of the one before.
func (b *batchContext) knows(src handler.Source) bool {
	for i := len(b.origins) - 1; i >= 0; i-- {
		if b.origins[i].Source == src {
			return true
		}
	}
	return false
}

// Err is context.DeadlineExceeded after a message timeout.
func (b *batchContext) Err() error {
	err := b.Context.Err()
	if err != nil && context.Cause(b.Context) == handler.ErrMessageTimeout {
		return context.DeadlineExceeded
	}
	return err
}

// lost ends the context in a shutdown, or with the last connection.
func (b *batchContext) lost(o *origin) {
	cause := context.Cause(o.Context())
	b.mu.Lock()
	b.live--
	last := b.live == 0
	b.mu.Unlock()
	if last || cause == handler.ErrShutdown {
		b.cancel(cause)
	}
}

// tick touches the messages that need it, ends the context if one is out of time, and sets the timer.
func (b *batchContext) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	var next time.Duration // 0: never
	var read *handler.Read
	var now time.Duration
	for _, m := range b.msgs {
		d := (*handler.Delivery)(m)
		if r := d.Read(); r != read && r != nil {
			read, now = r, r.Source.Terms().Now()
		} else if b.timer == nil {
			continue // not touched yet: like the one before
		}
		wait, ok := b.timeOf(d, now)
		if !ok {
			continue
		}
		if wait <= 0 {
			b.cancel(handler.ErrMessageTimeout)
			return
		}
		if next == 0 || wait < next {
			next = wait
		}
	}
	switch {
	case next == 0:
	case b.timer == nil:
		b.timer = time.AfterFunc(next, b.tick)
	default:
		b.timer.Reset(next)
	}
}

// soon has the timer call tick at once. Several calls may come to one.
func (b *batchContext) soon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended && b.timer != nil {
		b.timer.Reset(0)
	}
}

// timeOf returns when to look at a message again, 0 or less if it has no time left. ok is false if
// that does not matter. It touches the message if half of its timeout is left.
func (b *batchContext) timeOf(d *handler.Delivery, now time.Duration) (wait time.Duration, ok bool) {
	end, ok := d.ContextEnd()
	if !ok || d.Source().Context().Err() != nil {
		return 0, false
	}
	left, half := end-now, d.Source().Terms().MessageTimeout/2
	switch {
	case !b.touch || left <= 0:
		return left, true
	case left > half:
		return left - half, true
	}
	if d.Message().Touch() == nil {
		end, _ = d.ContextEnd()
		left = max(left, end-now)
	}
	if left > half {
		return left - half, true
	}
	return left, true // max-msg-timeout leaves nothing to gain
}
