package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

const (
	windowSize  = 250      // messages that are held at a time
	windowBytes = 16 << 20 // of these; a larger message is alone
	windowTime  = 700 * time.Millisecond
	windowQuiet = 300 * time.Millisecond // after an arrival; longer than nsqd keeps messages in its buffer
)

// window holds messages of one channel at one nsqd for a moment: see take.
type window struct {
	c      *conn.Conn
	served chan error // result of Serve

	mu      sync.Mutex
	held    []*handler.Delivery
	bytes   int
	closed  bool
	arrived chan struct{} // has an element after an arrival
}

// openWindow subscribes. It must be closed.
func openWindow(ctx context.Context, cfg conn.Config, nsqd, topic, channel string) (*window, error) {
	c, err := conn.Dial(ctx, nsqd, cfg, &conn.Subscription{Topic: topic, Channel: channel, FixedRDY: true})
	if err != nil {
		return nil, err
	}
	w := &window{c: c, served: make(chan error, 1), arrived: make(chan struct{}, 1)}
	go func() { w.served <- c.Serve(w) }()
	return w, nil
}

// Deliver implements conn.Sink.
func (w *window) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range msgs {
		d := &msgs[i]
		if w.closed || w.bytes > windowBytes {
			c.Requeue(d, 0)
			d.Release()
			continue
		}
		w.bytes += len(d.Message().RawBody())
		w.held = append(w.held, d)
	}
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// Refused implements conn.Sink.
func (w *window) Refused(*conn.Conn, error) {}

// Yielded implements conn.Sink.
func (w *window) Yielded(*conn.Conn) {}

// take asks for n messages, waits for them less than a second, and calls each for those that came,
// which may answer it; the rest is given back. Those that come later are for the next take.
func (w *window) take(ctx context.Context, n int, each func(*handler.Delivery)) (got int, err error) {
	n = min(n, windowSize, w.c.MaxRDY())
	w.c.SetQuota(n)
	deadline, quiet := time.After(windowTime), time.NewTimer(windowTime)
	for full := false; !full; {
		select {
		case <-w.arrived:
			quiet.Reset(windowQuiet)
			w.mu.Lock()
			full = len(w.held) >= n || w.bytes > windowBytes
			w.mu.Unlock()
		case <-quiet.C:
			full = true
		case <-deadline:
			full = true
		case <-ctx.Done():
			full = true
		case <-w.c.Done():
			return 0, fmt.Errorf("nsqx: nsqd %s: the connection has ended: %w", w.c.Addr(), w.c.Err())
		}
	}
	w.c.SetQuota(0)
	w.mu.Lock()
	held := w.held
	w.held, w.bytes = nil, 0
	w.mu.Unlock()
	for _, d := range held {
		if ctx.Err() == nil {
			each(d)
		}
		w.c.Requeue(d, 0) // unless it is answered
		d.Release()
	}
	return len(held), ctx.Err()
}

// close gives back what is held and ends the connection. It returns nil if nsqd has read all answers.
func (w *window) close() error {
	w.c.StopDelivery()
	w.mu.Lock()
	w.closed = true
	held := w.held
	w.held = nil
	w.mu.Unlock()
	for _, d := range held {
		w.c.Requeue(d, 0)
		d.Release()
	}
	select {
	case <-w.c.DeliveryStopped():
	case <-w.c.Done():
	case <-time.After(2 * time.Second):
	}
	w.c.CloseWrite()
	err := <-w.served
	if errors.Is(err, conn.ErrNotConfirmed) {
		return fmt.Errorf("nsqx: nsqd %s has not confirmed that it has read all answers; what it has not read returns after its message timeout", w.c.Addr())
	}
	return err
}
