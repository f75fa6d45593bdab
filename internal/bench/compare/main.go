// Command compare runs the Go benchmarks of the packages that handle messages, in the working tree
// and at the merge base, in turns, and prints benchstat's report. It only reports: neither a
// difference nor a commit without these benchmarks makes it fail.
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
	flag.StringVar(&c.with, "with", "origin/main", "`commit` whose merge base with HEAD to compare with; if that is HEAD, the commit before")
	flag.IntVar(&c.count, "count", 6, "number of runs of each benchmark; benchstat needs at least 6")
	flag.StringVar(&c.time, "benchtime", "200ms", "duration of each run")
	flag.StringVar(&c.pattern, "bench", ".", "benchmarks to run")
	flag.Parse()
	if c.packages = flag.Args(); len(c.packages) == 0 {
		c.packages = []string{".", "./conn", "./handler", "./envelope"}
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compare: nothing to report:", err)
	}
}

// comparison compares two versions of the module in root.
type comparison struct {
	root     string
	with     string
	count    int
	time     string
	pattern  string
	packages []string
	out      io.Writer
}
