package test

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestHostileConn: a net.Conn or dialer that panics or calls Goexit costs its connection, and the
// address is dialled again.
func TestHostileConn(t *testing.T) {
	for name, do := range map[string]func(){
		"panics": func() { panic(errOther) },
		"exits":  runtime.Goexit,
	} {
		for _, method := range []string{"DialContext", "Read", "Write", "SetReadDeadline", "SetWriteDeadline"} {
			bubble(t, method+" "+name, func(t *testing.T) {
				d := newNSQDs(t)
				var armed atomic.Bool
				dial := d.config.DialContext
				armed.Store(method == "DialContext")
				d.config.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if method == "DialContext" && armed.CompareAndSwap(true, false) {
						do()
					}
					nc, err := dial(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					return &hostileConn{Conn: nc, method: method, do: do, armed: &armed}, nil
				}
				s := d.run(done)
				time.Sleep(time.Second)
				if method != "DialContext" {
					l := d.line(nsqd1)
					armed.Store(true) // for the next message or its answer
					l.send(1)
				}
				time.Sleep(time.Hour)
				want(t, "still armed", armed.Load(), false)
				l := d.line(nsqd1)
				l.send(2)
				l.wantCommands("FIN", "FIN 2")
				want(t, "connected", s.Stats().Connections[0].Connected, true)
				want(t, "healthy", s.Healthy(), nil)
				s.wantStop(closeTime)
			})
		}
	}
	bubble(t, "AuthSecret", func(t *testing.T) {
		d := newNSQDs(t)
		d.identify = map[string]any{"auth_required": true}
		d.on = func(l *line, cmd fake.Command) bool {
			if cmd.Name == "AUTH" {
				l.say(`{"identity":"","permission_count":1}`)
			}
			return cmd.Name == "AUTH"
		}
		var calls atomic.Int32
		d.config.AllowPlaintextAuth = true
		d.config.AuthSecret = func(context.Context) (string, error) {
			switch calls.Add(1) {
			case 1:
				panic(errOther)
			case 2:
				runtime.Goexit()
			}
			return "secret", nil
		}
		s := d.run(done, nsqx.WithConcurrency(1))
		time.Sleep(time.Minute)
		want(t, "calls", calls.Load(), int32(3))
		want(t, "dials", s.Stats().Connections[0].Dials, 3)
		s.wantStop(closeTime)
	})
}
