package main

import (
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// decodeAlone measures decoding alone: as many bodies as j has messages, on as many goroutines as
// it has workers. The rest of a client's figures is its own cost. The bodies differ as much as the
// sender's, so that the CPU does not learn them.
func decodeAlone(j job, decode func(body []byte) error) (usage, error) {
	bodies := documents(bodyCount(j.Size), j.Size)
	count := func(n, nth int) int { return (n - nth + j.Workers - 1) / j.Workers }
	all := func(n int) error {
		var running errgroup.Group
		for nth := range j.Workers {
			running.Go(func() error {
				for i := range count(n, nth) {
					if err := decode(bodies[i%len(bodies)]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return running.Wait()
	}
	if err := all(j.warmup()); err != nil {
		return usage{}, err
	}
	runtime.GC()
	epoch := time.Now()
	before := used(epoch)
	err := all(j.Messages)
	return used(epoch).since(before), err
}
