// Tests of main.go, chart.go and markdown.go.

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// report returns a report with a chart of each kind, and a figure without a logarithm.
func report() figures.Report {
	section := func(name, axis string, points []string, charts ...figures.Chart) figures.Section {
		s := figures.Section{Name: name, Title: "Title of " + name, Text: "What it shows.", Axis: axis, Points: points,
			Clients: []string{"bare", "go-nsq", "nsqx", "nsqx-lent"}, Charts: charts,
			Metrics: []figures.Metric{{Unit: "ns", Format: "%.0f"}, {Unit: "allocs", Format: "%.2f"}}}
		for _, p := range points {
			for nth, c := range s.Clients {
				s.Rows = append(s.Rows, figures.Row{Point: p, Client: c, Figures: []figures.Figure{
					{Median: float64(nth + 2), Least: float64(nth + 1), Most: float64(nth + 3)}, {}}})
			}
		}
		return s
	}
	return figures.Report{
		Date: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Took: 5 * time.Minute, Command: "go run it", Rounds: 3,
		Machine: "a machine", Versions: []string{"go1", "m v2"},
		Targets: []figures.Target{{Measure: "speed", Want: "≤ 1", Got: "0.5", Met: true}, {Measure: "size", Want: "≤ 1", Got: "2"}},
		Sections: []figures.Section{
			section("bars", "workers", []string{"1", "8"}, figures.Chart{Unit: "ns", Title: "bars"}, figures.Chart{Unit: "allocs", Title: "nothing", Log: true}),
			section("lines", "size", []string{"1", "10", "100"}, figures.Chart{Unit: "ns", Title: "lines", Log: true, Lines: true}),
			section("clients", "", []string{""}, figures.Chart{Unit: "ns", Title: "clients"}),
		},
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	all, err := json.Marshal(report())
	if err != nil {
		t.Fatal(err)
	}
	if err := run(bytes.NewReader(all), dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Made by `go run it` on 22 November 2026, in 5m0s.", "medians of 3 rounds", "a machine", "go1, m v2",
		"| speed | ≤ 1 | 0.5 | met |", "| size | ≤ 1 | 2 | **missed** |",
		"## Title of bars\n\nWhat it shows.\n", "| workers | client | ns | allocs |\n|---|---|---:|---:|\n| 1 | bare loop | 2 (1–3) | 0.00 |",
		"| client | ns | allocs |\n|---|---:|---:|\n| bare loop | 2 (1–3) | 0.00 |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	for _, name := range []string{"bars.svg", "bars-2.svg", "lines.svg", "clients.svg"} {
		if !strings.Contains(string(page), "]("+name+")") {
			t.Errorf("%s is not shown", name)
		}
		wellFormed(t, filepath.Join(dir, name))
	}
	svg, err := os.ReadFile(filepath.Join(dir, "bars.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">bare loop<", ">nsqx, body in place<", "prefers-color-scheme: dark", `[style*="fill:#0072B2"]`, "fill:#0072B2"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("bars.svg has no %s", want)
		}
	}
}

func wellFormed(t *testing.T, file string) {
	t.Helper()
	svg, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	for elements, decoder := 0, xml.NewDecoder(svg); ; elements++ {
		_, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			if elements < 50 {
				t.Errorf("%s: %d elements", file, elements)
			}
			return
		case err != nil:
			t.Fatalf("%s: %v", file, err)
		}
	}
}

func TestRunFaults(t *testing.T) {
	if err := run(strings.NewReader("{"), t.TempDir()); err == nil {
		t.Error("half a report: no error")
	}
	r := report()
	r.Sections[0].Charts[0].Unit = "none"
	all, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(bytes.NewReader(all), t.TempDir()); err == nil || !strings.Contains(err.Error(), "bars has no figures in none") {
		t.Errorf("a chart of nothing: %v", err)
	}
}

// TestShort: axes have thousands as k.
func TestShort(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.01: "0.01", 800: "800", 3000: "3k", -1000: "-1k", 250_000: "250k", 2.5e6: "2.5M"} {
		if got := short(n); got != want {
			t.Errorf("%v is %q, want %q", n, got, want)
		}
	}
	for label, want := range map[string]string{"8": "8", "1024": "1024", "16000": "16k", "16 kB": "16 kB", "": ""} {
		if got := shortPoint(label); got != want {
			t.Errorf("%q is %q, want %q", label, got, want)
		}
	}
}

// TestDark: the colours of a light page that have a dark form are those that charts use.
func TestDark(t *testing.T) {
	used := map[string]bool{"#FFFFFF": true, "#000000": true}
	for _, c := range append(slices.Collect(maps.Values(known)), others...) {
		r, g, b, _ := c.RGBA()
		used[fmt.Sprintf("#%02X%02X%02X", r>>8, g>>8, b>>8)] = true
	}
	for light := range dark {
		if !used[light] {
			t.Errorf("no chart uses %s", light)
		}
	}
}

// TestColours: a client has the same colour in every section.
func TestColours(t *testing.T) {
	one, other := colours([]string{"nsqx", "x", "bare"}), colours([]string{"bare", "nsqx"})
	if one["nsqx"] != other["nsqx"] || one["bare"] != other["bare"] || one["x"] == nil || one["x"] == one["nsqx"] {
		t.Errorf("%v, %v", one, other)
	}
}
