package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lapTimeout bounds one lap. The slowest client needs about ten seconds for the default job of each
// scenario.
const lapTimeout = 5 * time.Minute

// senderScenario replaces nsqd by a sender of prebuilt messages, so that only the client is
// measured.
func senderScenario() scenario {
	return scenario{
		name:     "sender",
		flags:    []string{"workers", "layer", "connections", "inflight"},
		messages: func(job) int { return 1_000_000 },
		contenders: []contender{
			{client: "bare", maxInFlight: 2500},
			{client: "go-nsq", maxInFlight: 2500},
			{client: "nsqx", maxInFlight: 2500},
			{client: "nsqx-lent", maxInFlight: 2500},
			{client: "nsqx-batch", maxInFlight: 2500},
		},
		check:   checkSender,
		title:   senderTitle,
		metrics: senderMetrics,
		lap:     lapSender,
	}
}

func checkSender(j job) error {
	if j.layered() && j.Connections > 1 {
		return fmt.Errorf("bench: over %s there is one connection", j.Layer)
	}
	return nil
}

func senderTitle(j job) string {
	title := fmt.Sprintf("drain of %d messages, %d-byte bodies, %d workers", j.Messages, j.Size, j.Workers)
	if j.layered() {
		title += ", " + j.Layer
	}
	if j.Connections > 1 {
		title += fmt.Sprintf(", %d connections", j.Connections)
	}
	if j.MaxInFlight > 0 {
		title += fmt.Sprintf(", %d in flight", j.MaxInFlight)
	}
	return title
}

func senderMetrics(j job) []metric {
	n := float64(j.Messages)
	cpu := func(r result) float64 { return float64(r.Client.CPU.Nanoseconds()) / n }
	return []metric{
		{"cpu-ns/msg", "%.0f", cpu},
		{"cpu/bare", "%.2f", func(r result) float64 { return cpu(r) / cpu(*r.Bare) }},
		{"allocs/msg", "%.3f", func(r result) float64 { return float64(r.Client.Allocs) / n }},
		{"B/msg", "%.1f", func(r result) float64 { return float64(r.Client.Bytes) / n }},
		{"writes/msg", "%.4f", func(r result) float64 { return float64(r.writes()) / n }},
		{"msgs/s", "%.0f", func(r result) float64 { return n / r.Client.Wall.Seconds() }},
		{"peak-MB", "%.1f", peakMB},
		{"sender-cpu-ns/msg", "%.0f", func(r result) float64 { return float64(r.Sender.CPU.Nanoseconds()) / n }},
	}
}

func peakMB(r result) float64 { return float64(r.Client.Memory.Peak) / 1e6 }

// lapSender runs a sender and j's client, each in its own process, and returns both results. A
// message without exactly one FIN is an error.
func lapSender(ctx context.Context, _ *fleet, j job) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, lapTimeout)
	defer cancel()

	j.Role, j.Topic = "sender", "t"
	sender, err := start(ctx, j)
	if err != nil {
		return res, err
	}
	err = sender.read(&j.Addrs)
	if err == nil {
		res.Client, err = runClient(ctx, j)
	}
	if err != nil {
		cancel() // the sender would wait for a client
		return res, errors.Join(err, sender.wait())
	}
	if err := errors.Join(sender.read(&res.Sender), sender.wait()); err != nil {
		return res, err
	}
	return res, res.Sender.check(j)
}
