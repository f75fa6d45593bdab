package nsqx

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/override"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

const (
	maxConcurrency = 1 << 16
	maxInFlight    = 1 << 20

	// defaultConcurrency suits handlers that wait for a database: a small pod has one or two
	// processors.
	defaultConcurrency = 16

	defaultBatchSize = 100
	defaultBatchWait = 100 * time.Millisecond
)

// sharedConfig holds the options that all kinds of services share.
type sharedConfig struct {
	nsqds         []string
	lookupds      []string
	lookupdClient LookupdClient
	discover      discover.Config
	conn          conn.Config
	logger        *slog.Logger
	telemetry     observe.Telemetry
	hooks         []observe.Hooks
	override      *override.Nodes // nil outside of tests

	given     map[string]bool // names of options
	byDefault map[string]bool // those that only defaults have given
	off       map[string]bool // names of options, and fields of conn.Config, that have no default
	faults    []error
}

func newSharedConfig() sharedConfig {
	return sharedConfig{
		discover: discover.Config{Interval: time.Minute, Max: 256},
		logger:   slog.Default(), given: make(map[string]bool), byDefault: make(map[string]bool), off: make(map[string]bool),
	}
}

// consumerConfig holds the options of a consumer.
type consumerConfig struct {
	sharedConfig
	consume  consume.Config // validate adds the shared part
	defaults []ConsumerOption

	startTimeout    time.Duration
	givesUp         string // the option that set consume.GiveUp
	plainDeadLetter bool
	batch           consume.Batch
}

func newConsumerConfig(topic, channel string, opts []ConsumerOption) *consumerConfig {
	c := bareConsumerConfig(topic, channel)
	consumerOptions(opts).applyConsumer(c)
	applyDefaults(&c.sharedConfig, c.defaults, func(o ConsumerOption) *sharedConfig {
		probe := bareConsumerConfig(topic, channel)
		o.applyConsumer(probe)
		return &probe.sharedConfig
	}, func(o ConsumerOption) { o.applyConsumer(c) })
	return c
}

// bareConsumerConfig returns the configuration of a consumer without options.
func bareConsumerConfig(topic, channel string) *consumerConfig {
	backoff := flow.Backoff(defaultBackoff)
	return &consumerConfig{
		sharedConfig: newSharedConfig(),
		startTimeout: 10 * time.Second,
		consume: consume.Config{
			Sub:              conn.Subscription{Topic: topic, Channel: channel},
			Concurrency:      defaultConcurrency,
			MaxInFlightBytes: 64 << 20,
			Backoff:          &backoff,
			Retry:            retry.Exponential(time.Second, 10*time.Minute),
			MaxRequeueDelay:  time.Hour,
			ShutdownTimeout:  20 * time.Second,
		},
	}
}

// checkHandler checks the codec and the handler.
func (c *consumerConfig) checkHandler(codec any, noHandler bool) {
	if codec == nil {
		c.fault("codec", "is nil; pass one, such as codec.JSON[T]()")
	} else {
		c.add(validate(codec))
	}
	if noHandler {
		c.fault("handler", "is nil")
	}
}

// forbid adds a fault for each option that the constructor does not take.
func (c *consumerConfig) forbid(constructor string, options ...string) {
	for _, option := range options {
		if !c.given[option] {
			continue
		}
		instead := "use NewBatchConsumer"
		switch option {
		case "WithMiddleware":
			instead = "use WithBatchMiddleware"
		case "WithBatchMiddleware":
			instead = "use WithMiddleware"
		case "WithoutBatchTouch":
			instead = "see middleware.AutoTouch"
		}
		c.fault(option, "is not for "+constructor+"; "+instead)
	}
}

// validateBatch sets what differs for a consumer of batches, and checks it.
func (c *consumerConfig) validateBatch() {
	b := &c.batch
	yields := c.byDefault["WithBatch"]
	if !c.given["WithBatch"] {
		b.Size, b.Wait, yields = defaultBatchSize, defaultBatchWait, true
	}
	if !c.given["WithConcurrency"] {
		c.consume.Concurrency = 1
	}
	if timeout := c.consume.Sub.MessageTimeout; timeout > 0 && b.Wait >= timeout {
		c.fault("WithBatch", fmt.Sprintf("waits for %v, want less than the %v of WithMessageTimeout", b.Wait, timeout))
	}
	switch most := c.consume.MaxInFlight; {
	case most <= 0 || b.Size <= most:
	case yields:
		b.Size = most
	default:
		c.fault("WithBatch", fmt.Sprintf("has size %d, want at most the %d of WithMaxInFlight", b.Size, most))
	}
	c.consume.Batch = b
}

