package nsqx

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/nsqx/nsqx/conn"
)

// ConsumerOption is an option of [NewConsumer]. A nil option is ignored. Giving an option twice is
// an error, except [WithMiddleware] and [WithHooks], which add up.
type ConsumerOption interface{ applyConsumer(*consumerConfig) }

// Option is an option that consumers, producers, publishers and [Redrive] share.
type Option interface {
	ConsumerOption
	ProducerOption
	RedriveOption
	applyShared(*sharedConfig)
}

type sharedOption func(*sharedConfig)

func (o sharedOption) applyShared(c *sharedConfig)     { o(c) }
func (o sharedOption) applyConsumer(c *consumerConfig) { o(&c.sharedConfig) }
func (o sharedOption) applyProducer(c *producerConfig) { o(&c.sharedConfig) }

type consumerOption func(*consumerConfig)

func (o consumerOption) applyConsumer(c *consumerConfig) { o(c) }

// WithOptions combines options that consumers and producers share.
func WithOptions(opts ...Option) Option { return sharedOptions(opts) }

// WithConsumerOptions combines options that consumers share.
func WithConsumerOptions(opts ...ConsumerOption) ConsumerOption { return consumerOptions(opts) }

// WithDefaults sets options that yield to those given elsewhere, wherever it stands: a service has
// its defaults in the code, and package settings, or a test, has the last word.
//
//   - An option that is given elsewhere replaces the default, except for middleware and hooks, which
//     add up.
//   - [WithNSQD], [WithLookupd] and [WithDiscoverer] replace all three, unless they name nothing. So
//     do [WithDeadLetter], [WithDeadLetterFunc] and [WithDiscard], and [WithBackoff] and
//     [WithoutBackoff].
//   - Of [WithConn] each field is replaced that is not zero.
//   - The size of [WithBatch] is lowered to [WithMaxInFlight].
//
// Giving an option twice among the defaults is as much an error as giving it twice elsewhere.
// [WithProducerDefaults] is for producers.
func WithDefaults(opts ...ConsumerOption) ConsumerOption { return consumerDefaults(opts) }

type (
	sharedOptions    []Option
	consumerOptions  []ConsumerOption
	consumerDefaults []ConsumerOption
)

func (o sharedOptions) applyShared(c *sharedConfig) {
	for _, o := range o {
		if o != nil {
			o.applyShared(c)
		}
	}
}

func (o sharedOptions) applyConsumer(c *consumerConfig) { o.applyShared(&c.sharedConfig) }
func (o sharedOptions) applyProducer(c *producerConfig) { o.applyShared(&c.sharedConfig) }

func (o consumerOptions) applyConsumer(c *consumerConfig) {
	for _, o := range o {
		if o != nil {
			o.applyConsumer(c)
		}
	}
}

func (o consumerDefaults) applyConsumer(c *consumerConfig) {
	c.defaults = append(c.defaults, flatten([]ConsumerOption(o))...)
}

// flatten returns the options of bundles one by one.
func flatten[O any](opts []O) (all []O) {
	for _, o := range opts {
		switch o := any(o).(type) {
		case nil:
		case sharedOptions:
			for _, o := range flatten([]Option(o)) {
				all = append(all, any(o).(O))
			}
		case consumerOptions:
			all = append(all, any(flatten([]ConsumerOption(o))).([]O)...)
		case consumerDefaults:
			all = append(all, any(flatten([]ConsumerOption(o))).([]O)...)
		case producerOptions:
			all = append(all, any(flatten([]ProducerOption(o))).([]O)...)
		case producerDefaults:
			all = append(all, any(flatten([]ProducerOption(o))).([]O)...)
		default:
			all = append(all, o.(O))
		}
	}
	return all
}

// instead are options of which any replaces the defaults for all.
var instead = [][]string{
	{"WithNSQD", "WithLookupd", "WithDiscoverer"},
	{"WithDeadLetter", "WithDeadLetterFunc", "WithDiscard"},
	{"WithBackoff", "WithoutBackoff"},
}

