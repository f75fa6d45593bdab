package test

import (
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestCanonicalAddresses: in whatever form an address comes, the filter sees what is dialled, and
// Stats and Outgoing.NSQD have the same form.
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
