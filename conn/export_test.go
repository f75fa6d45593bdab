package conn

import (
	"context"
	"io"
	"net"
	"time"
)

// Handshaken exposes a transport to tests of the handshake.
type Handshaken struct {
	Conn       net.Conn
	R          io.Reader
	W          io.Writer
	CloseWrite func() error
	Resp       Identity
	RTT        time.Duration
	ParseError func(data []byte) error
}

type Identity = identity

// Handshake calls handshake with the defaults of cfg.
func Handshake(ctx context.Context, addr string, cfg Config, sub *Subscription) (*Handshaken, error) {
	cfg = cfg.withDefaults()
	t, err := handshake(ctx, addr, &cfg, sub)
	if err != nil {
		return nil, err
	}
	return &Handshaken{t.nc, t.r, t.w, t.closeWrite, t.resp, t.rtt, func(data []byte) error { return t.parseError(data) }}, nil
}

// Scheduled returns how many messages are kept touched, and whether the timer is set.
func (c *Conn) Scheduled() (messages int, timer bool) {
	s := &c.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	if timer = s.timer != nil && s.timer.Stop(); timer {
		s.timer.Reset(s.at - s.terms.Now())
	}
	return len(s.queue), timer
}

// Touched returns how many touched messages are remembered.
func (c *Conn) Touched() (messages int) {
	c.touched.mu.Lock()
	defer c.touched.mu.Unlock()
	for _, msgs := range c.touched.byID {
		messages += len(msgs)
	}
	return messages
}

// SetSkew sets how far the wall clock runs ahead of the monotonic one.
func (c *Conn) SetSkew(d time.Duration) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.skew = func() time.Duration { return d }
}

// Buffers returns the capacities of the two buffers of commands, in bytes.
func (c *Conn) Buffers() (queued, spare int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return cap(c.out.buf), cap(c.out.spare)
}
