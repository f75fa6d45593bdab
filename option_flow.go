package nsqx

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// WithConcurrency sets how many handlers run at once: 1 to 65536. Handlers that wait for other
// services need more than one a CPU. See also [Consumer.SetConcurrency]. Defaults to 16.
func WithConcurrency(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithConcurrency")
		c.inRange("WithConcurrency", n, 1, maxConcurrency)
		c.consume.Concurrency = n
	})
}

// WithBatch sets when a batch of [NewBatchConsumer] is complete: with size messages, 1 to 1048576, or
// when its first message has waited for wait, more than 0 and less than the message timeout. Batches
// are smaller if nsqd's max-rdy-count or [WithMaxInFlightBytes] allows fewer messages in flight; that
// is logged once. Defaults to 100, or [WithMaxInFlight] if that is less, and 100 ms.
func WithBatch(size int, wait time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithBatch")
		c.inRange("WithBatch", size, 1, maxInFlight)
		if wait <= 0 {
			c.fault("WithBatch", fmt.Sprintf("waits for %v, want more than 0", wait))
		}
		c.batch.Size, c.batch.Wait = size, wait
	})
}

// WithoutBatchTouch lets the message timeout end the context of a handler of batches. Otherwise the
// messages of a batch are touched while the handler runs, for at most nsqd's max-msg-timeout (15
// minutes by default).
func WithoutBatchTouch() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutBatchTouch")
		c.batch.NoTouch = true
	})
}

// WithMaxInFlight limits the messages that nsqd has sent and that are not answered, over all
// connections: 1 to 1048576, or 0 for automatic. Fewer are requested if some would wait for a
// handler for more than a second. With more nsqds than messages, the nsqds take turns. See also
// [Consumer.SetMaxInFlight].
//
// Defaults to automatic: one message a handler, and as many more as the handlers are measured to
// finish in 100 ms or two round trips, at most nsqd's max-rdy-count (2500).
func WithMaxInFlight(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlight")
		if c.inRange("WithMaxInFlight", n, 0, maxInFlight) {
			c.consume.MaxInFlight = n
		}
	})
}

// WithMaxInFlightBytes limits the bodies in flight, in bytes, at least 1 MiB. No more messages are
// requested than fit at the mean size so far. Defaults to 64 MiB.
func WithMaxInFlightBytes(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlightBytes")
		if n < 1<<20 {
			c.fault("WithMaxInFlightBytes", fmt.Sprintf("is %d, want 1048576 or more", n))
		}
		c.consume.MaxInFlightBytes = n
	})
}

// Delivery says when nsqd sends the messages of a topic without a backlog: see [WithDelivery]. A
// backlog is sent as fast as the handlers take it, either way.
type Delivery int

const (
	// Immediate has nsqd send each message when it is published. The consumer requests one message
	// beyond those in flight, and more only while they come faster than round trips.
	Immediate Delivery = iota

	// Batched has nsqd collect messages: until its output buffer is full (16 KB by default) or
	// MaxInFlight is reached, or for its output buffer timeout (250 ms by default; see
	// OutputBufferTimeout of [conn.Config]). A message waits half of that on average.
	Batched
)

// String returns "immediate" or "batched".
func (d Delivery) String() string {
	switch d {
	case Immediate:
		return "immediate"
	case Batched:
		return "batched"
	}
	return fmt.Sprintf("Delivery(%d)", int(d))
}

// WithDelivery sets what matters more, latency or CPU. Defaults to Immediate.
//
// At 1000 messages of 200 bytes a second, [Batched] took 2 µs of the consumer's CPU for each instead of
// 34, and 44 µs of nsqd's instead of 64; the median time from publish to handler was 32 ms instead of
// 0.07. At 100 a second it was 8 µs instead of 66, and 131 ms instead of 0.17. In a backlog both are
// alike.
func WithDelivery(d Delivery) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithDelivery")
		c.contradicts("WithDelivery", "WithFixedRDY")
		if d != Immediate && d != Batched {
			c.fault("WithDelivery", fmt.Sprintf("is %d, want Immediate or Batched", d))
		}
		c.consume.Sub.FixedRDY = d == Batched
	})
}

// WithFixedRDY keeps the RDY of each connection at its quota of MaxInFlight, for comparisons with
// other clients. It delivers like [Batched], and requests what [WithMaxInFlight] says even if handlers
// cannot start that soon. Defaults to off.
func WithFixedRDY() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithFixedRDY")
		c.contradicts("WithFixedRDY", "WithDelivery")
		c.consume.Sub.FixedRDY, c.consume.FixedRDY = true, true
	})
}