// validate completes the configuration of the consumer, and returns every fault, joined.
func (c *consumerConfig) validate() error {
	sub := &c.consume.Sub
	if err := wire.CheckTopic(sub.Topic); err != nil {
		c.fault("topic", "is faulty: "+err.Error())
	}
	if err := wire.CheckChannel(sub.Channel); err != nil {
		c.fault("channel", "is faulty: "+err.Error())
	}
	c.add(c.conn.Validate())
	switch buffer, timeout := c.conn.OutputBufferTimeout, sub.MessageTimeout; {
	case buffer == -1:
		c.add(&conn.ConfigError{Field: "conn.Config.OutputBufferTimeout", Reason: "is -1: nsqd would hold messages back without limit; that is for publishers"})
	case timeout > 0 && buffer > timeout/4:
		c.fault("WithMessageTimeout", fmt.Sprintf("is %v, want at least four times the OutputBufferTimeout of WithConn, which is %v", timeout, buffer))
	}
	c.validateShared()
	c.validateGiveUp()
	c.consume.NSQDs, c.consume.Discover, c.consume.Conn = c.nsqds, c.discover, c.conn
	c.consume.Logger, c.consume.Telemetry, c.consume.Hooks = c.logger, c.telemetry, c.hooks
	return errors.Join(c.faults...)
}

// validateGiveUp checks the options about messages that are given up.
func (c *consumerConfig) validateGiveUp() {
	if c.givesUp == "" {
		for _, bound := range []string{"WithMaxAttempts", "WithMaxAge"} {
			if c.given[bound] {
				c.fault(bound, "needs WithDeadLetter, WithDeadLetterFunc or WithDiscard, which say what becomes of the messages")
			}
		}
	}
	if guard := c.consume.CrashGuard; c.given["WithCrashGuard"] {
		switch {
		case c.givesUp == "":
			c.fault("WithCrashGuard", "needs WithDeadLetter or WithDeadLetterFunc, which keep the messages")
		case c.givesUp == "WithDiscard":
			c.fault("WithCrashGuard", "contradicts WithDiscard: messages that no handler has seen would be lost; use WithDeadLetter or WithDeadLetterFunc")
		}
		if most := c.consume.MaxAttempts; guard > 0 && guard <= most {
			c.fault("WithCrashGuard", fmt.Sprintf("is %d, want more than the %d of WithMaxAttempts", guard, most))
		}
	}
	if c.plainDeadLetter && c.givesUp != "WithDeadLetter" {
		c.fault("WithPlainDeadLetter", "needs WithDeadLetter")
	}
	dead, ok := c.consume.GiveUp.(consume.DeadLetterTopic)
	if !ok {
		return
	}
	if err := wire.CheckTopic(dead.Topic); err != nil {
		c.fault("WithDeadLetter", "has a faulty topic: "+err.Error())
	} else if dead.Topic == c.consume.Sub.Topic {
		c.fault("WithDeadLetter", "is the consumer's own topic; its dead letters would come back for ever")
	}
	dead.Plain = c.plainDeadLetter
	c.consume.GiveUp = dead
}

// validateShared checks the sources of nsqds, and applies the override of a test.
func (c *sharedConfig) validateShared() {
	if !c.sourced() && (c.override == nil || c.override.Keep) {
		c.fault("WithNSQD", "or WithLookupd or WithDiscoverer is needed, to say where the nsqds are")
	}
	for _, addr := range c.nsqds {
		if err := conn.CheckAddress(addr); err != nil {
			c.fault("WithNSQD", "has a faulty address: "+err.Error())
		}
	}
	c.makeLookupds()
	if c.given["WithLookupdClient"] && !c.given["WithLookupd"] {
		c.fault("WithLookupdClient", "needs WithLookupd")
	}
	if c.given["WithoutRegistration"] && !c.given["WithLookupd"] && c.override == nil {
		c.fault("WithoutRegistration", "needs WithLookupd: without it nothing is registered")
	}
	if c.given["WithNSQDFilter"] && !c.discovers() {
		c.fault("WithNSQDFilter", "needs WithLookupd or WithDiscoverer: the addresses of WithNSQD are not filtered")
	}
	if c.given["WithAddressRewrite"] && !c.discovers() {
		c.fault("WithAddressRewrite", "needs WithLookupd or WithDiscoverer: the addresses of WithNSQD are dialled as they are")
	}
	for _, option := range []string{"WithLookupInterval", "WithMaxNSQDs"} {
		if c.given[option] && !c.discovers() && c.override == nil {
			c.fault(option, "needs WithLookupd or WithDiscoverer: it does not apply to the addresses of WithNSQD")
		}
	}
	if c.override != nil {
		c.applyOverride()
	}
	if c.telemetry != nil {
		c.telemetry = guardedTelemetry{c.telemetry, guard.Logger(c.logger)}
		c.hooks = append(c.hooks, c.telemetry.Hooks())
	}
}

