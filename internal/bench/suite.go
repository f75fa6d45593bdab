package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

const (
	// suiteRounds is the default of the suite, and quickScale the factor of its messages with
	// -quick.
	suiteRounds = 3
	quickScale  = 0.02
)

// runSuite prints all sections and writes them as a page.
func runSuite(ctx context.Context, o options, args []string, out io.Writer) error {
	scale := 1.0
	if o.quick {
		scale = quickScale
	}
	write := func(figures.Report) error { return nil }
	if o.only == "" {
		p, err := newPage(ctx, o.dir)
		if err != nil {
			return err
		}
		defer os.RemoveAll(p.program)
		write = p.write
	}
	began := time.Now()
	report := figures.Report{Date: began, Command: strings.Join(append([]string{"go run ./internal/bench"}, args...), " "), Rounds: o.rounds,
		Machine: machine(), Versions: versions()}
	for _, s := range sections() {
		if o.only != "" && o.only != s.name {
			continue
		}
		measured, err := s.run(ctx, o.rounds, scale)
		if err != nil {
			return err
		}
		if err := printSection(out, measured); err != nil {
			return err
		}
		report.Sections = append(report.Sections, measured)
	}
	report.Took = time.Since(began).Round(time.Second)
	report.Targets = judge(report.Sections)
	if err := printTargets(out, report.Targets); err != nil {
		return err
	}
	return write(report)
}
