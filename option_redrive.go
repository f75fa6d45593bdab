package nsqx

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/internal/wire"
)

// RedriveOption is an option of [Redrive]. A nil option is ignored.
type RedriveOption interface{ applyRedrive(*redriveConfig) }

type redriveOption func(*redriveConfig)

func (o redriveOption) applyRedrive(c *redriveConfig) { o(c) }

func (o sharedOption) applyRedrive(c *redriveConfig) { c.shared = append(c.shared, o) }

type redriveConfig struct {
	sharedConfig
	shared  []Option
	channel string
	rate    float64
	limit   int
	idle    time.Duration
}

// WithRedriveChannel sets the channel of the dead-letter topic to consume. A new channel misses
// what was published before, unless it is the topic's first: name an existing one to redrive its
// messages. Defaults to "redrive".
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

// WithRedriveIdle sets how long no message must arrive for [Redrive] to end: 100 ms to 1 h.
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

func newRedriveConfig(opts []RedriveOption) *redriveConfig {
	c := &redriveConfig{sharedConfig: newSharedConfig(), channel: "redrive", rate: 100, idle: 5 * time.Second}
	for _, o := range opts {
		if o != nil {
			o.applyRedrive(c)
		}
	}
	return c
}
