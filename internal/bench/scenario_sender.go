package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lapTimeout bounds one lap. The slowest client needs some ten seconds for the default job of each scenario.
const lapTimeout = 5 * time.Minute

// senderScenario replaces nsqd by a sender that only sends prebuilt messages, so that what is measured is the client's
// alone.
func senderScenario() scenario {
	return scenario{
		name:     "sender",
		flags:    []string{"workers"},
		messages: func(job) int { return 1_000_000 },
		contenders: []contender{
			{client: "bare", maxInFlight: 2500},
			{client: "go-nsq", maxInFlight: 2500},
			{client: "nsqx", maxInFlight: 2500},
			{client: "nsqx-lent", maxInFlight: 2500},
		},
		check: func(job) error { return nil },
		title: func(j job) string {
			return fmt.Sprintf("drain of %d messages, %d-byte bodies, %d workers", j.Messages, j.Size, j.Workers)
		},
		metrics: senderMetrics,
		lap:     lapSender,
	}
}

func senderMetrics(j job) []metric {
	n := float64(j.Messages)
	return []metric{
		{"cpu-ns/msg", "%.0f", func(r result) float64 { return float64(r.Client.CPU.Nanoseconds()) / n }},
		{"allocs/msg", "%.3f", func(r result) float64 { return float64(r.Client.Allocs) / n }},
		{"B/msg", "%.1f", func(r result) float64 { return float64(r.Client.Bytes) / n }},
		{"writes/msg", "%.4f", func(r result) float64 { return float64(r.writes()) / n }},
		{"msgs/s", "%.0f", func(r result) float64 { return n / r.Client.Wall.Seconds() }},
		{"sender-cpu-ns/msg", "%.0f", func(r result) float64 { return float64(r.Sender.CPU.Nanoseconds()) / n }},
	}
}

// lapSender runs a sender and j's client, each in a process of its own, and returns what both measured.
// It is an error if a message was not answered by exactly one FIN.
func lapSender(ctx context.Context, _ *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()

	j.Role, j.Topic, j.Addrs = "sender", "t", []string{""}
	sender, err := start(ctx, j)
	if err != nil {
		return res, err
	}
	err = sender.read(&j.Addrs[0])
	if err == nil {
		res.Client, err = runClient(ctx, j)
	}
	if err != nil {
		cancel() // or the sender waits for a client that is not coming
		return res, errors.Join(err, sender.wait())
	}
	if err := errors.Join(sender.read(&res.Sender), sender.wait()); err != nil {
		return res, err
	}
	return res, res.Sender.check(j)
}
