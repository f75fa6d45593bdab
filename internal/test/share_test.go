package test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// farConn takes its time for each write.
type farConn struct {
	net.Conn
	away time.Duration
}

func (c farConn) Write(p []byte) (int, error) {
	time.Sleep(c.away)
	return c.Conn.Write(p)
}

func (c farConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// TestShareOfTheLast: a connection that comes when all shares are given gets its own, although the one before it may still use more
// for a while, and no message ever comes that would wake control.
func TestShareOfTheLast(t *testing.T) {
	for _, away := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 70 * time.Millisecond, 150 * time.Millisecond} {
		bubble(t, away.String(), func(t *testing.T) {
			first, last := nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd1)), nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd2))
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				s, away := first, away
				if addr == nsqd2 {
					s, away = last, 2*away+time.Millisecond
				}
				c, err := s.DialContext(ctx, network, addr)
				return farConn{c, away}, err
			}
			c := newConsumer(t, sleeper(0), nsqx.WithNSQD(nsqd1, nsqd2), nsqx.WithConn(conn.Config{DialContext: dial}),
				nsqx.WithFixedRDY(), nsqx.WithMaxInFlight(100))
			nsqxtest.Run(t, c)
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, s := range c.Stats().Connections {
				want(t, "share of "+s.Addr, s.Quota, 50)
			}
		})
	}
}
