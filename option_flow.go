package nsqx

import "fmt"

// WithConcurrency sets how many handlers run at once: 1 to 65536. Defaults to
// GOMAXPROCS. A handler that waits for something else than the CPU wants more.
// [Consumer.SetConcurrency] changes it later.
func WithConcurrency(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithConcurrency")
		c.inRange("WithConcurrency", n, 1, maxConcurrency)
		c.concurrency = n
	})
}

// WithMaxInFlight bounds how many messages nsqd may have sent and not heard of,
// over all connections: what handlers work on and what waits for one. 1 to
// 1048576, or 0 for automatic, which is the default: one for each handler, and as
// many more as the handlers get through in 100 ms or two round trips, as measured;
// at most nsqd's max-rdy-count (2500). If there are more nsqds than that, they take
// turns. [Consumer.SetMaxInFlight] changes it later.
func WithMaxInFlight(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlight")
		if c.inRange("WithMaxInFlight", n, 0, maxInFlight) {
			c.maxInFlight = n
		}
	})
}

// WithMaxInFlightBytes bounds the memory that messages in flight take: no more
// are asked for than fit in, at the mean size of the bodies so far. 1 MiB at least.
// Defaults to 64 MiB.
func WithMaxInFlightBytes(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlightBytes")
		if n < 1<<20 {
			c.fault("WithMaxInFlightBytes", fmt.Sprintf("is %d, want 1048576 or more", n))
		}
		c.maxInFlightBytes = n
	})
}

// WithFixedRDY keeps the RDY of each connection at its share of MaxInFlight.
// Without it RDY follows what the connection can use, so that nsqd never holds
// messages of a quiet topic back (for its output-buffer-timeout, 250 ms). It is for
// comparisons, and for networks that the measuring cannot cope with.
func WithFixedRDY() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithFixedRDY")
		c.sub.FixedRDY = true
	})
}

// WithBackoff tunes when the consumer stops asking for messages because nearly all
// of them fail: see [Backoff]. Defaults to the zero Backoff, which is on.
func WithBackoff(b Backoff) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithBackoff")
		if c.withoutBackoff {
			c.fault("WithBackoff", "contradicts WithoutBackoff")
		}
		if fault := b.check(); fault != "" {
			c.fault("WithBackoff", fault)
		}
		c.backoff = b
	})
}

// WithoutBackoff lets the consumer ask for messages however many of them fail.
func WithoutBackoff() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutBackoff")
		if c.given["WithBackoff"] {
			c.fault("WithoutBackoff", "contradicts WithBackoff")
		}
		c.withoutBackoff = true
	})
}
