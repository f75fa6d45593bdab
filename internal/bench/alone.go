package main

import (
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// decodeAlone measures what it takes to decode as many bodies as j has messages, on as many goroutines as it has workers, and to
// do nothing else: what of a client's figures is not its own. They are as different as those that the sender sends: a processor
// learns few by heart.
func decodeAlone(j job, decode func(body []byte) error) (usage, error) {
	bodies := documents(different(j.Size), j.Size)
	share := func(n, nth int) int { return (n - nth + j.Workers - 1) / j.Workers }
	all := func(n int) error {
		var running errgroup.Group
		for nth := range j.Workers {
			running.Go(func() error {
				for i := range share(n, nth) {
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
