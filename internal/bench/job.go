package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxSize is the largest message that nsqd accepts by default.
	maxSize = 1 << 20

	// maxNSQDs is the number of nsqd node ids.
	maxNSQDs = 1024

	// maxGoroutines is the maximum number of unanswered publishes of any client.
	maxGoroutines = window

	// maxConnections keeps a process within its limit of open files.
	maxConnections = 400

	// channel is consumed by every client; the topic is the job's.
	channel = "c"
)

// job describes one lap of one client to the processes that run it.
type job struct {
	Role     string // of the process: see roles
	Scenario string
	Client   string // name of the client

	Messages    int // measured messages
	Size        int // bytes of a body
	Workers     int // concurrent handlers
	MaxInFlight int // RDY; 0 for the client's default

	// For scenarios with a sender:
	Connections int    // to the sender
	Layer       string // below the protocol
	JSON        bool   // bodies are decoded

	// For scenarios with an nsqd:
	NSQDs int
	Rate  int           // messages published a second
	RTT   time.Duration // added between client and nsqd
	Mbit  int           // Mbit/s between client and nsqd each way; 0 for no limit

	Work       time.Duration // duration of a handler
	Goroutines int           // publish scenario: number of publishing goroutines
	Consumers  int           // of the idle scenario

	Topic string
	Addrs []string // addresses to connect to
	ID    int64    // of this nsqd
	Dir   string   // for this nsqd's files
}

// warmup returns the number of messages before the measured ones.
func (j job) warmup() int { return max(1, j.Messages/10) }

// channel returns the topic's channel; "" for none.
func (j job) channel() string {
	if j.Scenario == publishName {
		return ""
	}
	return channel
}

func (j job) validate() error {
	return errors.Join(
		atLeast("messages", j.Messages, 1),
		atLeast("size", j.Size, 1), atMost("size", j.Size, maxSize),
		atLeast("workers", j.Workers, 1),
		atLeast("nsqds", j.NSQDs, 1), atMost("nsqds", j.NSQDs, maxNSQDs),
		atLeast("rate", j.Rate, 1),
		atLeast("work", j.Work, 0),
		atLeast("rtt", j.RTT, 0),
		atLeast("mbit", j.Mbit, 0),
		atLeast("goroutines", j.Goroutines, 1), atMost("goroutines", j.Goroutines, maxGoroutines),
		atLeast("inflight", j.MaxInFlight, 0),
		atLeast("connections", j.Connections, 1), atMost("connections", j.Connections, maxConnections),
		atLeast("consumers", j.Consumers, 1), atMost("consumers", j.Consumers, maxConnections),
		j.checkLayer(),
	)
}

func (j job) checkLayer() error {
	if slices.Contains(layers(), j.Layer) {
		return nil
	}
	return fmt.Errorf("bench: no layer named %q; there are %s", j.Layer, strings.Join(layers(), ", "))
}

// layered reports whether there is a layer between the protocol and TCP.
func (j job) layered() bool { return j.Layer != "" && j.Layer != plain }

func atLeast[N int | time.Duration](name string, n, least N) error {
	if n < least {
		return fmt.Errorf("bench: %s is %v, must be at least %v", name, n, least)
	}
	return nil
}

func atMost[N int | time.Duration](name string, n, most N) error {
	if n > most {
		return fmt.Errorf("bench: %s is %v, must be at most %v", name, n, most)
	}
	return nil
}
