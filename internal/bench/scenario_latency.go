package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// latencySeconds is the default duration of publishing in a lap, unless that makes fewer than
	// latencyLeast messages.
	latencySeconds = 5
	latencyLeast   = 100
)

// latencyScenario measures the time from publish to handler, through a real nsqd, at a given rate.
func latencyScenario() scenario {
	return scenario{
		name:     "latency",
		flags:    []string{"workers", "nsqds", "rtt", "mbit", "rate", "work", "inflight"},
		messages: func(j job) int { return max(latencyLeast, latencySeconds*j.Rate) },
		contenders: []contender{
			{client: "bare", maxInFlight: 1, idle: true},
			{client: "go-nsq", maxInFlight: 100},
			{client: "nsqx"},
			{client: "nsqx-batched"},
		},
		check: checkLatency,
		title: func(j job) string {
			return fmt.Sprintf("publish to handler of %d messages, %d a second, %s, %d-byte bodies, %d workers, %v of work",
				j.Messages, j.Rate, network(j), j.Size, j.Workers, j.Work)
		},
		metrics: latencyMetrics,
		nsqd:    true,
		lap:     lapLatency,
	}
}

func checkLatency(j job) error {
	err := atLeast("size", j.Size, minBody)
	if float64(j.Rate)*j.Work.Seconds() >= float64(j.Workers) {
		err = errors.Join(err, fmt.Errorf("bench: %d workers cannot keep up with %d messages a second of %v each", j.Workers, j.Rate, j.Work))
	}
	if j.publishing() > lapTimeout/2 {
		err = errors.Join(err, fmt.Errorf("bench: messages is %d, must be published in at most %v", j.Messages, lapTimeout/2))
	}
	return err
}

// publishing returns about how long the publisher takes.
func (j job) publishing() time.Duration {
	return time.Duration(float64(j.warmup()+j.Messages) / float64(j.Rate) * float64(time.Second))
}

func latencyMetrics(j job) []metric {
	n := float64(j.Messages)
	cpu := func(r result) float64 { return float64(r.Client.CPU.Nanoseconds()) / 1e3 / n }
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return []metric{
		{"p50-ms", "%.3f", func(r result) float64 { return ms(r.Client.Latency.P50) }},
		{"p90-ms", "%.3f", func(r result) float64 { return ms(r.Client.Latency.P90) }},
		{"p99-ms", "%.3f", func(r result) float64 { return ms(r.Client.Latency.P99) }},
		{"max-ms", "%.3f", func(r result) float64 { return ms(r.Client.Latency.Max) }},
		{"p50/bare", "%.2f", func(r result) float64 { return ms(r.Client.Latency.P50) / ms(r.Bare.Client.Latency.P50) }},
		{"p99/bare", "%.2f", func(r result) float64 { return ms(r.Client.Latency.P99) / ms(r.Bare.Client.Latency.P99) }},
		{"cpu-us/msg", "%.1f", cpu},
		{"cpu/bare", "%.2f", func(r result) float64 { return cpu(r) / cpu(*r.Bare) }},
		{"nsqd-cpu-us/msg", "%.1f", func(r result) float64 { return float64(r.NSQDs.CPU.Microseconds()) / n }},
		{"publisher-late-p99-ms", "%.3f", func(r result) float64 { return ms(r.Publisher.Lag.P99) }},
		{"duplicates", "%.0f", func(r result) float64 { return float64(r.Client.Duplicates) }},
		{"requeued", "%.0f", func(r result) float64 { return float64(r.NSQDs.Requeued + r.NSQDs.TimedOut) }},
	}
}

// lapLatency lets j's client consume a publisher's messages. An unhandled message is an error.
func lapLatency(ctx context.Context, f *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()
	if j.Topic, err = f.topic(""); err != nil {
		return res, err
	}
	before, err := f.states(j.Topic)
	if err != nil {
		return res, err
	}
	j.Role, j.Addrs = "client", f.clients
	client, err := start(ctx, j)
	if err != nil {
		return res, err
	}
	if res.Publisher, err = publishAll(ctx, f, j); err != nil {
		cancel() // the client would wait for messages
		return res, errors.Join(err, client.wait())
	}
	if err := client.report(&res.Client); err != nil {
		return res, err
	}
	return res, f.finish(ctx, j.Topic, before, &res)
}

// publishAll publishes j's messages once the client has subscribed.
func publishAll(ctx context.Context, f *fleet, j job) (report publisherReport, err error) {
	if _, err = f.waitUntil(ctx, j.Topic, "the client to subscribe", func(_ int, s nsqdState) bool { return s.Clients > 0 }); err != nil {
		return report, err
	}
	j.Role, j.Addrs = "publisher", f.addrs
	publisher, err := start(ctx, j)
	if err != nil {
		return report, err
	}
	return report, publisher.report(&report)
}
