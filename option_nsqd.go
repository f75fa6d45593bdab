package nsqx

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/internal/override"
)

// WithNSQD sets addresses of nsqds, as "host:port" or "unix:///path". Names are resolved at each
// dial; duplicates are ignored. [WithLookupd] and [WithDiscoverer] add to them; one of the three is
// required.
func WithNSQD(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithNSQD")
		c.nsqds = append(c.nsqds, addrs...)
		c.atLeastOne("WithNSQD", len(addrs), "127.0.0.1:4150")
	})
}

// WithLookupd sets the nsqlookupds to poll for the nsqds of the topic, as "host:port",
// "http://host:port" or "https://host:port/prefix": concurrently, at the start and at each
// [WithLookupInterval].
//
// An nsqd is no longer dialled after three successful polls without it, of each nsqlookupd that
// named it before; a working connection is kept. So a restarted nsqlookupd, which knows nothing
// yet, does no harm.
func WithLookupd(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupd")
		c.lookupds = append(c.lookupds, addrs...)
		c.atLeastOne("WithLookupd", len(addrs), "127.0.0.1:4161")
	})
}

// WithDiscoverer sets other sources of nsqds, polled like [WithLookupd].
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

// WithLookupInterval sets the time between polls of the sources of nsqds, ± 20 %: 100 ms to 1 h.
// Defaults to 60 s.
func WithLookupInterval(d time.Duration) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupInterval")
		if d < 100*time.Millisecond || d > time.Hour {
			c.fault("WithLookupInterval", fmt.Sprintf("is %v, want 100ms to 1h0m0s", d))
		}
		c.discover.Interval = d
	})
}

// WithLookupdClient sets how nsqlookupds are polled. Requires [WithLookupd]. Defaults to the zero
// [LookupdClient].
func WithLookupdClient(client LookupdClient) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupdClient")
		c.lookupdClient = client
	})
}

// WithNSQDFilter dials only those nsqds from [WithLookupd] and [WithDiscoverer] for which allow
// returns true. Whoever controls a nsqlookupd can name any address: a filter limits the damage, and
// TLS with a verified certificate prevents it. allow is called concurrently and must not block.
// Defaults to all.
func WithNSQDFilter(allow func(addr string) bool) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithNSQDFilter")
		if allow == nil {
			c.fault("WithNSQDFilter", "got nil")
		}
		c.discover.Filter = allow
	})
}

// WithMaxNSQDs limits the nsqds from [WithLookupd] and [WithDiscoverer]: 1 to 4096. Further ones
// are reported as an error. Defaults to 256.
func WithMaxNSQDs(n int) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithMaxNSQDs")
		c.inRange("WithMaxNSQDs", n, 1, 4096)
		c.discover.Max = n
	})
}
