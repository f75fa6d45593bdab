// Command compare runs the Go benchmarks of the packages on a message's way, as they are in the working tree and as they were at the
// merge base, by turns, and prints benchstat's report on the difference. It only reports: neither a difference nor a
// commit without these benchmarks makes it fail.
//
//	go run ./internal/bench/compare
//	go run ./internal/bench/compare -with HEAD~3 -count 10 ./conn
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := comparison{root: ".", out: os.Stdout}
	flag.StringVar(&c.with, "with", "origin/main", "`commit` to compare with; its merge base with HEAD is what is run. Is that HEAD itself, it is the commit before")
	flag.IntVar(&c.count, "count", 6, "how often each benchmark runs: benchstat says nothing certain of fewer than 6")
	flag.StringVar(&c.time, "benchtime", "200ms", "how long each runs")
	flag.StringVar(&c.pattern, "bench", ".", "which benchmarks")
	flag.Parse()
	if c.packages = flag.Args(); len(c.packages) == 0 {
		c.packages = []string{".", "./conn", "./handler", "./envelope"}
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compare: nothing to report:", err)
	}
}

// comparison is of two versions of the module in root.
type comparison struct {
	root     string
	with     string
	count    int
	time     string
	pattern  string
	packages []string
	out      io.Writer
}
