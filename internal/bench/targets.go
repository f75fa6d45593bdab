package main

import (
	"fmt"
	"slices"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// target is a bound on a median, or on its ratio to another client's. Ratios to the bare loop are
// medians of the rounds' ratios, as in the tables.
type target struct {
	measure                      string
	section, point, client, unit string
	of                           string // client; "" for the figure itself
	least                        bool   // a lower bound; else an upper bound
	bound                        float64
}

func targets() []target {
	all := []target{
		{"drain-sender, 200 B, 8 workers: CPU relative to go-nsq", "workers", "8", "nsqx-lent", "cpu-ns/msg", "go-nsq", false, 0.05},
		{"drain-sender, 200 B, 8 workers: CPU relative to the bare loop", "workers", "8", "nsqx-lent", "cpu/bare", "", false, 2.5},
		{"drain-sender, 200 B, 8 workers: rate relative to go-nsq", "workers", "8", "nsqx-lent", "msgs/s", "go-nsq", true, 15},
		{"drain-sender, 200 B, 8 workers: allocations a message", "workers", "8", "nsqx-lent", "allocs/msg", "", false, 0.05},
		{"drain-sender, 200 B, 1 worker: CPU relative to the bare loop", "workers", "1", "nsqx-lent", "cpu/bare", "", false, 3},
		{"drain-sender, 200 B, 64 workers: CPU relative to the bare loop", "workers", "64", "nsqx-lent", "cpu/bare", "", false, 3},
		{"drain-sender, 16 KB, 8 workers: CPU relative to the bare loop", "sizes", "16000", "nsqx-lent", "cpu/bare", "", false, 1.5},
		{"drain-sender, 16 KB, 8 workers: CPU relative to go-nsq", "sizes", "16000", "nsqx-lent", "cpu-ns/msg", "go-nsq", false, 1.0 / 3},
		{"JSON into a struct, 200 B: ns beyond encoding/json", "json", "200", "nsqx-json", "beyond-ns/msg", "", false, 400},
		{"JSON into a struct, 200 B: allocations beyond encoding/json", "json", "200", "nsqx-json", "beyond-allocs/msg", "", false, 0.1},
		{"drain-nsqd, defaults: rate relative to the bare loop", "drain", "1", "nsqx", "rate/bare", "", true, 0.95},
		{"drain-nsqd, defaults: rate relative to go-nsq", "drain", "1", "nsqx", "msgs/s", "go-nsq", true, 3},
		{"publish, 64 goroutines: rate relative to go-nsq", "publish", "64", "nsqx", "published/s", "go-nsq", true, 3},
		{"snappy: CPU relative to the bare loop", "layers", layerSnappy, "nsqx-lent", "cpu/bare", "", false, 1.3},
		{"TLS: CPU relative to the bare loop", "layers", layerTLS, "nsqx-lent", "cpu/bare", "", false, 1.3},
		{"idle consumer: memory, kB", "idle", "", "nsqx", "rss-kB/consumer", "", false, 100},
		{"idle consumer: goroutines, 8 workers", "idle", "", "nsqx", "goroutines/consumer", "", false, 13},
	}
	for _, rate := range []struct {
		point    string
		p50, p99 float64
	}{{"10", 0.3, 3}, {"100", 0.3, 3}, {"1000", 0.3, 3}, {"10000", 0.6, 5}} {
		at := "latency, " + rate.point + " a second: "
		all = append(all,
			target{at + "p50, ms", "latency", rate.point, "nsqx", "p50-ms", "", false, rate.p50},
			target{at + "p99, ms", "latency", rate.point, "nsqx", "p99-ms", "", false, rate.p99})
		if rate.point != "10000" {
			all = append(all, target{at + "p50 relative to a bare loop at RDY 1", "latency", rate.point, "nsqx", "p50/bare", "", false, 1.5})
		}
	}
	return all
}

// judge compares the figures with the targets and omits targets without figures.
func judge(sections []figures.Section) (judged []figures.Target) {
	for _, t := range targets() {
		got, ok := measured(sections, t, t.client)
		if !ok {
			continue
		}
		if t.of != "" {
			of, _ := measured(sections, t, t.of)
			got /= of
		}
		sign, met := "≤", got <= t.bound
		if t.least {
			sign, met = "≥", got >= t.bound
		}
		judged = append(judged, figures.Target{Measure: t.measure, Want: fmt.Sprintf("%s %.3g", sign, t.bound), Got: fmt.Sprintf("%.3g", got), Met: met})
	}
	return judged
}

// measured returns a client's figure for t.
func measured(sections []figures.Section, t target, client string) (float64, bool) {
	for _, s := range sections {
		column := slices.IndexFunc(s.Metrics, func(m figures.Metric) bool { return m.Unit == t.unit })
		row := slices.IndexFunc(s.Rows, func(r figures.Row) bool { return r.Point == t.point && r.Client == client })
		if s.Name == t.section && column >= 0 && row >= 0 {
			return s.Rows[row].Figures[column].Median, true
		}
	}
	return 0, false
}