// discovers reports whether an option names a source of nsqds, even a faulty one.
func (c *sharedConfig) discovers() bool { return c.given["WithLookupd"] || c.given["WithDiscoverer"] }

// sourced reports whether an option names an nsqd or a source of nsqds, even a faulty one.
func (c *sharedConfig) sourced() bool {
	return len(c.nsqds)+len(c.lookupds) > 0 || c.given["WithDiscoverer"]
}

// makeLookupds makes a client for each nsqlookupd.
func (c *sharedConfig) makeLookupds() {
	known := make(map[string]bool)
	for _, addr := range c.lookupds {
		client, err := lookup.NewClient(addr, lookup.Config{
			HTTPClient: c.lookupdClient.HTTPClient, Authorization: c.lookupdClient.Authorization,
		})
		if err != nil {
			c.fault("WithLookupd", "has a faulty address: "+err.Error())
			continue
		}
		if key := client.URL(); !known[key] {
			known[key] = true
			c.discover.Lookupds = append(c.discover.Lookupds, client)
		}
	}
}

// applyOverride replaces all sources of nsqds, or the network to them, by the servers of a test.
func (c *sharedConfig) applyOverride() {
	if c.override.Edit != nil {
		c.override.Edit(&c.conn)
	}
	if c.override.Keep {
		return
	}
	c.nsqds = slices.Clone(c.override.Addrs)
	c.discover.Lookupds, c.discover.Sources, c.discover.Filter, c.discover.Rewrite = nil, nil, nil, nil
	c.lookupds, c.lookupdClient.HTTPClient = c.override.Lookupds, c.override.Client
	c.makeLookupds()
	if len(c.nsqds) == 0 && len(c.lookupds) == 0 {
		c.fault("nsqxtest.Option", "got no server")
	}
	for i, addr := range c.nsqds {
		if slices.Contains(c.nsqds[:i], addr) {
			c.fault("nsqxtest.Option", "got two servers with the address "+addr+"; make them with NewServers, or WithAddr")
		}
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

// once records that an option was given. The second time is a fault.
func (c *sharedConfig) once(option string) {
	if c.given[option] {
		c.fault(option, "is given twice")
	}
	c.given[option] = true
}

// contradicts adds a fault if another option was given that excludes this one.
func (c *sharedConfig) contradicts(option, other string) {
	if c.given[other] {
		c.fault(option, "contradicts "+other)
	}
}

// giveUp sets what becomes of messages that are given up. The options for that exclude each other.
func (c *consumerConfig) giveUp(option string, g consume.GiveUp) {
	c.once(option)
	if c.givesUp != "" && c.givesUp != option {
		c.fault(option, "contradicts "+c.givesUp)
	}
	c.givesUp, c.consume.GiveUp = option, g
}

// validate returns the error of the Validate method of user code, if it has one.
func validate(v any) error {
	if v, ok := v.(interface{ Validate() error }); ok {
		_, err := guard.IsolateValue(func() (any, error) { return nil, v.Validate() })
		return err
	}
	return nil
}

// build calls the constructors of middleware, which are user code.
func build[T any](option string, f func() T) (T, error) {
	v, err := guard.IsolateValue(func() (T, error) { return f(), nil })
	if err != nil {
		err = &OptionError{Option: option, Reason: "cannot be built: " + err.Error()}
	}
	return v, err
}

// inRange reports whether n is in a range, and adds a fault if not.
func (c *sharedConfig) inRange(option string, n, low, high int) bool {
	if n < low || n > high {
		c.fault(option, fmt.Sprintf("is %d, want %d to %d", n, low, high))
		return false
	}
	return true
}
