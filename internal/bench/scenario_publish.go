package main

import (
	"context"
	"errors"
	"fmt"
)

const publishName = "publish"

// publishScenario lets goroutines publish to a real nsqd. bare, go-nsq and nsqx publish one message at a time in each
// of them and wait for the OK; the others a hundred messages (multi), or without waiting (async).
//
// The topic is an ephemeral one without a channel: nsqd keeps the first 10 000 messages (--mem-queue-size) and, as it does
// for every such topic that is full, drops what comes after them once it has taken it in, given it an id and encoded it for a
// disk that is not there. So its memory is bounded, it does the same for each client, and neither a disk nor a consumer takes
// part in what is measured. A lap's messages are counted nevertheless: it is an error if nsqd has not taken each once.
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
		// nsqd is looked at before and after the lap, warm-up and all.
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
	before, err := f.look(j.Topic)
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
	after, err := f.look(j.Topic)
	if err != nil {
		return res, err
	}
	res.NSQDs.CPU = after[0].CPU - before[0].CPU
	if want := j.warmup() + j.Messages; after[0].Published != want {
		err = fmt.Errorf("bench: nsqd has taken %d messages, %d were confirmed", after[0].Published, want)
	}
	return res, errors.Join(err, f.delete(j.Topic))
}
