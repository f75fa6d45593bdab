package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// jobVariable is the environment variable with the job of a child process.
const jobVariable = "NSQX_BENCH_JOB"

// role is the task of a child process. It answers on out; a server runs until in ends.
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
		// The sender and the publisher are single goroutines. A second thread would only spin, or
		// be woken by OKs that are read later.
		"sender":    {run: runSender, threads: 1},
		"publisher": {run: runPublisher, threads: 1},
		// A goroutine in a blocking system call occupies its P for a while.
		"proxy": {run: runProxy, threads: 32},
	}
}

// client drains from j.Addrs. run connects, calls handle with each body, answers FIN, and returns
// when ctx is done and every received message is answered.
type client struct {
	name  string
	run   func(ctx context.Context, j job, handle func(body []byte)) error
	alone func(body []byte) error // the handler's decoding alone; nil if it decodes nothing
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
		{name: "nsqx-batch", run: runNSQXBatch},
		{name: "nsqx-batched", run: runNSQXBatched},
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

// runChild runs the job in the environment, if any, and reports it on standard output. It returns
// false in the parent process.
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

// ballastSize is the heap in bytes that a client's process has beside the client's, as a service
// has. Otherwise the least heap of Go, 4 MB, would be collected all the time: that would cost several
// times as much as what a copy of each body costs. Nothing touches it, so it takes no memory.
const ballastSize = 64 << 20

// runJob is the process of a client.
func runJob(j job, _ io.Reader, out *json.Encoder) error {
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	if j.Scenario != fullName {
		ballast := make([]byte, ballastSize)
		defer runtime.KeepAlive(ballast)
	}
	before := currentMemory()
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
	report.Memory = currentMemory().since(before)
	if j.JSON {
		if report.Alone, err = decodeAlone(j, c.alone); err != nil {
			return err
		}
	}
	return out.Encode(report)
}
