package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// jobVariable names the environment variable that makes a process of this program a part of a lap.
const jobVariable = "NSQX_BENCH_JOB"

// role is what such a process does: it answers on out, and one that serves does so until in ends.
type role struct {
	run     func(j job, in io.Reader, out *json.Encoder) error
	threads int // GOMAXPROCS; 0 for the default
}

func roles() map[string]role {
	return map[string]role{
		"client":   {run: runJob},
		"idle":     {run: runIdle},
		"producer": {run: runProducer},
		"nsqd":     {run: runNSQD},
		// The sender is one goroutine: it would only keep a second thread looking for work. So is the publisher, and
		// a thread that waits for the network would be woken by each OK that nobody reads yet.
		"sender":    {run: runSender, threads: 1},
		"publisher": {run: runPublisher, threads: 1},
		// A goroutine that sleeps in a system call keeps its place for a while.
		"proxy": {run: runProxy, threads: 32},
	}
}

// client drains from j.Addrs. Its run connects to them, calls handle with each message's body, answers FIN,
// and returns when ctx is done and all it received is answered.
type client struct {
	name  string
	run   func(ctx context.Context, j job, handle func(body []byte)) error
	alone func(body []byte) error // what its handler does with a body; nil for nothing
}

func clientNamed(name string) (client, error) {
	all := clients()
	i := slices.IndexFunc(all, func(c client) bool { return c.name == name })
	if i < 0 {
		return client{}, fmt.Errorf("bench: no client named %q", name)
	}
	return all[i], nil
}

func clients() []client {
	return []client{
		{name: "bare", run: runBare},
		{name: "go-nsq", run: runGoNSQ},
		{name: "nsqx", run: runNSQX},
		{name: "nsqx-lent", run: runNSQXLent},
		{name: "nsqx-fixed", run: runNSQXFixed},
		{name: "nsqx-noop", run: runNSQXNoop},
		{name: "nsqx-sdk", run: runNSQXSDK},
		{name: "nsqx-spans", run: runNSQXSpans},
		jsonGoNSQ(),
		jsonClient("nsqx-json", encodingJSON()),
		jsonClient("nsqx-goccy", goccyJSON()),
		jsonClient("nsqx-segmentio", segmentioJSON()),
	}
}

// runChild does the job that the environment asks for and reports it on standard output.
// It says whether there was one: if not, this process is the parent.
func runChild() (asked bool, err error) {
	what, asked := os.LookupEnv(jobVariable)
	if !asked {
		return false, nil
	}
	var j job
	if err := json.Unmarshal([]byte(what), &j); err != nil {
		return true, fmt.Errorf("bench: %s: %w", jobVariable, err)
	}
	r, ok := roles()[j.Role]
	if !ok {
		return true, fmt.Errorf("bench: no role named %q", j.Role)
	}
	return true, r.run(j, os.Stdin, json.NewEncoder(os.Stdout))
}

// runJob is a client's process.
func runJob(j job, _ io.Reader, out *json.Encoder) error {
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	before := held()
	ctx, cancel := context.WithTimeout(context.Background(), lapTimeout)
	defer cancel()
	m := newMeter(j, cancel)
	handle := m.handle
	if j.Work > 0 {
		handle = func(body []byte) {
			m.handle(body)
			time.Sleep(j.Work)
		}
	}
	if err := c.run(ctx, j, handle); err != nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("bench: not done within %v", lapTimeout)
	}
	report := m.report()
	report.Memory = held().since(before)
	if j.JSON {
		if report.Alone, err = decodeAlone(j, c.alone); err != nil {
			return err
		}
	}
	return out.Encode(report)
}
