// Tests of section.go, sections.go, suite.go, targets.go and machine.go.

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// TestSections: a section is complete, its name is unique, and its scenario accepts its jobs and
// has its columns.
func TestSections(t *testing.T) {
	names := make(map[string]bool)
	if n := len(sections()); n > 10 {
		t.Errorf("%d sections: a reader wants at most ten", n)
	}
	for _, s := range sections() {
		if names[s.name] || s.title == "" || s.text == "" || len(s.points) == 0 || len(s.charts) == 0 {
			t.Errorf("%s: twice, or something is missing", s.name)
		}
		names[s.name] = true
		for _, scale := range []float64{1, quickScale} {
			for i, j := range s.jobs(scale) {
				if err := j.validate(); err != nil {
					t.Errorf("%s, %s: %v", s.name, s.points[i].label, err)
				}
				if err := s.scenario.check(j); err != nil {
					t.Errorf("%s, %s: %v", s.name, s.points[i].label, err)
				}
			}
		}
		if got := s.metrics(defaultJob()); len(got) != len(s.columns) {
			t.Errorf("%s: %d of the columns %v", s.name, len(got), s.columns)
		}
		for _, c := range s.charts {
			if !slices.Contains(s.columns, c.Unit) {
				t.Errorf("%s: no column for the chart of %s", s.name, c.Unit)
			}
		}
	}
}

// TestTargets: each target is measured.
func TestTargets(t *testing.T) {
	var all []figures.Section
	for _, s := range sections() {
		var laps []map[string][]result
		for range s.points {
			round := make(map[string][]result)
			for _, c := range s.scenario.contenders {
				round[c.client] = []result{{Bare: &result{}}}
			}
			laps = append(laps, round)
		}
		all = append(all, s.figures(s.jobs(1), laps))
	}
	for _, target := range targets() {
		if _, ok := target.measured(all); !ok {
			t.Errorf("%s: not measured", target.measure)
		}
	}
}

func TestJudge(t *testing.T) {
	one := func(point, client string, cpu, ofBare, rate float64) figures.Row {
		return figures.Row{Point: point, Client: client, Figures: []figures.Figure{{Median: cpu}, {Median: ofBare}, {Median: rate}}}
	}
	judged := judge([]figures.Section{{
		Name:    "workers",
		Metrics: []figures.Metric{{Unit: "cpu-ns/msg"}, {Unit: "cpu/bare"}, {Unit: "msgs/s"}},
		Rows:    []figures.Row{one("8", "go-nsq", 6000, 60, 10), one("8", "nsqx-lent", 250, 2.5, 149)},
	}, {
		Name:    "loads",
		Metrics: []figures.Metric{{Unit: "cpu-ns/msg"}},
		Rows: []figures.Row{one(plain, "bare", 100, 0, 0), one(plain, "nsqx-lent", 300, 0, 0),
			one(layerTLS, "bare", 800, 0, 0), one(layerTLS, "nsqx-lent", 1200, 0, 0),
			one(layerSnappy, "bare", 800, 0, 0), one(layerSnappy, "nsqx-lent", 1201, 0, 0)},
	}})
	var got []string
	for _, j := range judged {
		met := "met"
		if !j.Met {
			met = "missed"
		}
		got = append(got, strings.Join([]string{j.Want, j.Got, met}, " "))
	}
	want := []string{"≤ 0.05 0.0417 met", "≥ 15 14.9 missed", "≤ 3 2.5 met", "≤ 1.2 1.2 met", "≤ 1.2 1.2 missed"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSuiteOnly: one section of the suite is measured and printed.
func TestSuiteOnly(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), strings.Fields("-quick -only telemetry -rounds 2"), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"telemetry: OpenTelemetry", " nsqx-spans ", "cpu-ns/msg", "–"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestSectionRun: excluded clients have no lap, and the points keep their order.
func TestSectionRun(t *testing.T) {
	s := section{
		name: "inflight", scenario: senderScenario(), without: []string{"nsqx"}, messages: 0.001,
		points: points(func(j *job, n int) { j.MaxInFlight = n }, "%d", 10, 2),
	}
	got, err := s.run(t.Context(), 1, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Points, []string{"10", "2"}) || slices.Contains(got.Clients, "nsqx") || len(got.Rows) != 2*len(got.Clients) {
		t.Errorf("%+v", got)
	}
	s.points = points(func(j *job, name string) { j.Layer = name }, "%s", "none")
	if _, err := s.run(t.Context(), 1, 0.1); err == nil || !strings.Contains(err.Error(), "inflight, none") {
		t.Errorf("a layer that is none: %v", err)
	}
}

func TestMachine(t *testing.T) {
	if got := machine(); !strings.Contains(got, "processors") {
		t.Errorf("machine: %q", got)
	}
	if got := versions(); !strings.HasPrefix(got[0], "go") {
		t.Errorf("versions: %q", got)
	}
}
