package main

import (
	"context"
	"encoding/json"
	"io"

	"golang.org/x/sync/errgroup"
)

// runIdle runs j.Consumers consumers. The parent asks once all have subscribed; then runIdle
// reports the memory.
func runIdle(j job, in io.Reader, out *json.Encoder) error {
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	before := collectedMemory()
	ctx, cancel := context.WithTimeout(context.Background(), lapTimeout)
	defer cancel()
	running, runCtx := errgroup.WithContext(ctx)
	for range j.Consumers {
		running.Go(func() error { return c.run(runCtx, j, func([]byte) {}) })
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
