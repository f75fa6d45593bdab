// Package figures defines the suite's report.
package figures

import (
	"fmt"
	"time"
)

// Report is one run of the suite.
type Report struct {
	Date     time.Time
	Took     time.Duration
	Command  string
	Rounds   int
	Machine  string
	Versions []string
	Targets  []Target
	Sections []Section
}

// Target is a goal of the project.
type Target struct {
	Measure, Want, Got string
	Met                bool
}

// Section is one question and its answer.
type Section struct {
	Name, Title, Text string
	Axis              string   // what the points vary; "" for a single point
	Points            []string // in order
	Clients           []string
	Metrics           []Metric // one for each column
	Rows              []Row    // by point, then by client
	Charts            []Chart
}

// Metric is a column. Format is fmt's, for a float64.
type Metric struct{ Unit, Format string }

// Row has a figure of a client at a point for each metric.
type Row struct {
	Point, Client string
	Figures       []Figure
}

// Figure is a median over the rounds, with minimum and maximum.
type Figure struct{ Median, Least, Most float64 }

// Show formats the median, with minimum and maximum if they differ.
func (f Figure) Show(format string) string {
	middle, least, most := fmt.Sprintf(format, f.Median), fmt.Sprintf(format, f.Least), fmt.Sprintf(format, f.Most)
	if least == most {
		return middle
	}
	return fmt.Sprintf("%s (%s–%s)", middle, least, most)
}

// Chart shows a metric.
type Chart struct {
	Unit, Title string
	Log         bool // logarithmic scale
	Lines       bool // the points are numbers
}