// addUp are options that do not replace defaults.
var addUp = []string{"WithMiddleware", "WithBatchMiddleware", "WithSendMiddleware"}

// applyDefaults applies defaults to a configuration that has all other options. probe applies one to
// an empty configuration, to see what it is.
func applyDefaults[O any](c *sharedConfig, defaults []O, probe func(O) *sharedConfig, apply func(O)) {
	for name := range c.off {
		if c.given[name] {
			c.fault(name, "is given, and turned off by a setting")
		}
	}
	if !c.sourced() { // WithNSQD(addrs...) of no address is replaced by a default
		delete(c.given, "WithNSQD")
		delete(c.given, "WithLookupd")
	}
	given := maps.Clone(c.given)
	replaced := func(name string) bool {
		if c.off[name] || given["WithPublisher"] && !slices.Contains(ofProducer, name) {
			return true
		}
		for _, group := range instead {
			if slices.Contains(group, name) && slices.ContainsFunc(group, func(o string) bool { return given[o] }) {
				return true
			}
		}
		return given[name] && !slices.Contains(addUp, name)
	}
	conns := 0
	for _, o := range defaults {
		p := probe(o)
		if p.given["WithConn"] && !given["WithPublisher"] {
			if conns++; given["WithConn"] && conns == 1 {
				c.conn = fillConn(c.conn, p.conn, c.off)
				continue
			}
			apply(o)
			c.conn = fillConn(conn.Config{}, c.conn, c.off)
		} else if !slices.ContainsFunc(slices.Collect(maps.Keys(p.given)), replaced) {
			apply(o)
			maps.Copy(c.byDefault, p.given)
		}
	}
}

// fillConn sets the fields of cfg that are zero to those of defaults, except those that are off.
func fillConn(cfg, defaults conn.Config, off map[string]bool) conn.Config {
	to, from := reflect.ValueOf(&cfg).Elem(), reflect.ValueOf(defaults)
	for i := range to.NumField() {
		if f := to.Field(i); f.IsZero() && !off["conn.Config."+to.Type().Field(i).Name] {
			f.Set(from.Field(i))
		}
	}
	return cfg
}

// WithConn configures connections: TLS, AUTH, compression, timeouts, limits. Defaults to the zero
// [conn.Config].
func WithConn(cfg conn.Config) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithConn")
		c.conn = cfg
	})
}

// WithLogger sets the logger for what an operator should know: transitions of connections, sources of
// nsqds, breaker and drain, and failed messages (see [WithoutFailureLog]); for a line a message see
// middleware.Log. What goes on is repeated once a minute at most, and many alike are one line, with
// the number of the others. A normal day leaves a few lines. docs/guide/operating.md has them all.
//
// Lines are written by one goroutine of the service, so a slow logger delays no message; lines behind
// it are dropped and counted in Stats.EventsDropped. A logger that panics loses the record and
// changes nothing else. Defaults to slog.Default() at the time of the constructor.
func WithLogger(l *slog.Logger) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLogger")
		if l == nil {
			c.fault("WithLogger", "got nil; leave it out for slog.Default(), or use slog.New(slog.DiscardHandler)")
			return
		}
		c.logger = l
	})
}

// WithTelemetry lets t observe every message and the statistics of a service, and calls the hooks
// of t after those of [WithHooks]. A method of t that panics is logged, and observes nothing; its
// stop functions have half a second. Defaults to none.
func WithTelemetry(t Telemetry) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithTelemetry")
		if t == nil {
			c.fault("WithTelemetry", "got nil")
			return
		}
		c.telemetry = t
	})
}

// WithHooks calls functions on events of a service: see [observe.Hooks]. Hooks of several calls add
// up, and are called in order. Hooks without a function are an error.
func WithHooks(hooks ...Hooks) Option {
	return sharedOption(func(c *sharedConfig) {
		for _, h := range hooks {
			if h.IsZero() {
				c.fault("WithHooks", "got Hooks in which no function is set")
			}
			c.hooks = append(c.hooks, h)
		}
	})
}
