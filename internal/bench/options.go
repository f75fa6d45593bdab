package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// options are the parsed flags.
type options struct {
	scenario *scenario // nil for the suite
	job      job
	rounds   int
	clients  string // comma-separated names; "" for all

	// Suite only:
	quick bool
	only  string
	dir   string
}

// suiteFlags are the flags without a scenario.
var suiteFlags = []string{"quick", "only", "out", "rounds"}

func parse(args []string, out io.Writer) (o options, err error) {
	o.job = defaultJob()
	name, flags := o.flags(out)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *name == "" {
		if !given(flags, "rounds") {
			o.rounds = suiteRounds
		}
		return o, errors.Join(allowed(flags, "the suite", suiteFlags), atLeast("rounds", o.rounds, 1), checkOnly(o.only))
	}
	s, err := scenarioNamed(*name)
	if err != nil {
		return o, err
	}
	if s.defaults != nil { // flags override them
		s.defaults(&o.job)
		_, flags = o.flags(io.Discard)
		if err := flags.Parse(args); err != nil {
			return o, err
		}
	}
	if o.clients != "" {
		if err := s.only(strings.Split(o.clients, ",")); err != nil {
			return o, err
		}
	}
	o.scenario = &s
	if !given(flags, "messages") {
		o.job.Messages = s.messages(o.job)
	}
	err = errors.Join(allowed(flags, "scenario "+s.name, slices.Concat(commonFlags, s.flags)), atLeast("rounds", o.rounds, 1), o.job.validate())
	if err == nil {
		err = s.check(o.job)
	}
	return o, err
}

// flags returns a flag set with o's job as defaults.
func (o *options) flags(out io.Writer) (name *string, flags *flag.FlagSet) {
	j := &o.job
	flags = flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	name = flags.String("scenario", "", "scenario to measure and print: "+scenarioNames()+" (default the suite: all of them, with charts)")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds with one lap of each client (default of the suite: 3)")
	flags.StringVar(&o.clients, "clients", "", "`names` of the clients to measure beside the bare loop, with commas between them (default all)")
	flags.BoolVar(&o.quick, "quick", false, "suite: a trial run of all sections within a minute")
	flags.StringVar(&o.only, "only", "", "suite: print only this section and write nothing: "+sectionNames())
	flags.StringVar(&o.dir, "out", "docs/benchmarks", "suite: `directory` to write to")
	flags.IntVar(&j.Messages, "messages", j.Messages, "measured messages of one lap; except in drain, a tenth more "+
		"come first as warm-up (default: the scenario's)")
	flags.IntVar(&j.Size, "size", j.Size, "bytes of a body")
	flags.IntVar(&j.Workers, "workers", j.Workers, "all but publish: concurrent handlers")
	flags.StringVar(&j.Layer, "layer", j.Layer, "sender: layer above TCP: plain, tls, snappy or deflate")
	flags.IntVar(&j.Connections, "connections", j.Connections, "sender, full: number of connections")
	flags.IntVar(&j.MaxInFlight, "inflight", j.MaxInFlight, "sender, full, latency: maximum of messages in flight, over all connections (default: the client's)")
	flags.IntVar(&j.Consumers, "consumers", j.Consumers, "idle: number of consumers in the process")
	flags.IntVar(&j.NSQDs, "nsqds", j.NSQDs, "drain, latency, idle: number of nsqds")
	flags.DurationVar(&j.RTT, "rtt", j.RTT, "drain, latency, publish: round trip added between client and nsqd")
	flags.IntVar(&j.Mbit, "mbit", j.Mbit, "drain, latency, publish: bandwidth between client and nsqd in Mbit/s, each way (default no limit)")
	flags.IntVar(&j.Rate, "rate", j.Rate, "latency: messages a second")
	flags.DurationVar(&j.Work, "work", j.Work, "latency, full: duration of a handler; 0 for the bare loop")
	flags.IntVar(&j.Goroutines, "goroutines", j.Goroutines, "publish: number of publishing goroutines")
	return name, flags
}

// allowed returns an error for each given flag that is not in names.
func allowed(flags *flag.FlagSet, what string, names []string) (err error) {
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(names, f.Name) {
			err = errors.Join(err, fmt.Errorf("bench: %s is not for %s", f.Name, what))
		}
	})
	return err
}

func given(flags *flag.FlagSet, name string) (is bool) {
	flags.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}
