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

	// maxNSQDs is how many nsqds have an id of their own.
	maxNSQDs = 1024

	// maxGoroutines is as many publishes as may be unanswered everywhere.
	maxGoroutines = window

	// maxConnections keeps a process within the number of files that it may have open.
	maxConnections = 400

	// channel is what every client consumes; its topic is the job's.
	channel = "c"
)

// job is one lap of one client, as the parent hands it to the processes that do it.
type job struct {
	Role     string // of the process: see roles
	Scenario string
	Client   string // name of the client

	Messages    int // measured messages
	Size        int // bytes of a body
	Workers     int // concurrent handlers
	MaxInFlight int // RDY; 0 for what the client does by itself

	// For the scenarios with a sender:
	Connections int    // to it
	Layer       string // below the protocol
	JSON        bool   // bodies are decoded

	// For the scenarios with an nsqd:
	NSQDs int
	Rate  int           // messages published a second
	RTT   time.Duration // added between client and nsqd
	Mbit  int           // Mbit/s between client and nsqd each way; 0 for no limit

	Work       time.Duration // what a handler takes
	Goroutines int           // of the publish scenario: how many publish
	Consumers  int           // of the idle scenario

	Topic string
	Addrs []string // whom to connect to
	ID    int64    // of this nsqd
	Dir   string   // for this nsqd's files
}

// warmup is the number of messages that go before the measured ones.
func (j job) warmup() int { return max(1, j.Messages/10) }

// channel is what nsqd has besides the topic; "" for none.
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

// layered says whether there is anything between the protocol and TCP.
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
