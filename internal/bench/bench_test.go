package main

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test binary what the program is: its own sender and clients. In the end no goroutine may be left.
func TestMain(m *testing.M) {
	if asked, err := runChild(); asked {
		exit(err)
	}
	// Under the race detector each process would otherwise sleep for a second before it ends.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

// BenchmarkDrain reports, for each client, one drain per -count. All clients take turns within a round, so the
// samples of one lie between those of the others; that is why a round is measured when the first client asks for it, and
// looked up when the others do.
func BenchmarkDrain(b *testing.B) {
	s, j := senderScenario(), defaultJob()
	j.Messages = s.messages(j)
	var rounds []map[string]result
	for _, c := range s.contenders {
		sample := -1
		b.Run(fmt.Sprintf("client=%s", c.client), func(b *testing.B) {
			if b.N == 1 { // each sample starts with this; a larger N only asks for more of the same
				sample++
			}
			if sample == len(rounds) {
				round, err := s.round(b.Context(), nil, j)
				if err != nil {
					b.Fatal(err)
				}
				rounds = append(rounds, round)
			}
			b.ReportMetric(0, "ns/op") // means nothing here: leave it out
			for _, m := range s.metrics(j) {
				b.ReportMetric(m.of(rounds[sample][c.client]), m.unit)
			}
		})
	}
}
