package gonsq

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialFunc opens a network connection.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// limitConn adds the timeouts of a Config to connections. dial is nil outside of tests.
func limitConn(cfg *Config, dial dialFunc) dialFunc {
	if dial == nil {
		dial = (&net.Dialer{LocalAddr: cfg.LocalAddr}).DialContext
	}
	read, write := cfg.ReadTimeout, cfg.WriteTimeout
	if heartbeat := cfg.HeartbeatInterval; heartbeat > 0 && read >= 2*heartbeat {
		read = 0 // nsqx waits for two heartbeats
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if half, ok := c.(halfCloser); ok {
			return &limitedConn{halfCloser: half, read: limit{d: read, set: c.SetReadDeadline}, write: limit{d: write, set: c.SetWriteDeadline}}, nil
		}
		return c, nil
	}
}

// halfCloser is a connection as the network has it.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// limitedConn is a connection on which no Read and no Write takes longer than its limit.
type limitedConn struct {
	halfCloser
	read, write limit
}

func (c *limitedConn) Read(b []byte) (int, error) {
	if err := c.read.begin(); err != nil {
		return 0, err
	}
	return c.halfCloser.Read(b)
}

func (c *limitedConn) Write(b []byte) (int, error) {
	if err := c.write.begin(); err != nil {
		return 0, err
	}
	return c.halfCloser.Write(b)
}

func (c *limitedConn) SetDeadline(t time.Time) error {
	if err := c.read.until(t); err != nil {
		return err
	}
	return c.write.until(t)
}

func (c *limitedConn) SetReadDeadline(t time.Time) error  { return c.read.until(t) }
func (c *limitedConn) SetWriteDeadline(t time.Time) error { return c.write.until(t) }

// limit is the earlier of two deadlines: one that the owner of the connection sets, and the begin of
// the call plus d. d is 0 for none.
type limit struct {
	d   time.Duration
	set func(time.Time) error

	mu       sync.Mutex // held while set is called, which does not block
	deadline time.Time
}

// begin sets the deadline of a call.
func (l *limit) begin() error {
	if l.d <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apply()
}

// until sets the owner's deadline.
func (l *limit) until(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	return l.apply()
}

func (l *limit) apply() error {
	t := l.deadline
	if l.d > 0 {
		if end := time.Now().Add(l.d); t.IsZero() || end.Before(t) {
			t = end
		}
	}
	return l.set(t)
}
