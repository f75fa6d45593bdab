package gonsq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
)

// OptionError is a setting of a [Config] that cannot be had with nsqx.
type OptionError struct {
	Option string // as in Config.Set, such as "backoff_strategy"
	Reason string // the value, and what to do
}

// Error names the option.
func (e *OptionError) Error() string { return "gonsq: " + e.Option + " " + e.Reason }

// faults collects errors.
type faults []error

func (f *faults) add(option, format string, args ...any) {
	*f = append(*f, &OptionError{option, fmt.Sprintf(format, args...)})
}

// between adds a fault unless d is 0 or a whole number of milliseconds within limits.
func (f *faults) between(option string, d, least, most time.Duration) {
	if d != 0 && (d < least || d > most || d%time.Millisecond != 0) {
		f.add(option, "is %v: with nsqx it may be %v to %v in whole milliseconds, or 0 for nsqd's own", d, least, most)
	}
}

// valid returns a copy of a Config that go-nsq accepts.
func valid(cfg *Config) (checked Config, err error) {
	if cfg == nil {
		return Config{}, errors.New("gonsq: the Config is nil, use NewConfig")
	}
	defer func() { // it was not made by NewConfig
		if v := recover(); v != nil {
			err = fmt.Errorf("gonsq: %v", v)
		}
	}()
	return *cfg, cfg.Validate()
}

// connConfig translates what concerns connections. A default is no wish: where nsqx does better, it
// does.
func connConfig(cfg *Config, dial dialFunc, f *faults) conn.Config {
	def := NewConfig()
	c := conn.Config{
		DialTimeout: min(max(cfg.DialTimeout, time.Millisecond), time.Hour), HeartbeatInterval: cfg.HeartbeatInterval,
		MaxMessageSize: 1 << 30, MaxDelay: 8760 * time.Hour, // go-nsq has no limits but nsqd's
		ClientID: cfg.ClientID, Hostname: cfg.Hostname, UserAgent: cfg.UserAgent,
	}
	switch {
	case cfg.DialTimeout == 0: // no limit
		c.DialTimeout = time.Hour
	case cfg.DialTimeout < 0:
		f.add("dial_timeout", "is %v: want 0 or more", cfg.DialTimeout)
	}
	f.between("heartbeat_interval", cfg.HeartbeatInterval, time.Second, time.Minute)
	if cfg.UserAgent == def.UserAgent {
		c.UserAgent = "" // nsqx's own, which tells the two apart in nsqadmin
	}
	if cfg.OutputBufferSize != def.OutputBufferSize {
		if size := cfg.OutputBufferSize; size != -1 && size != 0 && (size < 64 || size > 64<<10) {
			f.add("output_buffer_size", "is %d: with nsqx it may be 64 to 65536, -1 for none, or 0 for nsqd's own", size)
		}
		c.OutputBufferSize = int(cfg.OutputBufferSize)
	}
	if d := cfg.OutputBufferTimeout; d != def.OutputBufferTimeout {
		f.between("output_buffer_timeout", d, 25*time.Millisecond, 30*time.Second)
		c.OutputBufferTimeout = d
	}
	switch {
	case cfg.Deflate && cfg.Snappy:
		f.add("deflate", "and snappy are both set: nsqd accepts one")
	case cfg.Deflate:
		c.Compression, c.CompressionOptional, c.DeflateLevel = conn.Deflate, true, min(cfg.DeflateLevel, 6)
	case cfg.Snappy:
		c.Compression, c.CompressionOptional = conn.Snappy, true
	}
	c.TLS = tlsConfig(cfg, f)
	if secret := cfg.AuthSecret; secret != "" {
		c.AllowPlaintextAuth = true // go-nsq sends it in any case
		c.AuthSecret = func(context.Context) (string, error) { return secret, nil }
	}
	c.DialContext = limitConn(cfg, dial)
	return c
}

