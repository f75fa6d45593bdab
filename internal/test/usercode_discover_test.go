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

// TestUserCodeHangs: a Discoverer, filter or dialer that never returns holds up no other nsqd, and
// costs one goroutine. No shutdown waits for it.
func TestUserCodeHangs(t *testing.T) {
	const bad = "nsqd-2.test:4150"
	for name, options := range map[string]func(hang func(), s *nsqxtest.Server) []nsqx.Option{
		"Discoverer": func(hang func(), s *nsqxtest.Server) []nsqx.Option {
			return []nsqx.Option{nsqxtest.Network(s), nsqx.WithNSQD(s.Addr()),
				nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { hang(); return nil, nil }))}
		},
		"filter": func(hang func(), s *nsqxtest.Server) []nsqx.Option {
			return []nsqx.Option{nsqxtest.Network(s), nsqx.WithNSQD(s.Addr()),
				nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { return []string{bad}, nil })),
				nsqx.WithNSQDFilter(func(string) bool { hang(); return true })}
		},
		"DialContext": func(hang func(), s *nsqxtest.Server) []nsqx.Option {
			return []nsqx.Option{nsqx.WithNSQD(s.Addr(), bad), nsqx.WithConn(conn.Config{
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == bad {
						hang()
					}
					return s.DialContext(ctx, network, addr)
				},
			})}
		},
	} {
		bubble(t, "publisher, "+name, func(t *testing.T) {
			before, release := bubbleGoroutines(), make(chan struct{})
			s := nsqxtest.NewServer(t)
			var opts []nsqx.ProducerOption
			for _, o := range options(func() { <-release }, s) {
				opts = append(opts, o)
			}
			p := newPublisherOf(t, opts...)
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
			time.Sleep(time.Hour)
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
			start := time.Now()
			wantErr(t, "Close", p.Close(), nil)
			if took := time.Since(start); took > time.Second {
				t.Errorf("Close took %v", took)
			}
			s.Close()
			synctest.Wait()
			want(t, "goroutines left", bubbleGoroutines()-before, left(name))
			close(release)
			synctest.Wait()
			want(t, "goroutines left when it has returned", bubbleGoroutines()-before, 0)
		})
		bubble(t, "consumer, "+name, func(t *testing.T) {
			before, release := bubbleGoroutines(), make(chan struct{})
			s := nsqxtest.NewServer(t)
			var opts []nsqx.ConsumerOption
			for _, o := range options(func() { <-release }, s) {
				opts = append(opts, o)
			}
			c := newConsumer(t, done, opts...)
			stop := nsqxtest.Run(t, c)
			publish(s, 1)
			time.Sleep(20 * time.Second)
			s.Await("orders", "billing", finished(1))
			wantReady(t, c, name == "DialContext", nil) // the only source has not answered
			time.Sleep(time.Hour)
			publish(s, 1)
			s.Await("orders", "billing", finished(2))
			start := time.Now()
			stop()
			if took := time.Since(start); took > closeTime+time.Second {
				t.Errorf("the shutdown took %v", took)
			}
			s.Close()
			synctest.Wait()
			want(t, "goroutines left", bubbleGoroutines()-before, left(name))
			close(release)
		})
	}
}

// left is how many goroutines a call that hangs leaves behind: a dial has one of its own.
func left(name string) int {
	if name == "DialContext" {
		return 2
	}
	return 1
}
