package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

func printSection(out io.Writer, s figures.Section) error {
	fmt.Fprintf(out, "%s: %s\n\n", s.Name, s.Title)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\t", s.Axis)
	for _, m := range s.Metrics {
		fmt.Fprintf(w, "\t%s", m.Unit)
	}
	fmt.Fprintln(w, "\t")
	for _, row := range s.Rows {
		fmt.Fprintf(w, "%s\t%s", row.Point, row.Client)
		for i, f := range row.Figures {
			fmt.Fprintf(w, "\t%s", f.Show(s.Metrics[i].Format))
		}
		fmt.Fprintln(w, "\t")
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func printTargets(out io.Writer, targets []figures.Target) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, t := range targets {
		met := "met"
		if !t.Met {
			met = "missed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Measure, t.Want, t.Got, met)
	}
	return w.Flush()
}
