package nsqx

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/override"
)

// WithNSQD sets addresses of nsqds, as "host:port" or "unix:///path". Names are resolved at each
// dial; duplicates are ignored. [WithLookupd] and [WithDiscoverer] add to them; one of the three must
// name something. So WithNSQD(addrs...) with no address is not an error beside another source.
//
// Wherever an address comes from, it is dialled, filtered, logged and shown in Stats in one form: the
// host in lower case or as the shortest form of its IP address, IPv4 inside of IPv6 as IPv4, the port
// without leading zeros. "[::ffff:127.0.0.1]:04150" is "127.0.0.1:4150".
func WithNSQD(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithNSQD")
		c.nsqds = append(c.nsqds, addrs...)
	})
}

// WithLookupd sets the nsqlookupds to poll for the nsqds of the topic, as "host:port",
// "http://host:port" or "https://host:port/prefix": concurrently, at the start and at each
// [WithLookupInterval]. A consumer also registers its topic and channel there: see
// [WithoutRegistration].
//
// An nsqd that is not named in three successful polls of each nsqlookupd that named it before is
// forgotten if it was never connected. Otherwise it is dialled less and less often, up to once a
// minute, and forgotten after a day (a week while no other is connected), or when its room is
// needed: see [WithMaxNSQDs]. A working connection is kept. So neither a restarted nsqlookupd, which
// knows nothing yet, nor an outage of all nsqds does harm. If a nsqlookupd that knew the topic does
// not know it any more, the topic was deleted, and its nsqds are forgotten.
func WithLookupd(addrs ...string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLookupd")
		c.lookupds = append(c.lookupds, addrs...)
	})
}

// WithoutRegistration keeps a consumer from registering its topic and channel at nsqlookupds.
//
// A channel gets what is published after an nsqd has created it. An nsqd that creates a topic, which
// it does at the first message, asks nsqlookupds for the topic's channels and creates those first.
// Without a registration a new channel misses what an nsqd gets before the consumer has found it.
// #ephemeral topics and channels are never registered. A nsqlookupd that refuses is a warning, once,
// and counted in Stats. [Redrive] and publishers register nothing.
func WithoutRegistration() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutRegistration")
		c.consume.NoRegistration = true
	})
}

// WithDiscoverer sets other sources of nsqds, polled like [WithLookupd], each on its own. One that
// ignores its ctx fails until it returns, and no other waits for it.
func WithDiscoverer(discoverers ...Discoverer) Option {
	return sharedOption(func(c *sharedConfig) {
		if len(discoverers) == 1 {
			switch d := discoverers[0].(type) {
			case *override.Nodes: // only nsqxtest can make one
				c.once("nsqxtest.Option")
				c.override = d
				return
			case *override.Off: // only settings can make one
				for _, name := range d.Names {
					c.off[name] = true
				}
				return
			}
		}
		c.once("WithDiscoverer")
		if len(discoverers) == 0 {
			c.fault("WithDiscoverer", "names none, want at least one")
		}
		for _, d := range discoverers {
			if f, ok := d.(DiscovererFunc); d == nil || ok && f == nil {
				c.fault("WithDiscoverer", "got nil")
				return
			}
			if err := validate(d); err != nil {
				c.fault("WithDiscoverer", "got a faulty one: "+err.Error())
			}
			c.discover.Sources = append(c.discover.Sources, d)
		}
	})
}

// DNSDiscoverer finds nsqds by DNS, which it asks at each [WithLookupInterval]: the addresses of
// "host:port", such as a headless service of Kubernetes, or the SRV records of a name without a port,
// such as "_nsqd._tcp.example.com". All of them are used for every topic. A nil resolver means
// [net.DefaultResolver]. A faulty name is an error of the constructor that gets the discoverer.
func DNSDiscoverer(name string, resolver *net.Resolver) Discoverer {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	return &discover.DNS{Name: name, Resolver: resolver}
}

// WithAddressRewrite changes addresses from [WithLookupd] and [WithDiscoverer] before they are
// filtered and dialled, such as broadcast addresses that do not resolve here. addr has the form that is
// dialled: see [WithNSQD]. What rewrite returns must have it as well, else the address is not used and
// the poll is reported. rewrite is called concurrently and must not block. Defaults to none.
func WithAddressRewrite(rewrite func(addr string) string) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithAddressRewrite")
		if rewrite == nil {
			c.fault("WithAddressRewrite", "got nil")
		}
		c.discover.Rewrite = rewrite
	})
}

// WithLookupInterval sets the time between polls of the sources of nsqds, ± 20 %: 100 ms to 1 h.
// Defaults to 60 s. While no nsqd is named, polls come every 1 to 5 s if that is sooner.
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
// TLS with a verified certificate prevents it. addr has the form that is dialled: see [WithNSQD].
// allow is called concurrently and must not block. Defaults to all.
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
// are reported as an error. Those that are not named any more count; if they are missing from three
// polls or more, failed ones that have named others included, they make room for others, the longest
// unnamed first. Defaults to 256.
func WithMaxNSQDs(n int) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithMaxNSQDs")
		c.inRange("WithMaxNSQDs", n, 1, 4096)
		c.discover.Max = n
	})
}

// Discoverer finds the nsqds that have messages of a topic: see [WithDiscoverer]. [WithLookupd]
// asks nsqlookupds without one.
type Discoverer interface {
	// Discover returns the addresses of all nsqds that have the topic, as "host:port" or
	// "unix:///path". A publisher asks for topic "", which means all nsqds. No address is a valid
	// answer: the topic does not exist yet. Addresses returned with an error are used, but the poll
	// counts as failed. An address that only such polls do not name is forgotten after 30 of them
	// instead of three, or when its room is needed: see [WithMaxNSQDs].
	//
	// Discover must return when ctx ends, at the latest after 10 s. If it does not, the poll fails,
	// and it is called again when it has returned. It is called concurrently with other sources, but
	// once at a time for each service.
	Discover(ctx context.Context, topic string) ([]string, error)
}

// DiscovererFunc makes a [Discoverer] of a function.
type DiscovererFunc func(ctx context.Context, topic string) ([]string, error)

// Discover calls f.
func (f DiscovererFunc) Discover(ctx context.Context, topic string) ([]string, error) {
	return f(ctx, topic)
}

// LookupdClient configures how nsqlookupds are polled. The zero value is ready to use.
type LookupdClient struct {
	// HTTPClient sends the requests. Redirects are not followed. Its Timeout limits a poll.
	// Defaults to a client without proxy and with a timeout of 5 s.
	HTTPClient *http.Client

	// Authorization returns the value of the Authorization header for each request; "" sends none.
	// The header is sent to nsqlookupds only, in clear text unless their addresses begin with
	// https://. Authorization must return when ctx ends. Defaults to nil: no header.
	Authorization func(ctx context.Context) (string, error)
}
