package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settled is the wait before idle consumers are measured, and the first one is. By then the cost of
// connecting is gone.
const settled = 200 * time.Millisecond

// idleScenario runs many idle consumers in one process.
func idleScenario() scenario {
	return scenario{
		name:     "idle",
		flags:    []string{"workers", "nsqds", "consumers"},
		messages: func(job) int { return 1 },
		contenders: []contender{
			{client: "bare", maxInFlight: 1},
			{client: "go-nsq", maxInFlight: 100},
			{client: "nsqx"},
		},
		check: func(job) error { return nil },
		title: func(j job) string {
			return fmt.Sprintf("%d idle consumers of %s, %d workers each", j.Consumers, network(j), j.Workers)
		},
		metrics: idleMetrics,
		nsqd:    true,
		lap:     lapIdle,
	}
}

func idleMetrics(j job) []metric {
	n := float64(j.Consumers)
	return []metric{
		// Without the goroutine that called Run, or its equivalent.
		{"goroutines/consumer", "%.1f", func(r result) float64 { return float64(r.Client.Memory.Goroutines)/n - 1 }},
		{"rss-kB/consumer", "%.1f", func(r result) float64 { return float64(r.Client.Memory.RSS) / n / 1e3 }},
		{"live-kB/consumer", "%.1f", func(r result) float64 { return float64(r.Client.Memory.Live) / n / 1e3 }},
	}
}

// lapIdle measures j's consumers when all have subscribed.
func lapIdle(ctx context.Context, f *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()
	if j.Topic, err = f.topic(""); err != nil {
		return res, err
	}
	j.Role, j.Addrs = "idle", f.clients
	client, err := start(ctx, j)
	if err != nil {
		return res, err
	}
	_, err = f.waitUntil(ctx, j.Topic, "all consumers to subscribe", func(_ int, s nsqdState) bool { return s.Clients == j.Consumers+1 })
	if err != nil {
		cancel() // ends the client
		return res, errors.Join(err, client.wait())
	}
	time.Sleep(settled)
	if err := errors.Join(client.ask(struct{}{}, &res.Client), client.wait()); err != nil {
		return res, err
	}
	return res, f.delete(j.Topic)
}
