package main

import "context"

// jsonScenario decodes each body into a struct. Afterwards the same process measures the library
// alone, on as many goroutines.
func jsonScenario() scenario {
	return scenario{
		name:     "json",
		flags:    []string{"workers"},
		messages: func(job) int { return 200_000 },
		contenders: []contender{
			{client: "go-nsq-json", maxInFlight: 2500},
			{client: "nsqx-json", maxInFlight: 2500},
			{client: "nsqx-goccy", maxInFlight: 2500},
			{client: "nsqx-segmentio", maxInFlight: 2500},
		},
		check:   func(j job) error { return atLeast("size", j.Size, minDocument) },
		title:   func(j job) string { return "JSON into a struct: " + senderTitle(j) },
		metrics: jsonMetrics,
		lap: func(ctx context.Context, f *fleet, j job) (result, error) {
			j.JSON = true
			return lapSender(ctx, f, j)
		},
	}
}

func jsonMetrics(j job) []metric {
	n := float64(j.Messages)
	cpu := func(u usage) float64 { return float64(u.CPU.Nanoseconds()) / n }
	allocs := func(u usage) float64 { return float64(u.Allocs) / n }
	return []metric{
		{"cpu-ns/msg", "%.0f", func(r result) float64 { return cpu(r.Client.usage) }},
		{"library-ns/msg", "%.0f", func(r result) float64 { return cpu(r.Client.Alone) }},
		{"beyond-ns/msg", "%.0f", func(r result) float64 { return cpu(r.Client.usage) - cpu(r.Client.Alone) }},
		{"allocs/msg", "%.3f", func(r result) float64 { return allocs(r.Client.usage) }},
		{"library-allocs/msg", "%.3f", func(r result) float64 { return allocs(r.Client.Alone) }},
		{"beyond-allocs/msg", "%.3f", func(r result) float64 { return allocs(r.Client.usage) - allocs(r.Client.Alone) }},
		{"msgs/s", "%.0f", func(r result) float64 { return n / r.Client.Wall.Seconds() }},
	}
}
