package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

// TestWritePage builds the page program and writes a page with it.
func TestWritePage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	p, err := newPage(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(p.program)
	report := figures.Report{Command: "the command", Sections: []figures.Section{{
		Name: "one", Title: "A title", Text: "What it shows.", Points: []string{""}, Clients: []string{"nsqx"},
		Metrics: []figures.Metric{{Unit: "ns", Format: "%.0f"}},
		Rows:    []figures.Row{{Client: "nsqx", Figures: []figures.Figure{{Median: 2, Least: 1, Most: 3}}}},
		Charts:  []figures.Chart{{Unit: "ns", Title: "a chart"}},
	}}}
	if err := p.write(report); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !strings.Contains(string(page), "the command") || !strings.Contains(string(page), "2 (1–3)") {
		t.Errorf("%v: %s", err, page)
	}
	if _, err := os.Stat(filepath.Join(dir, "one.svg")); err != nil {
		t.Error(err)
	}
	report.Sections[0].Charts[0].Unit = "none"
	if err := p.write(report); err == nil || !strings.Contains(err.Error(), "no figures in none") {
		t.Errorf("a chart of nothing: %v", err)
	}
}
