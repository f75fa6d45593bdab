package nsqx

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/internal/override"
)

// WithNSQD names nsqds to connect to, as "host:port" or "unix:///path". Names are
// resolved anew at each dial. An address that is named twice is connected to once.
// Together with [WithLookupd] or [WithDiscoverer]: the union. One of the three is
// needed.
func WithNSQD(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithNSQD")
		c.nsqds = append(c.nsqds, addrs...)
		c.atLeastOne("WithNSQD", len(addrs), "127.0.0.1:4150")
	})
}

// WithLookupd names nsqlookupds to ask for the nsqds that have the topic, as
// "host:port", "http://host:port" or "https://host:port/prefix". All are asked at
// once: at the start, and then again and again (see [WithLookupInterval]). A consumer
// also registers its topic and channel there: see [WithoutRegistration].
//
// An nsqd that is no longer named, in three good answers in a row of each nsqlookupd
// that ever named it, is forgotten if it was never connected. Else it is dialled less and less
// often, up to once a minute, and forgotten after a day (a week while no other is
// connected), or when its room is needed: see [WithMaxNSQDs]. A connection that works is kept. So
// neither a nsqlookupd that was restarted and knows nothing yet nor an outage of all nsqds
// costs anything. If a nsqlookupd that knew the topic does not know it any more, it was
// deleted, and its nsqds are forgotten.
func WithLookupd(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupd")
		c.lookupds = append(c.lookupds, addrs...)
		c.atLeastOne("WithLookupd", len(addrs), "127.0.0.1:4161")
	})
}

// WithoutRegistration keeps a consumer from registering its topic and channel at nsqlookupds.
//
// A channel gets what is published after an nsqd has made it. An nsqd that makes a topic, which it
// does at the first message, asks nsqlookupds for the topic's channels and makes those first. Without
// a registration a new channel misses what an nsqd gets before the consumer has found it.
// #ephemeral topics and channels are never registered. A nsqlookupd that refuses is a warning, once,
// and counted in Stats. [Redrive] and publishers register nothing.
func WithoutRegistration() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutRegistration")
		c.consume.NoRegistration = true
	})
}

// WithDiscoverer asks other sources than nsqlookupd for nsqds, at the same times
// and by the same rules as [WithLookupd].
func WithDiscoverer(discoverers ...Discoverer) Option {
	return sharedOption(func(c *sharedConfig) {
		if len(discoverers) == 1 {
			if nodes, ok := discoverers[0].(*override.Nodes); ok { // only nsqxtest can make one
				c.once("nsqxtest.Option")
				c.override = nodes
				return
			}
		}
		c.once("WithDiscoverer")
		for _, d := range discoverers {
			if d == nil {
				c.fault("WithDiscoverer", "got nil")
				return
			}
			c.discover.Sources = append(c.discover.Sources, d)
		}
	})
}

// WithLookupInterval sets how long to wait before the sources of nsqds are asked
// again, give or take 20 %: 100 ms to 1 h. Defaults to 60 s. While no nsqd is named, they are asked
// each 1 to 5 s if that is sooner.
func WithLookupInterval(d time.Duration) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupInterval")
		if d < 100*time.Millisecond || d > time.Hour {
			c.fault("WithLookupInterval", fmt.Sprintf("is %v, want 100ms to 1h0m0s", d))
		}
		c.discover.Interval = d
	})
}

// WithLookupdClient sets how nsqlookupds are asked. Defaults to the zero
// [LookupdClient].
func WithLookupdClient(client LookupdClient) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupdClient")
		c.lookupdClient = client
	})
}

// WithNSQDFilter lets only those nsqds be dialled, of all that [WithLookupd] and
// [WithDiscoverer] find, for which allow returns true. Whoever controls a nsqlookupd
// can make its clients dial any address: a filter bounds that, and TLS with a
// certificate that is checked is the real defence. It is called for each address
// of each answer, by several goroutines at once, and must not block. Defaults to all.
func WithNSQDFilter(allow func(addr string) bool) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithNSQDFilter")
		if allow == nil {
			c.fault("WithNSQDFilter", "got nil")
		}
		c.discover.Filter = allow
	})
}

// WithMaxNSQDs bounds how many nsqds are taken from all answers of [WithLookupd]
// and [WithDiscoverer]: 1 to 4096. Those of [WithNSQD] do not count. Defaults to
// 256. What is beyond is reported as an error. Within the bound are those, too, that are named no more:
// they make room for others, the longest unnamed first.
func WithMaxNSQDs(n int) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithMaxNSQDs")
		c.inRange("WithMaxNSQDs", n, 1, 4096)
		c.discover.Max = n
	})
}
