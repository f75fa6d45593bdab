package main

import (
	"context"
	"time"
)

// openBare is a minimal producer: one goroutine writes as many PUBs at once as others have
// goroutines, then reads their OKs.
func openBare(ctx context.Context, j job) (publish func(w *worker, n int) error, end func() error, err error) {
	f, err := dialFeed(ctx, j.Addrs[0])
	if err == nil {
		err = f.settle()
	}
	if err != nil {
		return nil, nil, err
	}
	one := newPublisher(j).command
	var commands []byte
	for range j.Goroutines {
		commands = append(commands, one...)
	}
	publish = func(w *worker, n int) error {
		for left := n; left > 0; left -= j.Goroutines {
			if err := publishBare(w, f, commands[:min(left, j.Goroutines)*len(one)], min(left, j.Goroutines)); err != nil {
				return err
			}
		}
		return nil
	}
	return publish, f.conn.Close, nil
}

func publishBare(w *worker, f *feed, commands []byte, n int) error {
	began := time.Now()
	if err := f.sendAll(commands, n); err != nil {
		return err
	}
	for f.pending > 0 {
		before := f.pending
		if err := f.receive(); err != nil {
			return err
		}
		took := time.Since(began)
		for range before - f.pending {
			w.latencies = append(w.latencies, took)
		}
	}
	return nil
}
