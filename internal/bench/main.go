// Command bench measures clients of nsqd: nsqx, go-nsq, and a bare loop, which is a minimal client.
//
// Without flags it runs the suite, which takes a few minutes, prints it, and writes it with charts
// to docs/benchmarks. With -scenario it measures and prints one scenario:
//
//   - sender measures the cost of a message: CPU, allocations, write calls and memory. Instead of
//     nsqd, a sender sends prebuilt messages as fast as RDY allows and checks every FIN. json and
//     telemetry do the same with handlers that decode, and with OpenTelemetry; full has large bodies
//     and slow handlers.
//   - drain measures the cost and the rate of emptying a topic of a real nsqd; latency measures the
//     time from publish to handler at a given rate. Both support several nsqds and a slow network.
//   - publish measures the rate and the cost of publishing from goroutines.
//   - idle measures the memory of idle consumers.
//
// Client, nsqd and all other parties run in their own processes, so only the client is measured.
// Clients take turns within each round, so noise of the machine affects all of them.
//
//	go run ./internal/bench
//	go run ./internal/bench -quick -only loads
//	go run ./internal/bench -scenario sender -layer snappy -size 1000
//	go run ./internal/bench -scenario drain -rtt 5ms
//	go run ./internal/bench -scenario latency -rate 50 -work 100ms
//	go run ./internal/bench -scenario publish -goroutines 1
//	go test -run '^$' -bench Drain -benchtime 1x -count 5 ./internal/bench
//
// To compare commits, use internal/bench/compare.
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

// defaultJob is the load of the project's figures. The number of messages is the scenario's.
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
