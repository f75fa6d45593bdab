// Package figures is what the suite hands to those that show it.
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

// Target is what the project holds itself to.
type Target struct {
	Measure, Want, Got string
	Met                bool
}

// Section is one question and its answer.
type Section struct {
	Name, Title, Text string
	Axis              string   // in what the points differ; "" if there is one
	Points            []string // in order
	Clients           []string
	Metrics           []Metric // one for each column
	Rows              []Row    // by point, then by client
	Charts            []Chart
}

// Metric is a column. Its format is fmt's, for a float64.
type Metric struct{ Unit, Format string }

// Row is what a client did at a point: a figure for each metric.
type Row struct {
	Point, Client string
	Figures       []Figure
}

// Figure is a median over the rounds, with the least and the most.
type Figure struct{ Median, Least, Most float64 }

// Show writes the median, and how far the rounds lay apart, if they did.
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
	Log         bool // figures lie too far apart for a linear scale
	Lines       bool // the points are numbers
}
