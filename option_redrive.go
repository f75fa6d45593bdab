package nsqx

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/redrive"
	"github.com/nsqx/nsqx/internal/wire"
)

// RedriveOption is an option of [Redrive]. A nil option is ignored.
type RedriveOption interface{ applyRedrive(*redriveConfig) }

type redriveOption func(*redriveConfig)

func (o redriveOption) applyRedrive(c *redriveConfig) { o(c) }

func (o sharedOption) applyRedrive(c *redriveConfig)  { c.shared = append(c.shared, o) }
func (o sharedOptions) applyRedrive(c *redriveConfig) { c.shared = append(c.shared, o) }

type redriveConfig struct {
	sharedConfig
	shared  []Option
	channel string
	rate    float64
	limit   int
	idle    time.Duration
	all     bool              // WithRedriveAllChannels
	http    map[string]string // WithRedriveHTTP
	filter  func(*handler.Message) bool
}

// WithRedriveChannel sets the channel of the dead-letter topic to consume. A new channel misses
// what was published before, unless it is the topic's first: name an existing one to redrive its
// messages. See [RedriveChannelError]. Defaults to "redrive".
func WithRedriveChannel(channel string) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveChannel")
		if err := wire.CheckChannel(channel); err != nil {
			c.fault("WithRedriveChannel", "is faulty: "+err.Error())
			return
		}
		c.channel = channel
	})
}

// WithRedriveAllChannels publishes messages to all channels of their topics, also to those that have
// handled them, and adds no header to a message that came without: it is published as it was, for
// consumers that cannot read an envelope. Defaults to off: see [Redrive].
func WithRedriveAllChannels() RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveAllChannels")
		c.all = true
	})
}

// WithRedriveHTTP names the HTTP address of an nsqd, as "host:port", "http://host:port" or
// "https://host:port", by its address for clients, at which [Redrive] looks for channels. It may be
// given for several nsqds, also for those that Redrive does not consume from. Defaults to the address that a nsqlookupd names, or else to the port
// above that for clients: 4151 for 4150.
func WithRedriveHTTP(nsqd, http string) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		if _, twice := c.http[nsqd]; twice {
			c.fault("WithRedriveHTTP", "is given twice for "+nsqd)
		}
		if err := conn.CheckAddress(nsqd); err != nil {
			c.fault("WithRedriveHTTP", "has a faulty address: "+err.Error())
		}
		if err := lookup.CheckAddress(http); err != nil {
			c.fault("WithRedriveHTTP", "has a faulty HTTP address: "+err.Error())
		}
		c.http[nsqd] = http
	})
}

// WithRedriveRate limits the messages redriven per second: 0.01 to 1000000. Defaults to 100.
func WithRedriveRate(perSecond float64) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveRate")
		if !(perSecond >= 0.01 && perSecond <= 1e6) {
			c.fault("WithRedriveRate", fmt.Sprintf("is %v, want 0.01 to 1000000", perSecond))
			return
		}
		c.rate = perSecond
	})
}

// WithRedriveLimit limits the number of messages redriven, at least 1. Defaults to no limit.
func WithRedriveLimit(n int) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveLimit")
		if n < 1 {
			c.fault("WithRedriveLimit", fmt.Sprintf("is %d, want at least 1", n))
		}
		c.limit = n
	})
}

// WithRedriveIdle sets how long no message must arrive for [Redrive] to end: 100 ms to 1 h. A filter
// that takes longer ends it too early, with an error.
// Defaults to 5 s.
func WithRedriveIdle(d time.Duration) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveIdle")
		if d < 100*time.Millisecond || d > time.Hour {
			c.fault("WithRedriveIdle", fmt.Sprintf("is %v, want 100ms to 1h0m0s", d))
		}
		c.idle = d
	})
}

// WithRedriveFilter redrives only dead letters for which f returns true. The others stay, and are
// counted in RedriveReport.Filtered; each has one more attempt, and is deferred for twice the time of
// WithRedriveIdle, since it would return at once otherwise. nsqd has deferred messages in memory, and
// keeps them if it is stopped in order. f is called concurrently, and more than once for a message
// that returns meanwhile; it must be quick, and keep neither the message nor its body. If it panics
// the message stays, is counted as failed, and Redrive returns the [*handler.PanicError]. Defaults to
// all.
func WithRedriveFilter(f func(*handler.Message) bool) RedriveOption {
	return redriveOption(func(c *redriveConfig) {
		c.once("WithRedriveFilter")
		if f == nil {
			c.fault("WithRedriveFilter", "has no function")
		}
		c.filter = f
	})
}

// wanted asks the filter, which may panic.
func (c *redriveConfig) wanted(m *handler.Message) (wanted bool, err error) {
	if c.filter == nil {
		return true, nil
	}
	return guard.IsolateValue(func() (bool, error) { return c.filter(m), nil })
}

// channels returns what finds the channels of topics at the nsqds of a consumer.
func (c *redriveConfig) channels(in *sharedConfig) *redrive.Channels {
	client := in.lookupdClient.HTTPClient
	if in.override != nil {
		client = in.override.Client
	}
	return redrive.NewChannels(redrive.Config{
		NSQDs: in.nsqds, HTTP: c.http, Lookupds: in.discover.Lookupds, Client: client, Allow: in.discover.Filter,
	})
}

// publisher returns a publisher, for one nsqd alone unless nsqd is "".
func (c *redriveConfig) publisher(nsqd string) (*Publisher, error) {
	cfg := newProducerConfig([]ProducerOption{WithOptions(c.shared...), WithSendMiddleware(publish.NoteConfirmed)})
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if nsqd != "" {
		cfg.nsqds, cfg.discover.Lookupds, cfg.discover.Sources = []string{nsqd}, nil, nil
	}
	return startPublisher(cfg)
}

func newRedriveConfig(opts []RedriveOption) *redriveConfig {
	c := &redriveConfig{sharedConfig: newSharedConfig(), channel: "redrive", rate: 100, idle: 5 * time.Second, http: make(map[string]string)}
	for _, o := range opts {
		if o != nil {
			o.applyRedrive(c)
		}
	}
	return c
}
