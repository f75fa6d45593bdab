package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// result is one lap, as reported by all its processes. Fields that a scenario lacks are zero.
type result struct {
	Client    clientReport
	Sender    senderReport
	Publisher publisherReport
	NSQDs     struct { // the sum
		CPU                time.Duration
		Requeued, TimedOut int
		InFlight           int // unanswered at the end
	}
	Bare *result // the bare loop in the same round
}

// metric is one figure of a lap.
type metric struct {
	unit   string
	format string
	of     func(r result) float64
}

// writes returns the client's write calls. If the system does not count them, it returns the
// sender's reads, which are at most as many.
func (r result) writes() int {
	if r.Client.Writes == 0 {
		return r.Sender.Reads
	}
	return r.Client.Writes
}

// figure needs at least one lap.
func (m metric) figure(laps []result) figures.Figure {
	var values []float64
	for _, r := range laps {
		values = append(values, m.of(r))
	}
	middle := median(values)
	return figures.Figure{Median: middle, Least: values[0], Most: values[len(values)-1]}
}

// writeTable writes a line for each contender: the median of each metric over its laps, with
// minimum and maximum.
func writeTable(out io.Writer, contenders []contender, metrics []metric, results map[string][]result) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, m := range metrics {
		fmt.Fprintf(w, "\t%s", m.unit)
	}
	fmt.Fprintln(w, "\t")
	for _, c := range contenders {
		fmt.Fprint(w, c.client)
		for _, m := range metrics {
			fmt.Fprintf(w, "\t%s", m.figure(results[c.client]).Show(m.format))
		}
		fmt.Fprintln(w, "\t")
	}
	return w.Flush()
}

// median sorts values, of which there is at least one.
func median(values []float64) float64 {
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}
