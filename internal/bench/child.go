package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// jobVariable names the environment variable that makes a process of this program a sender or a client.
const jobVariable = "NSQX_BENCH_JOB"

// client drains from a sender. Its run connects to j.Addr, calls handle with each message's body, answers FIN,
// and returns when ctx is done and all it received is answered.
type client struct {
	name string
	run  func(ctx context.Context, j job, handle func(body []byte)) error
}

func clients() []client {
	return []client{
		{"bare", runBare},
		{"go-nsq", runGoNSQ},
		{"nsqx", runNSQX},
		{"nsqx-lent", runNSQXLent},
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
	out := json.NewEncoder(os.Stdout)
	if j.Client == "" {
		return true, runSender(j, out)
	}
	all := clients()
	i := slices.IndexFunc(all, func(c client) bool { return c.name == j.Client })
	if i < 0 {
		return true, fmt.Errorf("bench: no client named %q", j.Client)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	m := meter{done: cancel}
	if err := all[i].run(ctx, j, m.handle); err != nil {
		return true, err
	}
	return true, out.Encode(m.usage())
}
