package main

import (
	"context"
	"errors"
	"fmt"
)

const publishName = "publish"

// publishScenario publishes to a real nsqd from goroutines. bare, go-nsq and nsqx publish one
// message at a time and wait for the OK; the others publish a hundred at once (multi) or without
// waiting (async).
//
// The topic is ephemeral and has no channel. nsqd keeps the first 10 000 messages
// (--mem-queue-size) and drops the others after it has read, numbered and encoded them. So its
// memory is bounded, its work is the same for each client, and neither disk nor consumer takes
// part. It is an error if nsqd has not counted each message once.
func publishScenario() scenario {
	return scenario{
		name:     publishName,
		flags:    []string{"goroutines", "rtt", "mbit"},
		messages: func(j job) int { return min(50_000*j.Goroutines, 500_000) },
		contenders: []contender{
			{client: "bare"},
			{client: "go-nsq"},
			{client: "nsqx"},
			{client: "go-nsq-multi"},
			{client: "nsqx-multi"},
			{client: "go-nsq-async"},
			{client: "nsqx-async"},
		},
		check: func(job) error { return nil },
		title: func(j job) string {
			return fmt.Sprintf("%d messages published to %s, %d-byte bodies, %d goroutines", j.Messages, network(j), j.Size, j.Goroutines)
		},
		metrics: publishMetrics,
		nsqd:    true,
		lap:     lapPublish,
	}
}

func publishMetrics(j job) []metric {
	n := float64(j.Messages)
	rate := func(r result) float64 { return n / r.Client.Wall.Seconds() }
	return []metric{
		{"published/s", "%.0f", rate},
		{"cpu-ns/msg", "%.0f", func(r result) float64 { return float64(r.Client.CPU.Nanoseconds()) / n }},
		// The state of nsqd is read before and after the lap, including its warm-up.
		{"nsqd-cpu-ns/msg", "%.0f", func(r result) float64 {
			return float64(r.NSQDs.CPU.Nanoseconds()) / float64(j.warmup()+j.Messages)
		}},
		{"allocs/msg", "%.3f", func(r result) float64 { return float64(r.Client.Allocs) / n }},
		{"B/msg", "%.1f", func(r result) float64 { return float64(r.Client.Bytes) / n }},
		{"writes/msg", "%.4f", func(r result) float64 { return float64(r.Client.Writes) / n }},
		{"p50-us", "%.0f", func(r result) float64 { return float64(r.Client.Latency.P50.Nanoseconds()) / 1e3 }},
		{"p99-us", "%.0f", func(r result) float64 { return float64(r.Client.Latency.P99.Nanoseconds()) / 1e3 }},
		{"rate/bare", "%.3f", func(r result) float64 { return rate(r) / rate(*r.Bare) }},
	}
}

// lapPublish lets j's client publish.
func lapPublish(ctx context.Context, f *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()
	if j.Topic, err = f.topic("#ephemeral"); err != nil {
		return res, err
	}
	before, err := f.states(j.Topic)
	if err != nil {
		return res, err
	}
	j.Role, j.Addrs = "producer", f.clients
	producer, err := start(ctx, j)
	if err != nil {
		return res, err
	}
	if err := producer.report(&res.Client); err != nil {
		return res, err
	}
	after, err := f.states(j.Topic)
	if err != nil {
		return res, err
	}
	res.NSQDs.CPU = after[0].CPU - before[0].CPU
	if want := j.warmup() + j.Messages; after[0].Published != want {
		err = fmt.Errorf("bench: nsqd has taken %d messages, %d were confirmed", after[0].Published, want)
	}
	return res, errors.Join(err, f.delete(j.Topic))
}
