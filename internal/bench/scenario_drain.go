package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// drainScenario empties a full topic of a real nsqd. Rate and cost are those of the bulk; the rest
// is the tail. nsqd may delay the last messages by its output buffer timeout, 250 ms, which is a
// matter of latency.
func drainScenario() scenario {
	return scenario{
		name:     "drain",
		flags:    []string{"workers", "nsqds", "rtt", "mbit"},
		messages: func(job) int { return 500_000 },
		contenders: []contender{
			{client: "bare", maxInFlight: 2500},
			{client: "go-nsq", maxInFlight: 2500},
			{client: "nsqx"},
			{client: "nsqx-fixed", maxInFlight: 2500},
		},
		check: func(j job) error { return atLeast("size", j.Size, minBody) },
		title: func(j job) string {
			return fmt.Sprintf("drain of %d messages of %s, %d-byte bodies, %d workers",
				j.Messages, network(j), j.Size, j.Workers)
		},
		metrics: drainMetrics,
		nsqd:    true,
		lap:     lapDrain,
	}
}

// network describes the nsqds and the network.
func network(j job) string {
	what := "1 nsqd"
	if j.NSQDs > 1 {
		what = fmt.Sprintf("%d nsqds", j.NSQDs)
	}
	if j.RTT > 0 {
		what += fmt.Sprintf(", round trip %v", j.RTT)
	}
	if j.Mbit > 0 {
		what += fmt.Sprintf(", %d Mbit/s", j.Mbit)
	}
	return what
}

func drainMetrics(j job) []metric {
	n := float64(j.Messages)
	rate := func(r result) float64 { return float64(r.Client.Messages) / r.Client.Wall.Seconds() }
	cpu := func(r result) float64 { return float64(r.Client.CPU.Nanoseconds()) / float64(r.Client.Messages) }
	return []metric{
		{"msgs/s", "%.0f", rate},
		{"cpu-ns/msg", "%.0f", cpu},
		{"nsqd-cpu-ns/msg", "%.0f", func(r result) float64 { return float64(r.NSQDs.CPU.Nanoseconds()) / n }},
		{"writes/msg", "%.4f", func(r result) float64 { return float64(r.Client.Writes) / float64(r.Client.Messages) }},
		{"rate/bare", "%.3f", func(r result) float64 { return rate(r) / rate(*r.Bare) }},
		{"cpu/bare", "%.2f", func(r result) float64 { return cpu(r) / cpu(*r.Bare) }},
		{"tail-ms", "%.0f", func(r result) float64 { return float64(r.Client.Tail.Milliseconds()) }},
		{"duplicates", "%.0f", func(r result) float64 { return float64(r.Client.Duplicates) }},
		{"requeued", "%.0f", func(r result) float64 { return float64(r.NSQDs.Requeued + r.NSQDs.TimedOut) }},
		{"unanswered", "%.0f", func(r result) float64 { return float64(r.NSQDs.InFlight) }},
	}
}

// lapDrain fills a topic and lets j's client drain it. An unhandled message is an error.
func lapDrain(ctx context.Context, f *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()
	if j.Topic, err = f.topic(""); err != nil {
		return res, err
	}
	before, err := fillAll(ctx, f, j)
	if err != nil {
		return res, err
	}
	j.Addrs = f.clients
	if res.Client, err = runClient(ctx, j); err != nil {
		return res, err
	}
	return res, f.finish(ctx, j.Topic, before, &res)
}

// fillAll returns the state of the nsqds once all of j's messages are in the channels.
func fillAll(ctx context.Context, f *fleet, j job) ([]nsqdState, error) {
	filling, fillCtx := errgroup.WithContext(ctx)
	for nth, addr := range f.addrs {
		filling.Go(func() error { return fill(fillCtx, j, addr, nth) })
	}
	if err := filling.Wait(); err != nil {
		return nil, err
	}
	return f.waitUntil(ctx, j.Topic, "all messages in the channel", func(nth int, s nsqdState) bool {
		return s.Depth == (j.Messages-nth+j.NSQDs-1)/j.NSQDs
	})
}
