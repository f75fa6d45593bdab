// Command bench measures clients of nsqd: nsqx, go-nsq, and a bare loop, which is as little as a client can do.
//
// Told nothing, it runs the suite: a few minutes of everything below, which it prints, and writes with charts to docs/benchmarks.
// With -scenario it measures one thing and prints it:
//
//   - sender measures what one message costs: CPU, allocations, write calls and memory. nsqd is replaced by a sender that only
//     sends prebuilt messages, as fast as RDY allows, and checks every FIN. json and telemetry do the same with handlers that
//     decode, and with OpenTelemetry; full has large bodies and slow handlers.
//   - drain measures the cost, and the rate, with a topic of a real nsqd that is full, and latency the time from publish to
//     handler at a given rate; both do so with several nsqds, and through a slow network, if they are told to.
//   - publish measures the other side: how fast, and at what cost, goroutines publish.
//   - idle measures what consumers hold for which there is nothing to do.
//
// Client, nsqd and whatever else takes part run in processes of their own, so that what is measured is the client's
// alone. The clients take turns within each round, so that a noisy machine is noisy for all of them.
//
//	go run ./internal/bench
//	go run ./internal/bench -quick -only layers
//	go run ./internal/bench -scenario sender -layer snappy -size 1000
//	go run ./internal/bench -scenario drain -rtt 5ms
//	go run ./internal/bench -scenario latency -rate 50 -work 100ms
//	go run ./internal/bench -scenario publish -goroutines 1
//	go test -run '^$' -bench Drain -benchtime 1x -count 5 ./internal/bench
//
// What of all this can be compared from one commit to the next, internal/bench/compare does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	if asked, err := runChild(); asked {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defaultJob is the load that the project's figures are given for; how many messages that is, the scenario says.
func defaultJob() job {
	return job{Size: 200, Workers: 8, NSQDs: 1, Rate: 1000, Goroutines: 64, Connections: 1, Layer: plain, Consumers: 100}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if o.scenario == nil {
		return runSuite(ctx, o, args, out)
	}
	results, err := o.scenario.run(ctx, o.job, o.rounds)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: median of %d rounds (least to most)\n\n", o.scenario.title(o.job), o.rounds)
	return writeTable(out, o.scenario.contenders, o.scenario.metrics(o.job), results)
}