// tlsConfig returns the TLS configuration; nil for none.
func tlsConfig(cfg *Config, f *faults) *tls.Config {
	if !cfg.TlsV1 {
		return nil
	}
	if cfg.TlsConfig == nil {
		return &tls.Config{}
	}
	c := cfg.TlsConfig.Clone()
	if c.MinVersion < tls.VersionTLS12 {
		c.MinVersion = tls.VersionTLS12 // Config.Set says TLS 1.0 unless it is told otherwise
	}
	if v := c.MaxVersion; v != 0 && v < tls.VersionTLS12 {
		f.add("tls_config", "has MaxVersion %s: nsqx wants TLS 1.2 or later", tls.VersionName(v))
	}
	return c
}

// maxInFlight is the most that nsqx allows.
const maxInFlight = 1 << 20

// consumerOptions translates what concerns consumers.
func consumerOptions(cfg *Config, f *faults) []nsqx.ConsumerOption {
	def := NewConfig()
	switch cfg.BackoffStrategy.(type) {
	case *nsq.ExponentialStrategy:
	default:
		f.add("backoff_strategy", "is %T: nsqx has its own, which backoff_multiplier and max_backoff_duration set; leave the default", cfg.BackoffStrategy)
	}
	const turns = "is %v: with nsqx the nsqds take turns by themselves; leave the default, %v"
	if v := cfg.LowRdyIdleTimeout; v != def.LowRdyIdleTimeout {
		f.add("low_rdy_idle_timeout", turns, v, def.LowRdyIdleTimeout)
	}
	if v := cfg.LowRdyTimeout; v != def.LowRdyTimeout {
		f.add("low_rdy_timeout", turns, v, def.LowRdyTimeout)
	}
	if v := cfg.RDYRedistributeInterval; v != def.RDYRedistributeInterval {
		f.add("rdy_redistribute_interval", turns, v, def.RDYRedistributeInterval)
	}
	if v := cfg.LookupdPollJitter; v != def.LookupdPollJitter {
		f.add("lookupd_poll_jitter", "is %v: nsqx polls at lookupd_poll_interval ± 20 %%; leave the default, %v", v, def.LookupdPollJitter)
	}
	if v := cfg.MaxInFlight; v > maxInFlight {
		f.add("max_in_flight", "is %d: with nsqx it may be at most %d", v, maxInFlight)
	}
	f.between("msg_timeout", cfg.MsgTimeout, time.Second, 24*time.Hour)

	opts := []nsqx.ConsumerOption{
		nsqx.WithLookupInterval(max(cfg.LookupdPollInterval, 100*time.Millisecond)),
		nsqx.WithMaxInFlightBytes(math.MaxInt),  // a program may hold MaxInFlight messages, whatever their size
		nsqx.WithMaxRequeueDelay(math.MaxInt64), // nsqd has its own limit
		nsqx.WithShutdownTimeout(stopTime),
		backoff(cfg),
	}
	if n := cfg.MaxInFlight; n > 0 && n <= maxInFlight { // 0: see Consumer.start
		opts = append(opts, nsqx.WithMaxInFlight(n))
	}
	if d := cfg.MsgTimeout; d > 0 {
		opts = append(opts, nsqx.WithMessageTimeout(d))
	}
	if n := cfg.SampleRate; n > 0 {
		opts = append(opts, nsqx.WithSampleRate(int(n)))
	}
	return opts
}

// backoff translates the breaker: go-nsq pauses for twice the multiplier first.
func backoff(cfg *Config) nsqx.ConsumerOption {
	longest := cfg.MaxBackoffDuration
	if longest <= 0 {
		return nsqx.WithoutBackoff()
	}
	longest = max(longest, time.Millisecond)
	first := min(max(2*cfg.BackoffMultiplier, time.Millisecond), longest)
	return nsqx.WithBackoff(nsqx.Backoff{First: first, Max: longest})
}
