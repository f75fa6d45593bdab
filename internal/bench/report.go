package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// result is one drain, as both ends saw it.
type result struct {
	Client usage
	Sender senderReport
}

// metric is one figure of a drain of n messages.
type metric struct {
	unit   string
	format string
	of     func(r result, n float64) float64
}

func metrics() []metric {
	return []metric{
		{"cpu-ns/msg", "%.0f", func(r result, n float64) float64 { return float64(r.Client.CPU.Nanoseconds()) / n }},
		{"allocs/msg", "%.3f", func(r result, n float64) float64 { return float64(r.Client.Allocs) / n }},
		{"B/msg", "%.1f", func(r result, n float64) float64 { return float64(r.Client.Bytes) / n }},
		{"writes/msg", "%.4f", func(r result, n float64) float64 { return float64(r.writes()) / n }},
		{"msgs/s", "%.0f", func(r result, n float64) float64 { return n / r.Client.Wall.Seconds() }},
		{"sender-cpu-ns/msg", "%.0f", func(r result, n float64) float64 { return float64(r.Sender.CPU.Nanoseconds()) / n }},
	}
}

// writes is the number of write calls of the client; where the system does not count them, it is the sender's
// reads: at most as many, since a read may take in several writes.
func (r result) writes() int {
	if r.Client.Writes == 0 {
		return r.Sender.Reads
	}
	return r.Client.Writes
}

// writeTable writes a line for each client, with the median of each metric over its drains of n messages.
func writeTable(out io.Writer, results map[string][]result, n int) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, m := range metrics() {
		fmt.Fprintf(w, "\t%s", m.unit)
	}
	fmt.Fprintln(w, "\t")
	for _, c := range clients() {
		fmt.Fprint(w, c.name)
		for _, m := range metrics() {
			var values []float64
			for _, r := range results[c.name] {
				values = append(values, m.of(r, float64(n)))
			}
			fmt.Fprintf(w, "\t"+m.format, median(values))
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
