package main

import (
	"context"
	"encoding/json"
	"io"

	"golang.org/x/sync/errgroup"
)

// runIdle consumes as many times as j says. Once it is asked, when all have subscribed, it says what they hold.
func runIdle(j job, in io.Reader, out *json.Encoder) error {
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	before := heldIdle()
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
	report := clientReport{Memory: heldIdle().since(before)}
	cancel()
	if err := running.Wait(); err != nil {
		return err
	}
	return out.Encode(report)
}
