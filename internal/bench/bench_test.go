package main

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the test binary as a sender or client if its environment says so. At the end no
// goroutine may be left.
func TestMain(m *testing.M) {
	if asked, err := runChild(); asked {
		exit(err)
	}
	// Without this, each process sleeps for a second at exit under the race detector.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

// BenchmarkDrain reports one drain of each client per -count. All clients take turns within a
// round, so their samples interleave. The first client of a round measures it for all.
func BenchmarkDrain(b *testing.B) {
	s, j := senderScenario(), defaultJob()
	j.Messages = s.messages(j)
	var rounds []map[string]result
	for _, c := range s.contenders {
		sample := -1
		b.Run(fmt.Sprintf("client=%s", c.client), func(b *testing.B) {
			if b.N == 1 { // each sample starts with b.N == 1; larger values repeat it
				sample++
			}
			if sample == len(rounds) {
				round, err := s.round(b.Context(), nil, j)
				if err != nil {
					b.Fatal(err)
				}
				rounds = append(rounds, round)
			}
			b.ReportMetric(0, "ns/op") // not meaningful here
			for _, m := range s.metrics(j) {
				b.ReportMetric(m.of(rounds[sample][c.client]), m.unit)
			}
		})
	}
}
