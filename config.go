package nsqx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/override"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/retry"
)

const (
	maxConcurrency = 1 << 16
	maxInFlight    = 1 << 20
)

// sharedConfig is what the options for all kinds of services set.
type sharedConfig struct {
	nsqds          []string
	lookupds       []string
	lookupdClient  LookupdClient
	lookupClients  []*lookup.Client // made of the two by validate
	discoverers    []Discoverer
	lookupInterval time.Duration
	nsqdFilter     func(addr string) bool
	maxNSQDs       int

	conn      conn.Config
	logger    *slog.Logger
	telemetry Telemetry
	hooks     hooks
	override  *override.Nodes // nil outside of tests

	given  map[string]bool
	faults []error
}

// consumerConfig is what the options of a consumer set.
type consumerConfig struct {
	sharedConfig
	sub conn.Subscription

	concurrency      int
	maxInFlight      int // 0: automatic
	maxInFlightBytes int
	backoff          Backoff
	withoutBackoff   bool
	middleware       []handler.Middleware

	retry           retry.Policy
	errors          func(error) error
	maxAttempts     int           // 0: no limit
	maxAge          time.Duration // 0: no limit
	maxRequeueDelay time.Duration

	// At most one of these says what becomes of a message that is given up.
	givesUp         string // name of the option that said so
	deadLetterTopic string
	plainDeadLetter bool
	deadLetterFunc  func(context.Context, *handler.Message, error) error
	discard         bool

	shutdownTimeout time.Duration
}

// newSharedConfig has the defaults.
func newSharedConfig() sharedConfig {
	return sharedConfig{
		lookupInterval: time.Minute, maxNSQDs: 256, logger: slog.Default(), given: make(map[string]bool),
	}
}

func newConsumerConfig(topic, channel string, opts []ConsumerOption) *consumerConfig {
	c := &consumerConfig{
		sharedConfig:     newSharedConfig(),
		sub:              conn.Subscription{Topic: topic, Channel: channel},
		concurrency:      runtime.GOMAXPROCS(0),
		maxInFlightBytes: 64 << 20,
		backoff:          defaultBackoff,
		retry:            retry.Exponential(time.Second, 10*time.Minute),
		maxRequeueDelay:  time.Hour,
		shutdownTimeout:  20 * time.Second,
	}
	WithConsumerOptions(opts...).applyConsumer(c)
	return c
}

// validate fills in what depends on other options, and returns every fault,
// joined.
func (c *consumerConfig) validate() error {
	if err := wire.CheckTopic(c.sub.Topic); err != nil {
		c.fault("topic", "is faulty: "+err.Error())
	}
	if err := wire.CheckChannel(c.sub.Channel); err != nil {
		c.fault("channel", "is faulty: "+err.Error())
	}
	c.add(c.conn.Validate())
	if c.conn.OutputBufferTimeout == -1 {
		c.fault("WithConn", "has OutputBufferTimeout -1: nsqd would hold messages back without limit; that is for publishers")
	}
	c.checkNSQDs()
	c.checkLookupds()
	c.applyOverride()
	if c.givesUp == "" {
		for _, bound := range []string{"WithMaxAttempts", "WithMaxAge"} {
			if c.given[bound] {
				c.fault(bound, "needs WithDeadLetter, WithDeadLetterFunc or WithDiscard, which say what becomes of the messages")
			}
		}
	}
	if c.plainDeadLetter && c.givesUp != "WithDeadLetter" {
		c.fault("WithPlainDeadLetter", "needs WithDeadLetter")
	}
	if c.givesUp == "WithDeadLetter" {
		if err := wire.CheckTopic(c.deadLetterTopic); err != nil {
			c.fault("WithDeadLetter", "has a faulty topic: "+err.Error())
		} else if c.deadLetterTopic == c.sub.Topic {
			c.fault("WithDeadLetter", "is the consumer's own topic; its dead letters would come back for ever")
		}
	}
	return errors.Join(c.faults...)
}

// checkNSQDs checks the addresses of nsqds.
func (c *sharedConfig) checkNSQDs() {
	if !c.given["WithNSQD"] && !c.given["WithLookupd"] && len(c.discoverers) == 0 && c.override == nil {
		c.fault("WithNSQD", "or WithLookupd or WithDiscoverer is needed, to say where the nsqds are")
	}
	for _, addr := range c.nsqds {
		if err := conn.CheckAddress(addr); err != nil {
			c.fault("WithNSQD", "has a faulty address: "+err.Error())
		}
	}
}

// checkLookupds makes a client for each nsqlookupd.
func (c *sharedConfig) checkLookupds() {
	var seen []string
	for _, addr := range c.lookupds {
		if slices.Contains(seen, addr) {
			continue
		}
		seen = append(seen, addr)
		client, err := lookup.NewClient(addr, lookup.Config{
			HTTPClient: c.lookupdClient.HTTPClient, Authorization: c.lookupdClient.Authorization,
		})
		if err != nil {
			c.fault("WithLookupd", "has a faulty address: "+err.Error())
			continue
		}
		c.lookupClients = append(c.lookupClients, client)
	}
	if c.given["WithLookupdClient"] && !c.given["WithLookupd"] {
		c.fault("WithLookupdClient", "needs WithLookupd")
	}
	if c.nsqdFilter != nil && !c.given["WithLookupd"] && len(c.discoverers) == 0 {
		c.fault("WithNSQDFilter", "needs WithLookupd or WithDiscoverer: the addresses of WithNSQD are not filtered")
	}
}

// atLeastOne faults an option that was given no address.
func (c *sharedConfig) atLeastOne(option string, n int, example string) {
	if n == 0 {
		c.fault(option, "names none, want at least one address, such as "+example)
	}
}

func (c *sharedConfig) fault(option, reason string) {
	c.faults = append(c.faults, &OptionError{Option: option, Reason: reason})
}

func (c *sharedConfig) add(err error) {
	if err != nil {
		c.faults = append(c.faults, err)
	}
}

// once notes that an option was given, and faults the second time.
func (c *sharedConfig) once(option string) {
	if c.given[option] {
		c.fault(option, "is given twice")
	}
	c.given[option] = true
}

// giveUpOnce is once for the options that exclude each other.
func (c *consumerConfig) giveUpOnce(option string) {
	c.once(option)
	if c.givesUp != "" && c.givesUp != option {
		c.fault(option, "contradicts "+c.givesUp)
	}
	c.givesUp = option
}

// inRange says whether a number may be used, and faults one that may not.
func (c *sharedConfig) inRange(option string, n, low, high int) bool {
	if n < low || n > high {
		c.fault(option, fmt.Sprintf("is %d, want %d to %d", n, low, high))
		return false
	}
	return true
}
