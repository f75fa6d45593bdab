package test

import (
	"context"
	"net"
	"strings"
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
			want(t, "goroutines left", bubbleGoroutines()-before, 1)
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
			want(t, "goroutines left", bubbleGoroutines()-before, 1)
			close(release)
		})
	}
}

// TestCanonicalAddresses: in whatever form an address comes, the filter sees what is dialled, and
// Stats, errors and OutgoingMessages have the same form.
func TestCanonicalAddresses(t *testing.T) {
	bubble(t, "filter", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithAddr("[::FFFF:10.0.0.1]:04150"))
		want(t, "address of the server", s.Addr(), "10.0.0.1:4150")
		var seen synced[string]
		f := newFinder("[::ffff:10.0.0.1]:4150", "10.0.0.1:04150", "[::ffff:0a00:1]:4150")
		c := newConsumer(t, done, nsqxtest.Network(s), nsqx.WithDiscoverer(f), nsqx.WithNSQDFilter(func(addr string) bool {
			seen.add(addr)
			return addr != "10.0.0.1:4150"
		}))
		nsqxtest.Run(t, c)
		time.Sleep(time.Second / 2)
		want(t, "connections", len(c.Stats().Connections), 0)
		want(t, "dials", s.Dials(), 0)
		want(t, "seen", strings.Join(seen.all(), " "), "10.0.0.1:4150 10.0.0.1:4150 10.0.0.1:4150")
	})
	bubble(t, "static and preferred", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		f := newFinder("Nsqd-1.TEST:4150")
		c := discover(t, s, nsqx.WithNSQD("NSQD-1.test:04150", "nsqd-1.test:4150"), nsqx.WithDiscoverer(f))
		want(t, "of a consumer", addrs(c), "nsqd-1")
		want(t, "in Stats", c.Stats().Connections[0].Addr, "nsqd-1.test:4150")
		p := newPublisherOf(t, nsqxtest.Network(s...), nsqx.WithNSQD("NSQD-1.test:04150", "nsqd-2.test:4150"))
		for range 10 {
			out := message("orders", "x")
			out.NSQD = "NSQD-2.Test:04150"
			wantKind(t, p.Send(t.Context(), out), nil)
			want(t, "asked", out.NSQD, "nsqd-2.test:4150")
		}
		s[1].Refuse(true)
		s[1].Disconnect()
		time.Sleep(time.Second)
		err := p.Healthy()
		wantErr(t, "health", err, nil)
		want(t, "connections", len(p.Stats().Connections), 2)
	})
	bubble(t, "nsqlookupds", func(t *testing.T) {
		c := newConsumer(t, done, nsqx.WithLookupd("lookup:4161", "LOOKUP:4161", "http://lookup:04161/", "HTTP://lookup:4161",
			"https://lookup:4161", "http://lookup:4161/prefix", "http://Lookup:4161/prefix/", "[::ffff:10.0.0.1]:4161", "10.0.0.1:4161"))
		var names []string
		for _, l := range c.Stats().Lookups {
			names = append(names, l.Name)
		}
		want(t, "nsqlookupds", strings.Join(names, " "), "lookup:4161 https://lookup:4161 http://lookup:4161/prefix [::ffff:10.0.0.1]:4161")
	})
}