// WithBackoff configures when the consumer stops requesting messages because nearly all fail: see
// [Backoff]. Defaults to the zero Backoff, which is on.
func WithBackoff(b Backoff) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithBackoff")
		c.contradicts("WithBackoff", "WithoutBackoff")
		if fault := b.check(); fault != "" {
			c.fault("WithBackoff", fault)
		}
		settings := flow.Backoff(b)
		c.consume.Backoff = &settings
	})
}

// WithoutBackoff requests messages however many fail, and each failure is an attempt: in an outage
// [WithMaxAttempts], and a retry policy that ends, give up the whole backlog. Defaults to off: see
// [Backoff].
func WithoutBackoff() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutBackoff")
		c.contradicts("WithoutBackoff", "WithBackoff")
		c.consume.Backoff = nil
	})
}

// Backoff configures the breaker of a consumer. It opens when nearly all messages fail: the
// consumer requests nothing for a while, then a single message, the probe, and continues if that
// succeeds. While the probe is being handled one more message is requested each minute. NSQ calls
// this backoff. Unlike NSQ's it depends on the rate of failures, so messages that always fail do not
// stop the others.
//
// A failure is a message whose handler returned an error or panicked, that did not decode, or that
// failed too late to be answered, whether it is requeued or given up. retry.Permanent, retry.Drop,
// retry.After(d, nil), retry.Quietly and retry.AfterQuietly are none, nor is a failure with the
// connection. A message counts once while it is among the last 32 that failed.
//
// The breaker opens if the part Failures of the results within Period have failed and there are at
// least MinResults of them, and one a handler. If Period brings fewer than MinResults, it opens when
// the last 10 results have failed, whatever their age (MinResults if that is below 10, half of it if
// it is above 20).
//
// After a probe that succeeds, each success lets one more message through, up to one a handler;
// then the breaker closes. It opens again if five messages, and the part Failures of the results
// since the probe, have failed.
//
// What fails as a probe, or while the breaker is open, does not count towards MaxAttempts, and is not
// given up by a retry policy that ends. So an outage costs no message its attempts, however long it
// lasts; but a consumer all of whose messages fail gives none up either, except by retry.Permanent,
// those that do not decode, and those older than [WithMaxAge].
//
// Fewer than ten messages that fail again and again, and nothing else, do not open the breaker, and
// look like an outage all the same. So a message without attempts left is also kept while the breaker
// is closed, if the last 10 results (as above) have failed, not all of them with one message, and the
// first failure since the last success is less than two hours old.
//
// A process knows of its own results alone. Until the breaker of a new process opens, the number of
// deliveries counts, with the probes of earlier processes: it may give up a few messages in an outage.
//
// If 80 % or more fail for good, the breaker opens now and then by chance, and up to a minute may
// pass until a probe succeeds.
//
// Zero fields mean the defaults.
type Backoff struct {
	MinResults int           // results within Period that are needed to open, at least 1. Defaults to 20
	Failures   float64       // part of the results that failed, above 0 and up to 1. Defaults to 0.9
	Period     time.Duration // age of the oldest result that counts, at least 1 s. Defaults to 10 s
	First      time.Duration // first time open, 1 ms to 24 h; a failed probe doubles it. Defaults to 1 s
	Max        time.Duration // longest time open, First to 24 h. Defaults to 60 s, or First if that is longer
}

// maxOpen is the longest time for which a breaker may be open.
const maxOpen = 24 * time.Hour

var defaultBackoff = Backoff{MinResults: 20, Failures: 0.9, Period: 10 * time.Second, First: time.Second, Max: time.Minute}

// check sets the defaults, and returns what is wrong.
func (b *Backoff) check() (fault string) {
	b.MinResults = cmp.Or(b.MinResults, defaultBackoff.MinResults)
	b.Failures = cmp.Or(b.Failures, defaultBackoff.Failures)
	b.Period = cmp.Or(b.Period, defaultBackoff.Period)
	b.First = cmp.Or(b.First, defaultBackoff.First)
	b.Max = cmp.Or(b.Max, max(defaultBackoff.Max, b.First))
	switch {
	case b.MinResults < 1:
		return fmt.Sprintf("has MinResults %d, want 1 or more", b.MinResults)
	case !(b.Failures > 0 && b.Failures <= 1):
		return fmt.Sprintf("has Failures %v, want more than 0, up to 1", b.Failures)
	case b.Period < time.Second:
		return fmt.Sprintf("has Period %v, want 1s or more", b.Period)
	case b.First < time.Millisecond || b.Max < b.First || b.Max > maxOpen:
		return fmt.Sprintf("has First %v and Max %v, want 1ms to %v, and Max no less than First", b.First, b.Max, maxOpen)
	}
	return ""
}
