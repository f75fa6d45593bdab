package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// section is a scenario at several points: one question of the suite.
type section struct {
	name, title string
	text        string // explains its charts
	scenario    scenario
	without     []string // clients without a lap
	messages    float64  // factor of the scenario's number of messages
	axis        string   // what the points vary
	points      []point
	columns     []string // units of the printed metrics
	charts      []figures.Chart
}

// point changes a job before its number of messages is computed.
type point struct {
	label string
	set   func(j *job)
}

func points[N any](set func(j *job, n N), label string, values ...N) (all []point) {
	for _, v := range values {
		all = append(all, point{fmt.Sprintf(label, v), func(j *job) { set(j, v) }})
	}
	return all
}

func sectionNames() string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

func checkOnly(name string) error {
	if name == "" || slices.ContainsFunc(sections(), func(s section) bool { return s.name == name }) {
		return nil
	}
	return fmt.Errorf("bench: no section named %q; there are %s", name, sectionNames())
}

// minMessages is the minimum of a measurement.
const minMessages = 10

// run lets all points take turns, and all clients at each point. scale is a factor of the number of
// messages.
func (s section) run(ctx context.Context, rounds int, scale float64) (figures.Section, error) {
	s.scenario.contenders = slices.DeleteFunc(s.scenario.contenders, func(c contender) bool { return slices.Contains(s.without, c.client) })
	laps := make([]map[string][]result, len(s.points))
	for i := range laps {
		laps[i] = make(map[string][]result)
	}
	jobs := s.jobs(scale)
	for range rounds {
		for i, j := range jobs {
			results, err := s.scenario.run(ctx, j, 1)
			if err != nil {
				return figures.Section{}, fmt.Errorf("%s, %s: %w", s.name, s.points[i].label, err)
			}
			for client, r := range results {
				laps[i][client] = append(laps[i][client], r...)
			}
		}
	}
	return s.figures(jobs, laps), nil
}

func (s section) jobs(scale float64) (jobs []job) {
	for _, p := range s.points {
		j := defaultJob()
		if s.scenario.defaults != nil {
			s.scenario.defaults(&j)
		}
		p.set(&j)
		j.Messages = max(minMessages, int(float64(s.scenario.messages(j))*s.messages*scale))
		jobs = append(jobs, j)
	}
	return jobs
}

func (s section) figures(jobs []job, laps []map[string][]result) figures.Section {
	out := figures.Section{Name: s.name, Title: s.title, Text: s.text, Axis: s.axis, Charts: s.charts}
	for _, c := range s.scenario.contenders {
		out.Clients = append(out.Clients, c.client)
	}
	for i, p := range s.points {
		out.Points = append(out.Points, p.label)
		metrics := s.metrics(jobs[i])
		out.Metrics = nil
		for _, m := range metrics {
			out.Metrics = append(out.Metrics, figures.Metric{Unit: m.unit, Format: m.format})
		}
		for _, client := range out.Clients {
			row := figures.Row{Point: p.label, Client: client}
			for _, m := range metrics {
				row.Figures = append(row.Figures, m.figure(laps[i][client]))
			}
			out.Rows = append(out.Rows, row)
		}
	}
	return out
}

// metrics returns the columns.
func (s section) metrics(j job) (columns []metric) {
	for _, m := range s.scenario.metrics(j) {
		if slices.Contains(s.columns, m.unit) {
			columns = append(columns, m)
		}
	}
	return columns
}
