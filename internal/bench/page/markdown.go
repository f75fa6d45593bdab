package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

func markdown(r figures.Report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `%s` on %s, in %v. Figures are medians of %d rounds, with minimum and maximum; in each "+
		"round all clients take turns, each in its own process.\n\n", r.Command, r.Date.UTC().Format("2 January 2006"), r.Took, r.Rounds)
	fmt.Fprintf(&b, "- Machine: %s\n- Versions: %s\n\n", r.Machine, strings.Join(r.Versions, ", "))
	b.WriteString("The *bare loop* is a minimal client: one goroutine, a reused buffer, and one write for the answers to each read. " +
		"Ratios hold on other machines, absolute figures do not.\n")
	writeTargets(&b, r.Targets)
	for _, s := range r.Sections {
		writeSection(&b, s)
	}
	return b.Bytes()
}

func writeTargets(b *bytes.Buffer, targets []figures.Target) {
	if len(targets) == 0 {
		return
	}
	b.WriteString("\n## Targets\n\n| measure | target | measured | |\n|---|---|---|---|\n")
	for _, t := range targets {
		met := "met"
		if !t.Met {
			met = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.Measure, t.Want, t.Got, met)
	}
}

func writeSection(b *bytes.Buffer, s figures.Section) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", s.Title, s.Text)
	for nth, c := range s.Charts {
		fmt.Fprintf(b, "![%s: %s](%s)\n\n", s.Title, c.Title, chartFile(s, nth))
	}
	head, rule := "| ", "|---|"
	if s.Axis != "" {
		head, rule = "| "+s.Axis+" | ", "|---|---|"
	}
	b.WriteString(head + "client |")
	for _, m := range s.Metrics {
		fmt.Fprintf(b, " %s |", m.Unit)
		rule += "---:|"
	}
	b.WriteString("\n" + rule + "\n")
	for _, row := range s.Rows {
		if s.Axis != "" {
			fmt.Fprintf(b, "| %s ", row.Point)
		}
		fmt.Fprintf(b, "| %s |", name(row.Client))
		for i, f := range row.Figures {
			fmt.Fprintf(b, " %s |", f.Show(s.Metrics[i].Format))
		}
		b.WriteString("\n")
	}
}
