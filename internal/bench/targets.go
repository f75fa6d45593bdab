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

	// beyond is the point whose difference between the two clients is added to of's figure: what
	// client costs beside that of a layer that both use. "" for none.
	beyond string
}

func targets() []target {
	all := []target{
		{measure: "drain of 1 nsqd, defaults: rate relative to a fixed RDY", section: "drain", point: "1", client: "nsqx", unit: "msgs/s", of: "nsqx-fixed", least: true, bound: 0.97},
		{measure: "drain of 4 nsqds, defaults: rate relative to a fixed RDY", section: "drain", point: "4", client: "nsqx", unit: "msgs/s", of: "nsqx-fixed", least: true, bound: 0.97},
		{measure: "drain of 1 nsqd, defaults: rate relative to go-nsq", section: "drain", point: "1", client: "nsqx", unit: "msgs/s", of: "go-nsq", least: true, bound: 3},
		{measure: "Publish, 64 goroutines: rate relative to go-nsq", section: "publish", point: "64", client: "nsqx", unit: "published/s", of: "go-nsq", least: true, bound: 3},
		{measure: "PublishAll, 64 goroutines: rate relative to go-nsq", section: "publish", point: "64", client: "nsqx-multi", unit: "published/s", of: "go-nsq-multi", least: true, bound: 1.05},
		{measure: "PublishAll, 64 goroutines: CPU relative to go-nsq", section: "publish", point: "64", client: "nsqx-multi", unit: "cpu-ns/msg", of: "go-nsq-multi", bound: 1},
		{measure: "sender, workers: 8: CPU relative to go-nsq", section: "workers", point: "8", client: "nsqx-lent", unit: "cpu-ns/msg", of: "go-nsq", bound: 0.05},
		{measure: "sender, workers: 8: rate relative to go-nsq", section: "workers", point: "8", client: "nsqx-lent", unit: "msgs/s", of: "go-nsq", least: true, bound: 15},
		{measure: "sender, workers: 8: allocations a message", section: "workers", point: "8", client: "nsqx-lent", unit: "allocs/msg", bound: 0.03},
	}
	for _, t := range []struct {
		section, point string
		bound          float64
	}{{"workers", "1", 3}, {"workers", "8", 3}, {"workers", "64", 3.5}, {"workers", "1024", 4}, {"loads", "16 kB", 1.5}, {"loads", "100 connections", 1.7}} {
		at := t.point
		if t.section == "workers" {
			at = "workers: " + at
		}
		all = append(all, target{measure: "sender, " + at + ": CPU relative to the bare loop", section: t.section, point: t.point, client: "nsqx-lent", unit: "cpu/bare", bound: t.bound})
	}
	for _, layer := range []string{layerTLS, layerSnappy} {
		all = append(all, target{measure: layer + ": CPU relative to the bare loop's and the plain difference",
			section: "loads", point: layer, client: "nsqx-lent", unit: "cpu-ns/msg", of: "bare", bound: 1.2, beyond: plain})
	}
	all = append(all,
		target{measure: "JSON into a struct, 200 B: ns beyond encoding/json", section: "json", point: "200", client: "nsqx-json", unit: "beyond-ns/msg", bound: 400},
		target{measure: "JSON into a struct, 200 B: allocations beyond encoding/json", section: "json", point: "200", client: "nsqx-json", unit: "beyond-allocs/msg", bound: 0.1},
		target{measure: "idle consumer: memory, kB", section: "idle", client: "nsqx", unit: "rss-kB/consumer", bound: 60},
		target{measure: "idle consumer: goroutines, 8 workers", section: "idle", client: "nsqx", unit: "goroutines/consumer", bound: 3})
	return append(rateTargets(), all...)
}

// rateTargets are those at ordinary rates, relative to a bare loop at RDY 1, and for batched delivery
// to go-nsq.
func rateTargets() (all []target) {
	for _, t := range []struct {
		point string
		cpu   float64
	}{{"10", 1.6}, {"100", 1.4}, {"1000", 1.4}} {
		at := t.point + " a second: "
		all = append(all,
			target{measure: at + "p50 relative to the bare loop", section: "rates", point: t.point, client: "nsqx", unit: "p50/bare", bound: 1.3},
			target{measure: at + "p99 relative to the bare loop", section: "rates", point: t.point, client: "nsqx", unit: "p99/bare", bound: 2},
			target{measure: at + "CPU relative to the bare loop", section: "rates", point: t.point, client: "nsqx", unit: "cpu/bare", bound: t.cpu},
			target{measure: at + "CPU, batched, relative to go-nsq", section: "rates", point: t.point, client: "nsqx-batched", unit: "cpu-us/msg", of: "go-nsq", bound: 0.9})
	}
	return all
}

// judge compares the figures with the targets and omits targets without figures.
func judge(sections []figures.Section) (judged []figures.Target) {
	for _, t := range targets() {
		got, ok := t.measured(sections)
		if !ok {
			continue
		}
		sign, met := "≤", got <= t.bound
		if t.least {
			sign, met = "≥", got >= t.bound
		}
		judged = append(judged, figures.Target{Measure: t.measure, Want: fmt.Sprintf("%s %.3g", sign, t.bound), Got: fmt.Sprintf("%.3g", got), Met: met})
	}
	return judged
}

// measured returns the figure to compare with the bound.
func (t target) measured(sections []figures.Section) (got float64, ok bool) {
	if got, ok = t.figure(sections, t.point, t.client); !ok || t.of == "" {
		return got, ok
	}
	of, ok := t.figure(sections, t.point, t.of)
	if t.beyond != "" && ok {
		with, found := t.figure(sections, t.beyond, t.client)
		without, foundToo := t.figure(sections, t.beyond, t.of)
		of, ok = of+with-without, found && foundToo
	}
	return got / of, ok
}

// figure returns a client's figure at a point of the section.
func (t target) figure(sections []figures.Section, point, client string) (float64, bool) {
	for _, s := range sections {
		column := slices.IndexFunc(s.Metrics, func(m figures.Metric) bool { return m.Unit == t.unit })
		row := slices.IndexFunc(s.Rows, func(r figures.Row) bool { return r.Point == point && r.Client == client })
		if s.Name == t.section && column >= 0 && row >= 0 {
			return s.Rows[row].Figures[column].Median, true
		}
	}
	return 0, false
}
