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
	cancel context.CancelCauseFunc
	msgs   []*handler.Message
	touch  bool

	mu    sync.Mutex // held to touch, too, so that end waits for it
	ended bool
	timer *time.Timer // nil if the messages never expire
	live  int         // connections that are not lost
}

// newBatchContext returns the context of msgs, and a function that ends it.
func newBatchContext(msgs []*handler.Message, touch bool) (ctx context.Context, end func()) {
	b := &batchContext{msgs: msgs, touch: touch}
	var sources []handler.Source
	for _, m := range msgs {
		if src := (*handler.Delivery)(m).Source(); src != nil && (len(sources) == 0 || !has(sources, src)) {
			sources = append(sources, src)
		}
	}
	parent := context.Background()
	if len(sources) > 0 {
		parent = context.WithoutCancel(sources[0].Context())
	}
	b.Context, b.cancel = context.WithCancelCause(parent)
	b.live = len(sources)
	stops := make([]func() bool, len(sources))
	for i, src := range sources {
		stops[i] = context.AfterFunc(src.Context(), func() { b.lost(src) })
	}
	b.tick()
	return b, func() {
		for _, stop := range stops {
			stop()
		}
		b.mu.Lock()
		b.ended = true
		if b.timer != nil {
			b.timer.Stop()
		}
		b.mu.Unlock()
		b.cancel(context.Canceled)
	}
}

// has is slices.Contains from the end: most messages come from the connection of the one before.
func has(sources []handler.Source, src handler.Source) bool {
	for i := len(sources) - 1; i >= 0; i-- {
		if sources[i] == src {
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
func (b *batchContext) lost(src handler.Source) {
	cause := context.Cause(src.Context())
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
	next, any := time.Duration(0), false
	for _, m := range b.msgs {
		wait, ok := b.timeOf((*handler.Delivery)(m))
		if !ok {
			continue
		}
		if wait <= 0 {
			b.cancel(handler.ErrMessageTimeout)
			return
		}
		if !any || wait < next {
			next, any = wait, true
		}
	}
	switch {
	case !any:
	case b.timer == nil:
		b.timer = time.AfterFunc(next, b.tick)
	default:
		b.timer.Reset(next)
	}
}

// timeOf returns when to look at a message again, 0 or less if it has no time left. ok is false if
// that does not matter. It touches the message if half of its timeout has passed.
func (b *batchContext) timeOf(d *handler.Delivery) (wait time.Duration, ok bool) {
	left, ok := d.TimeLeft()
	if !ok || d.Source().Context().Err() != nil {
		return 0, false
	}
	if !b.touch || left <= 0 {
		return left, true
	}
	half := d.Source().Terms().MessageTimeout / 2
	if left > half {
		return left - half, true
	}
	if d.Message().Touch() != nil {
		return left, true
	}
	if longer, _ := d.TimeLeft(); longer > half {
		return longer - half, true
	} else if longer > left {
		left = longer
	}
	return left, true // max-msg-timeout leaves nothing to gain
}
