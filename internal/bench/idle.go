package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// runIdle runs j.Consumers consumers, beside a first one: what only that one needs, such as code in
// memory, is not theirs. The parent asks once all have subscribed; then runIdle reports the memory.
func runIdle(j job, in io.Reader, out *json.Encoder) error {
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lapTimeout)
	defer cancel()
	running, runCtx := errgroup.WithContext(ctx)
	run := func() error { return c.run(runCtx, j, func([]byte) {}) }
	running.Go(run)
	time.Sleep(settled)
	before := collectedMemory()
	for range j.Consumers {
		running.Go(run)
	}
	var asked struct{}
	if err := json.NewDecoder(in).Decode(&asked); err != nil {
		return err
	}
	report := clientReport{Memory: collectedMemory().since(before)}
	cancel()
	if err := running.Wait(); err != nil {
		return err
	}
	return out.Encode(report)
}
